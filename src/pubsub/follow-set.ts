import type { Partition } from '../partition/partition.js';
import type { Feed, Match } from './feed.js';

/** Names that are kept apart from what nobody follows, before they are looked up anew. */
const MOST_KNOWN = 65_536;

/** Some names, or a prefix, and who follows them. */
interface Topic {
  /** Changes of it are known behind this position. */
  readonly since: number;
  readonly feeds: Set<Feed>;
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

  get prefixes(): number {
    return this.#prefixes.size;
  }

  /** Changes are known from `position` on. */
  add(feed: Feed, position: number): void {
    const { match } = feed.options;
    for (const topic of this.#topics(match, () => ({ since: position, feeds: new Set(), idleSince: undefined }))) {
      topic.feeds.add(feed);
      topic.idleSince = undefined;
    }
    if (match.kind === 'prefix') this.#ignored.clear();
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
    for (const topic of this.#topics(feed.options.match)) {
      topic.feeds.delete(feed);
      if (topic.feeds.size === 0) topic.idleSince = now;
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

  /** Whoever follows a name, for whatever reason. */
  *followers(name: string): Generator<Feed> {
    yield* this.#names.get(name)?.feeds ?? [];
    for (const [prefix, { feeds }] of this.#prefixes) if (name.startsWith(prefix)) yield* feeds;
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
