import type { Histogram } from 'hdr-histogram-js';

export interface Time {
  /** Milliseconds that never step back. */
  now(): number;
  later(milliseconds: number, callback: () => void): void;
}

export function openLoop(
  call: () => Promise<unknown>,
  options: { readonly rate: number; readonly seconds: number; readonly time?: Time },
): Promise<{ readonly calls: number; readonly rate: number; readonly histogram: Histogram; readonly late: Histogram }>;
