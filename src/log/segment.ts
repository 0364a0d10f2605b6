import type { AppendOutcome, LogPlace, SealedGroup } from './log.js';
import type { AuditItem } from './record.js';

/** Records, or audit items, that are read in one turn of the event loop: at most 16 MiB. */
export const ITEMS_PER_TURN = 256;
export const DEFAULT_RESERVE_BYTES = 64 * 1_048_576;

export interface SegmentOptions {
  readonly readOnly?: boolean;
  /** It takes no group that would leave less free than this on its file system. */
  readonly reserveBytes?: number;
  /** Others may append while it is read: what comes later is not looked at. */
  readonly isGrowing?: boolean;
}

/**
 * A segment of a lane's log: the place at which it begins, records by their numbers, audit items. A group is there whole or
 * not at all.
 */
export interface Segment {
  /** The place before its first record. */
  readonly begin: LogPlace;
  /** The number of the last record, and that of the one before the first where it is empty. As of `refresh`. */
  readonly lastRecord: number;

  /** Whether its file has become so long that the next group goes into a new one, however few records it has. */
  isLong(segmentBytes: number): boolean;

  /** Never rejects; one at a time, and none after one that was `unknown`. */
  append(group: SealedGroup): Promise<AppendOutcome>;

  /** The same within the call; undefined, and nothing is done, where its file must be made longer first. */
  appendNow(group: SealedGroup): AppendOutcome | undefined;

  /** What is read from here on is what is stored by now, by whichever thread. */
  refresh(): void;

  /** A record, valid until the next one is read. */
  record(number: number): Uint8Array | undefined;

  /**
   * Hands each record to `take`, in turns of the event loop; undefined for one that is missing.
   *
   * @throws TallystickError LOG_CORRUPT if there is more than a row of records from the first to the last.
   */
  walk(take: (number: number, record: Uint8Array | undefined) => void): Promise<void>;

  /** In the order of partition and sequence. @throws TallystickError LOG_CORRUPT */
  audit(visit: (item: AuditItem) => void): Promise<void>;

  stats(): { readonly usedBytes: number; readonly fileBytes: number };

  close(): Promise<void>;
}
