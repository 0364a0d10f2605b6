export function ring(milliseconds: number, callback: () => void): void;
