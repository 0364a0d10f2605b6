import type { TallystickError } from '../errors.js';
import type { AuditItem, LogEntry } from './record.js';

/** Which partitions share the log, and the kernel version that reads and writes its entries. Fixed for its life. */
export interface LogShape {
  readonly partitions: readonly number[];
  readonly kernelVersion: number;
}

/**
 * The end of one partition's chain: its last entry, and XXH64 of its last record. Sequence 0 and hash 0 before the
 * first.
 */
export interface ChainHead {
  readonly sequence: number;
  readonly hash: bigint;
}

/**
 * A lower bound of the log, kept outside it: group `group` was flushed, and after it the chains ended in `heads`, one
 * for each partition of the lane.
 */
export interface Mark {
  readonly group: number;
  readonly heads: ReadonlyMap<number, ChainHead>;
}

/** Keeps the last mark written. `write` is synchronous and throws what the storage throws. */
export interface HeadMark {
  read(): Mark;
  write(mark: Mark): void;
  close(): void;
}

/**
 * The records of one group commit, finished, and where they leave the chains. Groups are numbered 1, 2, 3 … Nothing
 * in it changes until `append` has answered.
 */
export interface SealedGroup extends Mark {
  /** The number of its first record; records are numbered 1, 2, 3 … over all partitions of the log. */
  readonly firstRecord: number;
  readonly records: readonly Uint8Array[];
  readonly entries: number;
  readonly audit: readonly AuditItem[];
}

/**
 * What became of a group.
 *
 * - `flushed`: it is on the device, whole.
 * - `not-written`: there is no room, and surely nothing of it is in the log; the same group may be appended again.
 * - `unknown`: it may be there or not, and the storage is not to be trusted any more: every later append is `unknown`
 *   too,   and the process must stop.
 */
export type AppendOutcome =
  | { readonly kind: 'flushed' }
  | { readonly kind: 'not-written'; readonly error: TallystickError }
  | { readonly kind: 'unknown'; readonly error: TallystickError };

/** Where a replay ended: the point from which the log is continued. */
export interface ReplayEnd extends Mark {
  /** The number of records, and so the number of the last one. */
  readonly records: number;
  readonly entries: number;
  /** Bytes of all records. */
  readonly bytes: number;
}

export interface LogStats {
  readonly records: number;
  /** Bytes of the pages in use; the file itself never shrinks. */
  readonly usedBytes: number;
  readonly fileBytes: number;
}

/**
 * The log of one lane. A group is in it whole or not at all, and never reported `flushed` before it is on the device.
 * One append at a time.
 */
export interface Log {
  /** Never rejects. */
  append(group: SealedGroup): Promise<AppendOutcome>;

  /**
   * Verifies every record from the first to the last against its checksum, its chain and the mark, and visits the
   * entries in the order in which they were appended (per partition: in the order of their sequences). An entry's
   * body is valid during the call only. An error that `visit` throws ends the replay.
   *
   * @throws TallystickError LOG_CORRUPT (naming partition, record, sequence and what failed) for the first record that
   * fails, and for a log that ends before the mark; DIRECTORY_INVALID for whole records of another kernel version.
   */
  replay(mark: Mark, visit: (entry: LogEntry) => void): Promise<ReplayEnd>;

  /**
   * Visits the audit items in the order of partition and sequence.
   *
   * @throws TallystickError LOG_CORRUPT for an item that fails its checksum.
   */
  audit(visit: (item: AuditItem) => void): Promise<void>;

  stats(): LogStats;

  /** Closes the storage. To be called when no append is unanswered. */
  close(): Promise<void>;
}
