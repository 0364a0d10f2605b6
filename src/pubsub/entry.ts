import type { Feed } from './feed.js';
import type { PartitionFeeds } from './partition-feeds.js';
import { PrefixFeed } from './prefix-feed.js';

/** A feed, and what it is fed by. */
export interface Entry {
  readonly feed: Feed;
  readonly number: number;
  readonly source: PartitionFeeds;
  /** How many names it follows; a prefix counts as one. */
  readonly names: number;
  /** What it has waiting, as it is counted. */
  pending: number;
  /** When it was sent something last, in monotonic milliseconds, and how many bytes in its turn. */
  sent: number;
  bytes: number;
  /** Whether nothing is kept for it, and after how long that is to be: longer each time that it had to begin anew for that, so that who is merely slow comes to an end. */
  isParked: boolean;
  patience: number;
}

/** Whether its reader may be sent something now. */
export function canTake({ feed }: Entry): boolean {
  return feed.credit > 0 && !feed.options.subscriber.isClogged;
}

/** Whether its snapshot begins, for a reader that has said nothing yet. */
export function isNew({ feed }: Entry): boolean {
  return feed instanceof PrefixFeed && feed.isNew;
}

export function bySource(entries: Iterable<Entry>): Map<PartitionFeeds, Entry[]> {
  const groups = new Map<PartitionFeeds, Entry[]>();
  for (const entry of entries) {
    const group = groups.get(entry.source);
    if (group) group.push(entry);
    else groups.set(entry.source, [entry]);
  }
  return groups;
}
