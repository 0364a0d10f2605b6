import type { Partition } from '../partition/partition.js';
import type { Touched } from '../partition/touched.js';
import type { PrefixFeed } from './prefix-feed.js';
import { type Change, wrapped } from './subscriber.js';

/** Names that are kept apart from what nobody follows, before they are looked up anew. */
const MOST_KNOWN = 65_536;
/** Each change is held against all prefixes of its partition. */
const MOST_PREFIXES = 256;

/** A prefix, and who follows it. */
interface Followed {
  /** Changes below it are known behind this position. */
  readonly since: number;
  /** Those that are told of each change by itself, and by their intervals those for whom changes are gathered. */
  readonly feeds: Set<PrefixFeed>;
  readonly gathered: Map<number, Set<PrefixFeed>>;
  /** Those that are told of nothing for now. */
  readonly parked: Set<PrefixFeed>;
  /** When the last of them went, in monotonic milliseconds; it is kept for a while, for who comes back. */
  idleSince: number | undefined;
}

/** A counter that was touched since the last copy, and its value at that copy: undefined where it did not exist. */
interface Dirty {
  readonly name: string;
  readonly before: bigint | undefined;
}

/** The prefixes of a partition that are followed, by whom, and which counters below them were touched. */
export class Prefixes {
  readonly #prefixes = new Map<string, Followed>();
  /** The names of counters that are followed, and the counters that are known not to be. */
  readonly #followed = new Map<number, string>();
  readonly #ignored = new Set<number>();
  #dirty = new Map<number, Dirty>();
  #gone: Change[] = [];

  get size(): number {
    return this.#prefixes.size;
  }

  /** How many counters were touched, or went, since the last copy. */
  get dirty(): number {
    return this.#dirty.size + this.#gone.length;
  }

  /** Whether another prefix would be one too many. */
  hasTooMany(prefix: string): boolean {
    return this.#prefixes.size >= MOST_PREFIXES && !this.#prefixes.has(prefix);
  }

  /** Changes are known from `position` on. */
  add(feed: PrefixFeed, position: number): void {
    const { prefix } = feed;
    const known = this.#prefixes.get(prefix);
    const followed = known ?? {
      since: position,
      feeds: new Set(),
      gathered: new Map(),
      parked: new Set(),
      idleSince: undefined,
    };
    this.#prefixes.set(prefix, followed);
    followed.feeds.add(feed);
    followed.idleSince = undefined;
    if (!known) this.#ignored.clear();
  }

  /** From now on changes are gathered for this feed, by its interval, or are not. */
  gather(feed: PrefixFeed, isGathered: boolean): void {
    const { interval } = feed.options;
    const { feeds, gathered } = this.#prefixes.get(feed.prefix) as Followed;
    if (!isGathered) {
      if (leave(gathered, interval, feed)) feeds.add(feed);
    } else if (feeds.delete(feed)) {
      const same = gathered.get(interval) ?? new Set();
      gathered.set(interval, same.add(feed));
    }
  }

  /** From now on a feed that is not gathered is told of nothing, or again of each change; what it follows is known meanwhile. */
  park(feed: PrefixFeed, isParked: boolean): void {
    const { feeds, parked } = this.#prefixes.get(feed.prefix) as Followed;
    const [from, to] = isParked ? [feeds, parked] : [parked, feeds];
    from.delete(feed);
    to.add(feed);
  }

  remove(feed: PrefixFeed, now: number): void {
    const followed = this.#prefixes.get(feed.prefix) as Followed;
    followed.feeds.delete(feed);
    followed.parked.delete(feed);
    leave(followed.gathered, feed.options.interval, feed);
    if (followed.feeds.size + followed.gathered.size + followed.parked.size === 0) followed.idleSince = now;
  }

  /** Forgets what nobody has followed since a time. */
  forget(before: number): void {
    for (const [prefix, { idleSince }] of this.#prefixes) {
      if (idleSince !== undefined && idleSince <= before) this.#prefixes.delete(prefix);
    }
    if (this.size === 0) this.restart();
  }

