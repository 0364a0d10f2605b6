import type { HistoryRow } from '../../src/history/bucket.js';

export const PARTITION: number;
export const SLOTS: number;
export const LAST: number;
export function rowOf(asOf: number): HistoryRow;
export function endOfLog(asOf: number): number;
