import type { ErrorCode } from '../errors.js';
import type { PartitionPlace } from '../log/log.js';

/** What a lane and its checkpointer tell each other. Values that a message port can copy. */

/** XXH64 of pages of a partition's state, as the lane had it at a sequence. */
export interface Probe {
  readonly sequence: number;
  readonly first: number;
  readonly count: number;
  readonly hash: bigint;
}

/** Make a checkpoint of this partition at that place, which is flushed. */
export interface CheckpointOrder {
  readonly partition: number;
  readonly place: PartitionPlace;
  /** In the order of their sequences, none beyond the place; together they cover the state from its first page on. */
  readonly probes: readonly Probe[];
}

export interface MadeCheckpoint {
  readonly partition: number;
  readonly place: PartitionPlace;
  /** Milliseconds since 1970. */
  readonly milliseconds: number;
  /** Of the state, and those of them that had changed. */
  readonly pages: number;
  readonly pagesWritten: number;
  readonly probes: number;
}

export type ToCheckpointer =
  /** One at a time: the next one after `made` or `full`. */
  | { readonly kind: 'checkpoint'; readonly order: CheckpointOrder }
  /** Answers `ready`. */
  | { readonly kind: 'go' }
  /** Finish what is being written, and nothing more. */
  | { readonly kind: 'stop' };

export type FromCheckpointer =
  /** The next transaction is there to be written, and waits for `go`. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'made'; readonly checkpoint: MadeCheckpoint }
  /** There is no room on the disk; the checkpoint before stays. */
  | { readonly kind: 'full' }
  /** An error, as its code and its own part of the message: the process must stop. */
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly detail: string }
  | { readonly kind: 'stopped' };
