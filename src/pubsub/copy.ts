import type { Piece } from './piece.js';
import type { PrefixFeed } from './prefix-feed.js';
import type { Change } from './subscriber.js';
import type { CopiedTopics } from './topics.js';

/** A step of the snapshot of a feed. */
export interface Step {
  readonly feed: PrefixFeed;
  readonly pieces: readonly Piece[];
  /** Slots below have been looked at. */
  readonly told: number;
}

/** What was copied of the memory of a partition, as of a position; it is published when that is flushed. */
export interface Copy {
  readonly position: number;
  readonly topics: readonly CopiedTopics[];
  /** Of counters below prefixes. */
  readonly changes: readonly Change[];
  readonly step: Step | undefined;
  /** What waits for this to be published, by who waits. */
  readonly waits: Map<unknown, () => void>;
}
