import type { Partition } from '../partition/partition.js';
import type { Feed, Match } from './feed.js';

/** Names that are kept apart from what nobody follows, before they are looked up anew. */
const MOST_KNOWN = 65_536;

/** Each change is held against all prefixes of its partition. */
const MOST_PREFIXES = 256;

/** A name, or a prefix, and who follows it. */
interface Topic {
  /** Changes of it are known behind this position. */
  readonly since: number;
  /** Those that are told of each change by itself, and by their intervals those for whom changes are gathered. */
  readonly feeds: Set<Feed>;
  readonly gathered: Map<number, Set<Feed>>;
  /** When the last of them went, in monotonic milliseconds; it is kept for a while, for who comes back. */
  idleSince: number | undefined;
}

/** What of a partition is followed, and by whom. */
export class FollowSet {
  readonly #names = new Map<string, Topic>();
  readonly #prefixes = new Map<string, Topic>();
  /** The names of counters that are followed, and the counters that are known not to be. */
  readonly #followed = new Map<number, string>();
  readonly #ignored = new Set<number>();

  /** How many names and prefixes there are. */
  get size(): number {
    return this.#names.size + this.#prefixes.size;
  }

  /** Whether another prefix would be one too many. */
  hasTooMany(prefix: string): boolean {
    return this.#prefixes.size >= MOST_PREFIXES && !this.#prefixes.has(prefix);
  }

  /** Changes are known from `position` on. */
  add(feed: Feed, position: number): void {
    const { match } = feed.options;
    const create = (): Topic => ({ since: position, feeds: new Set(), gathered: new Map(), idleSince: undefined });
    for (const topic of this.#topics(match, create)) {
      topic.feeds.add(feed);
      topic.idleSince = undefined;
    }
    if (match.kind === 'prefix') this.#ignored.clear();
  }

  /** From now on changes are gathered for this feed, by its interval, or are not. */
  gather(feed: Feed, isGathered: boolean): void {
    const { interval, match } = feed.options;
    for (const { feeds, gathered } of this.#topics(match)) {
      if (!isGathered) {
        if (leave(gathered, interval, feed)) feeds.add(feed);
      } else if (feeds.delete(feed)) {
        const same = gathered.get(interval) ?? new Set();
        gathered.set(interval, same.add(feed));
      }
    }
  }

  /** Learns which counter a name has. */
  learn(name: string, slot: number): void {
    this.#followed.set(slot, name);
    this.#ignored.delete(slot);
  }

  /** Knows no counters any more: all names have to be learnt anew. */
  unlearn(): void {
    this.#followed.clear();
    this.#ignored.clear();
  }

  remove(feed: Feed, now: number): void {
    const { match, interval } = feed.options;
    for (const topic of this.#topics(match)) {
      topic.feeds.delete(feed);
      leave(topic.gathered, interval, feed);
      if (topic.feeds.size + topic.gathered.size === 0) topic.idleSince = now;
    }
  }

  /** Forgets what nobody has followed since a time. */
  forget(before: number): void {
    for (const topics of [this.#names, this.#prefixes]) {
      for (const [key, { idleSince }] of topics) if (idleSince !== undefined && idleSince <= before) topics.delete(key);
    }
    if (this.size === 0) this.unlearn();
  }

  /** Whether all changes of it behind a position are known. */
  covers(match: Match, position: number): boolean {
    const isCovered = (topic: Topic | undefined) => topic !== undefined && topic.since <= position;
    if (match.kind === 'prefix') return isCovered(this.#prefixes.get(match.prefix));
    return match.names.every((name) => isCovered(this.#names.get(name)));
  }

  /** The name of a counter that was touched, where it is followed. `isNew`: it had no value before. */
  nameOf(slot: number, isNew: boolean, partition: Partition): string | undefined {
    const known = this.#followed.get(slot);
    if (known !== undefined) return known;
    // Without prefixes all counters that exist and are followed are known
    if (!isNew && (this.#prefixes.size === 0 || this.#ignored.has(slot))) return undefined;
    const name = partition.nameOfSlot(slot);
    if (name === undefined) return undefined;
    if (this.matches(name)) {
      if (this.#prefixes.size > 0 && this.#followed.size > MOST_KNOWN + this.#names.size) this.#shrink();
      this.#followed.set(slot, name);
      return name;
    }
    if (this.#ignored.size >= MOST_KNOWN) this.#ignored.clear();
    if (this.#prefixes.size > 0) this.#ignored.add(slot);
    return undefined;
  }

  /** The counter of a slot is gone. */
  gone(slot: number): void {
    this.#followed.delete(slot);
    this.#ignored.delete(slot);
  }

  matches(name: string): boolean {
    if (this.#names.has(name)) return true;
    for (const prefix of this.#prefixes.keys()) if (name.startsWith(prefix)) return true;
    return false;
  }

  /**
   * Visits whoever is told of each change of a name by itself, for whatever reason, and the intervals for which its changes are gathered, each once. No
   * generators: this is done for each change of each counter.
   */
  visit(name: string, onFeed: (feed: Feed) => void, onInterval: (interval: number) => void): void {
    const topic = this.#names.get(name);
    topic?.feeds.forEach(onFeed);
    if (topic) for (const interval of topic.gathered.keys()) onInterval(interval);
    if (this.#prefixes.size === 0) return;
    const seen = new Set(topic?.gathered.keys());
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
  visitGathered(name: string, interval: number, onFeed: (feed: Feed) => void): void {
    this.#names.get(name)?.gathered.get(interval)?.forEach(onFeed);
    if (this.#prefixes.size === 0) return;
    for (const [prefix, { gathered }] of this.#prefixes) {
      if (name.startsWith(prefix)) gathered.get(interval)?.forEach(onFeed);
    }
  }

  /** Forgets the slots of names that only a prefix follows; they are looked up anew. */
  #shrink(): void {
    for (const [slot, name] of this.#followed) if (!this.#names.has(name)) this.#followed.delete(slot);
  }

  #topics(match: Match, create?: () => Topic): Topic[] {
    const topics = match.kind === 'names' ? this.#names : this.#prefixes;
    return (match.kind === 'names' ? match.names : [match.prefix]).flatMap((key) => {
      const topic = topics.get(key) ?? create?.();
      if (!topic) return [];
      topics.set(key, topic);
      return [topic];
    });
  }
}

/** Whether it was there. */
function leave(gathered: Map<number, Set<Feed>>, interval: number, feed: Feed): boolean {
  const same = gathered.get(interval);
  if (!same?.delete(feed)) return false;
  if (same.size === 0) gathered.delete(interval);
  return true;
}
