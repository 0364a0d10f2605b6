import type { PrefixFeed } from './prefix-feed.js';
import { type Change, wrapped } from './subscriber.js';

/** What happened to a counter within an interval. */
export interface Gathering {
  readonly name: string;
  value: bigint;
  exists: boolean;
  delta: bigint;
}

/** Counters whose changes are gathered before they are given out early. */
export const MOST_GATHERED = 16_384;

/**
 * The changes of an interval, folded together by name: once for all feeds that have the same one, however many they are. At its end they are given out, some
 * at a time, while the next interval's are gathered.
 */
export class Gathered {
  /** How many feeds there are, and those that are to be among them from the next interval on. */
  feeds = 0;
  readonly joining = new Set<PrefixFeed>();
  /** The number of the interval that is being gathered: what is given out is of the one before. */
  interval = 0;
  /** Up to where everything has been given out. */
  position = 0;
  #changes = new Map<string, Gathering>();
  #outgoing: Gathering[] = [];
  #outgoingPosition = 0;

  get isEmpty(): boolean {
    return this.#changes.size === 0;
  }

  get isFull(): boolean {
    return this.#changes.size >= MOST_GATHERED;
  }

  /** Whether something is being given out: until that has come to an end, nobody can be told of any of it. */
  get isGiving(): boolean {
    return this.#outgoing.length > 0;
  }

  add({ name, value, exists, delta }: Change): void {
    const gathering = this.#changes.get(name);
    if (!gathering) {
      this.#changes.set(name, { name, value, exists, delta });
      return;
    }
    gathering.value = value;
    gathering.exists = exists;
    gathering.delta = wrapped(gathering.delta + delta);
  }

  /** What was gathered up to a position is to be given out, after all that was before. */
  beginGiving(position: number): void {
    if (this.isEmpty) this.position = position;
    this.#outgoing = [...this.#changes.values()];
    this.#outgoingPosition = position;
    this.#changes = new Map();
    this.interval++;
  }

  /** So many changes to give out; then, or where there are none, everything has been given out. */
  give(count: number): readonly Gathering[] {
    const given = this.#outgoing.splice(-count, count);
    if (!this.isGiving) this.position = Math.max(this.position, this.#outgoingPosition);
    return given;
  }
}
