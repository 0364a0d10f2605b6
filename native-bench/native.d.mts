export function missingTools(): string | undefined;
