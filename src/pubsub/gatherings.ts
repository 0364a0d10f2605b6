import type { Feed } from './feed.js';
import { Gathered } from './gathered.js';
import { PrefixFeed } from './prefix-feed.js';
import type { Prefixes } from './prefixes.js';
import type { Change } from './subscriber.js';

/** Different intervals for which changes are gathered. Feeds of others fold them each for itself. */
const MOST_INTERVALS = 64;
/** What is given out in one turn, each change to each feed: the requests of writers come between. */
const GIVEN_IN_A_TURN = 4_096;

export interface GatheringsParts {
  readonly prefixes: Prefixes;
  /** How far the partition is published. */
  readonly published: () => number;
  /** A feed has been given all that belongs together. */
  readonly onNews: (feed: Feed) => void;
}

/** The feeds of the prefixes of a partition for which changes are gathered, by their intervals. */
export class Gatherings {
  readonly #parts: GatheringsParts;
  readonly #gathered = new Map<number, Gathered>();
  /** Feeds that have been given something, and are told of it when they have all of it. */
  readonly #given = new Set<PrefixFeed>();

  constructor(parts: GatheringsParts) {
    this.#parts = parts;
  }

  /** Up to where a feed has been given all that it is to tell. */
  positionOf(feed: Feed): number {
    const isGathered = feed instanceof PrefixFeed && feed.isGathered;
    const gathered = isGathered ? this.#gathered.get(feed.options.interval) : undefined;
    return gathered && !(gathered.isEmpty && !gathered.isGiving) ? gathered.position : this.#parts.published();
  }

  /** Whether something is being given out. */
  get isGiving(): boolean {
    for (const gathered of this.#gathered.values()) if (gathered.isGiving) return true;
    return false;
  }

  /** Whether a feed has been given some of what belongs together: there is news for it when it has all. */
  holds(feed: Feed): boolean {
    if (!(feed instanceof PrefixFeed && feed.isGathered)) return false;
    if (!this.#gathered.get(feed.options.interval)?.isGiving) return false;
    this.#given.add(feed);
    return true;
  }

  /** A change is gathered for an interval. */
  add(interval: number, change: Change): void {
    this.#gathered.get(interval)?.add(change);
  }

  /** The interval is over: what was gathered is to be given to those who have it, by `give`. Where the last one's still is, it is gathered on. */
  distribute(interval: number): void {
    const gathered = this.#gathered.get(interval);
    if (gathered && !gathered.isGiving) this.#beginGiving(interval, gathered);
  }

  /** The same of intervals for which no more can be gathered. */
  distributeFull(): void {
    for (const [interval, gathered] of this.#gathered) {
      if (!gathered.isFull) continue;
      this.#giveAll(interval, gathered);
      this.#beginGiving(interval, gathered);
    }
  }

  /** Goes on with what is being given out, a bounded part of it. */
  give(): void {
    for (const [interval, gathered] of this.#gathered) {
      if (gathered.isGiving) this.#give(interval, gathered, Math.ceil(GIVEN_IN_A_TURN / gathered.feeds));
    }
  }

  /** The feed has been told all there was: what changes from the next interval on may be gathered for it together with others. Until then it is told of each change by itself. */
  begin(feed: PrefixFeed): void {
    const { interval } = feed.options;
    if (interval === 0 || (!this.#gathered.has(interval) && this.#gathered.size >= MOST_INTERVALS)) return;
    const gathered = this.#gathered.get(interval) ?? new Gathered();
    this.#gathered.set(interval, gathered);
    gathered.joining.add(feed);
  }

  /** Changes are gathered for it no longer, if they were. */
  end(feed: PrefixFeed): void {
    const { interval } = feed.options;
    const gathered = this.#gathered.get(interval);
    if (!gathered) return;
    gathered.joining.delete(feed);
    if (feed.isGathered) {
      feed.isGathered = false;
      this.#given.delete(feed);
      this.#parts.prefixes.gather(feed, false);
      gathered.feeds--;
    }
    if (gathered.feeds + gathered.joining.size === 0) this.#gathered.delete(interval);
  }

  clear(): void {
    this.#gathered.clear();
    this.#given.clear();
  }

  #beginGiving(interval: number, gathered: Gathered): void {
    gathered.beginGiving(this.#parts.published());
    for (const feed of gathered.joining) {
      this.#parts.prefixes.gather(feed, true);
      feed.isGathered = true;
      // it has been told of what is given out now
      feed.gatheredFrom = gathered.interval;
      gathered.feeds++;
    }
    gathered.joining.clear();
    if (!gathered.isGiving) this.#give(interval, gathered, 0);
  }

  #giveAll(interval: number, gathered: Gathered): void {
    this.#give(interval, gathered, Number.POSITIVE_INFINITY);
  }

  #give(interval: number, gathered: Gathered, count: number): void {
    for (const change of gathered.give(count)) {
      this.#parts.prefixes.visitGathered(change.name, interval, (feed) => {
        if (feed.gatheredFrom === gathered.interval) return;
        feed.take(change);
        this.#given.add(feed);
      });
    }
    if (gathered.isGiving) return;
    for (const feed of this.#given) {
      if (feed.options.interval !== interval) continue;
      this.#given.delete(feed);
      this.#parts.onNews(feed);
    }
  }
}
