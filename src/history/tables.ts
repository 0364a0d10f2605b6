import type { AppendOutcome } from '../log/log.js';
import type { Resolution } from '../series/bucket.js';

/** Ordered rows of bytes: what history asks of its storage. Keys are those of key.ts, values those of row.ts. */

export interface StoredRow {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface HistoryReader {
  /**
   * What is read after it is committed by now. For the one that writes it is one state within the same turn of the event loop; a
   * reader beside it may find more with every call.
   */
  refresh(): void;

  /** The state of a partition (partition-state.ts), undefined before its first change. */
  state(partition: number): Uint8Array | undefined;

  /** The row under a key. */
  get(resolution: Resolution, key: Uint8Array): Uint8Array | undefined;

  /** At most `limit` rows from the key `start` on, and before `end`, in the order of their keys. */
  range(resolution: Resolution, start: Uint8Array, end: Uint8Array, limit: number): StoredRow[];
}

export interface Put extends StoredRow {
  readonly resolution: Resolution;
}

export interface Removal {
  readonly resolution: Resolution;
  readonly key: Uint8Array;
}

/** One transaction. Its bytes must stay as they are until it was answered. */
export interface Change {
  readonly partition: number;
  /** Other than before. */
  readonly state: Uint8Array;
  readonly puts: readonly Put[];
  readonly removals: readonly Removal[];
}

export interface HistoryStats {
  readonly rows: Readonly<Record<Resolution, number>>;
  /** Bytes of the pages of storage in use; the file itself never shrinks. */
  readonly usedBytes: number;
  readonly fileBytes: number;
}

/** A change is there whole or not at all; what was answered `flushed` is on the device. One change at a time. */
export interface HistoryTables extends HistoryReader {
  /** Never rejects. After `unknown` every later change is `unknown` too, and the process must stop. */
  commit(change: Change): Promise<AppendOutcome>;
  stats(): HistoryStats;
  close(): Promise<void>;
}