  /** Nothing is known of any counter any more. */
  restart(): void {
    this.#followed.clear();
    this.#ignored.clear();
    this.#dirty.clear();
    this.#gone = [];
  }

  /** Whether all changes below a prefix behind a position are known. */
  covers(prefix: string, position: number): boolean {
    const followed = this.#prefixes.get(prefix);
    return followed !== undefined && followed.since <= position;
  }

  /** A counter was touched. */
  touch(slot: number, touched: Touched, index: number, partition: Partition): void {
    if (this.#dirty.has(slot)) return;
    const name = this.#nameOf(slot, !touched.existed(index), partition);
    if (name !== undefined) this.#dirty.set(slot, { name, before: touched.before(index) });
  }

  /** The counter of a slot is gone, which had a value `before`, or none. */
  gone(slot: number, name: string, before: bigint | undefined): void {
    const dirty = this.#dirty.get(slot);
    const isFollowed = dirty !== undefined || this.matches(name);
    const first = dirty ? dirty.before : before;
    this.#dirty.delete(slot);
    this.#followed.delete(slot);
    this.#ignored.delete(slot);
    if (!isFollowed || first === undefined) return;
    this.#gone.push({ slot, name, value: 0n, exists: false, delta: wrapped(-first) });
  }

  /** Copies the values of what is dirty, which so are as of the present position of the partition. */
  copy(partition: Partition): Change[] {
    const changes = this.#gone;
    this.#gone = [];
    for (const [slot, { name, before }] of this.#dirty) {
      const number = partition.valueOfSlot(slot);
      if (number === undefined) continue;
      const value = BigInt(number);
      if (value === before) continue;
      changes.push({ slot, name, value, exists: true, delta: wrapped(value - (before ?? 0n)) });
    }
    this.#dirty.clear();
    return changes;
  }

  matches(name: string): boolean {
    for (const prefix of this.#prefixes.keys()) if (name.startsWith(prefix)) return true;
    return false;
  }

  /**
   * Visits whoever is told of each change of a name by itself, for whatever reason, and the intervals for which its changes are gathered, each once. No
   * generators: this is done for each change of each counter.
   */
  visit(name: string, onFeed: (feed: PrefixFeed) => void, onInterval: (interval: number) => void): void {
    const seen = new Set<number>();
    for (const [prefix, { feeds, gathered }] of this.#prefixes) {
      if (!name.startsWith(prefix)) continue;
      feeds.forEach(onFeed);
      for (const interval of gathered.keys()) {
        if (!seen.has(interval)) onInterval(interval);
        seen.add(interval);
      }
    }
  }

  /** Visits whoever is told of what was gathered of a name for an interval. */
  visitGathered(name: string, interval: number, onFeed: (feed: PrefixFeed) => void): void {
    for (const [prefix, { gathered }] of this.#prefixes) {
      if (name.startsWith(prefix)) gathered.get(interval)?.forEach(onFeed);
    }
  }

  /** The name of a counter that was touched, where it is followed. `isNew`: it had no value before. */
  #nameOf(slot: number, isNew: boolean, partition: Partition): string | undefined {
    const known = this.#followed.get(slot);
    if (known !== undefined) return known;
    if (!isNew && this.#ignored.has(slot)) return undefined;
    const name = partition.nameOfSlot(slot);
    if (name === undefined) return undefined;
    if (this.matches(name)) {
      // they are looked up anew
      if (this.#followed.size >= MOST_KNOWN) this.#followed.clear();
      this.#followed.set(slot, name);
      return name;
    }
    if (this.#ignored.size >= MOST_KNOWN) this.#ignored.clear();
    this.#ignored.add(slot);
    return undefined;
  }
}

/** Whether it was there. */
function leave(gathered: Map<number, Set<PrefixFeed>>, interval: number, feed: PrefixFeed): boolean {
  const same = gathered.get(interval);
  if (!same?.delete(feed)) return false;
  if (same.size === 0) gathered.delete(interval);
  return true;
}
