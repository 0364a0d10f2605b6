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

/**
 * A point between two groups, at which the ends of all chains are known: after group `group`, and before the first one
 * where it is 0.
 */
export interface LogPlace extends Mark {
  /** The number of the last record before it. */
  readonly records: number;
  /** Bytes of all records before it, dropped ones included: the difference of two places is what lies between them. */
  readonly bytes: number;
}

/** The same for one partition: where a checkpoint of it stands. */
export interface PartitionPlace extends ChainHead {
  readonly group: number;
  readonly records: number;
  readonly bytes: number;
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
  /** Where the log ends with it. */
  readonly end: LogPlace;
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
export interface ReplayEnd extends LogPlace {
  /** The entries that were visited. */
  readonly entries: number;
  /** Where the reading began: at the first record of a segment. */
  readonly begin: LogPlace;
}

export interface ReplayOptions {
  readonly mark: Mark;
  /**
   * What the partitions already have: each one's checkpoint, and nothing at all for a partition that is not in it. The
   * entries up to there are not visited, and the chain must pass through each of these places.
   *
   * Without `from`, everything that is kept is visited.
   */
  readonly from?: ReadonlyMap<number, PartitionPlace>;
  /** Other places that the chains must pass through, by partition. What lies before the first record that is read is not looked at. */
  readonly through?: readonly (readonly [partition: number, place: PartitionPlace])[];
  /** An entry's body is valid during the call only. An error that it throws ends the replay. */
  readonly visit: (entry: LogEntry) => void;
}

/** The entries of one partition between two places: after the one, up to and with the other. */
export interface PartitionRange {
  readonly partition: number;
  readonly after: PartitionPlace;
  readonly to: PartitionPlace;
  /** As in a replay. */
  readonly visit: (entry: LogEntry) => void;
}

export interface LogStats {
  readonly segments: number;
  /** Bytes of the pages in use. */
  readonly usedBytes: number;
  readonly fileBytes: number;
  /** When the oldest segment that is kept was made, in milliseconds since 1970: a lower bound of how far the log goes back. */
  readonly begunMilliseconds: number;
}

/**
 * The log of one lane. A group is in it whole or not at all, and never reported `flushed` before it is on the device.
 * One append at a time.
 */
export interface Log {
  /** The number of the first record that is kept: 1 until something was dropped. */
  readonly firstRecord: number;

  /** Appends a group that begins where the log ends: at the end of the replay, or of the group before. Never rejects. */
  append(group: SealedGroup): Promise<AppendOutcome>;

  /**
   * The same within the call, which takes as long as the device does. Never throws.
   *
   * @returns undefined, and nothing is done, where something must be made before the group can be written.
   */
  appendNow(group: SealedGroup): AppendOutcome | undefined;

  /**
   * Verifies the records against their checksums, the chains, the places in `from` and the mark, from some place at or
   * before those in `from` to the end, and visits the entries in the order in which they were appended (per partition:
   * in the order of their sequences).
   *
   * @throws TallystickError LOG_CORRUPT (naming partition, record, sequence and what failed) for the first record that
   * fails, for a log that ends before the mark, and for a place in `from` that is not in the log, before its first
   * record or beyond its end; DIRECTORY_INVALID for whole records of another kernel version.
   */
  replay(options: ReplayOptions): Promise<ReplayEnd>;

  /**
   * Says that recovery needs no record up to that one. Resolves when what the retention does not keep either has been
   * dropped. May be called while an append is unanswered.
   *
   * @throws TallystickError STORAGE_FAILED
   */
  release(records: number): Promise<void>;

  /**
   * Visits the audit items that are kept, per partition in the order of their sequences: all, or those of the segments
   * that have a record after `after`.
   *
   * @throws TallystickError LOG_CORRUPT for an item that fails its checksum.
   */
  audit(visit: (item: AuditItem) => void, after?: number): Promise<void>;

  stats(): LogStats;

  /** Closes the storage. To be called when no append is unanswered. */
  close(): Promise<void>;
}

/** Reads the log of a lane while another thread of the process, or nobody, writes it. */
export interface LogReader {
  /** As of a log: the number of the first record that is kept by now. */
  readonly firstRecord: number;

  /**
   * Verifies the partition's records against their checksums and the chain from `after` to `to`, and visits its entries.
   * Both must be flushed, and `after` not released.
   *
   * @throws TallystickError LOG_CORRUPT for a record that fails or is missing, and if the chain does not lead from
   * `after` to `to`; DIRECTORY_INVALID.
   */
  readPartition(range: PartitionRange): Promise<void>;

  /** Closes what it has open. */
  close(): Promise<void>;
}
