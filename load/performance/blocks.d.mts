export function rewritten(page: string, reports: Readonly<Record<string, unknown>>): string;
export const REPORTS: readonly string[];
