import type { ErrorCode } from '../errors.js';
import type { PartitionPlace } from '../log/log.js';
import type { Then, Wanted } from '../pubsub/hindsight.js';

/** What a lane and its replayer tell each other. Values that a message port can copy. */

/** Look back to some positions of a partition. */
export interface ReplayOrder {
  readonly partition: number;
  /** How far the log is flushed: none of the positions is beyond it. */
  readonly flushed: PartitionPlace;
  readonly wanted: readonly ReplayWish[];
}

export interface ReplayWish extends Pick<Wanted, 'position' | 'followed'> {
  readonly id: number;
}

export type FromReplayer =
  | { readonly kind: 'found'; readonly id: number; readonly past: Then }
  /** An error, as its code and its own part of the message: what was not found by now will not be. */
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly detail: string }
  /** The last message: its memory is free again. What was not found can't be. */
  | { readonly kind: 'ended' };
