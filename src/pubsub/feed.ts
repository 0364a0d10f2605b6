import { ByteWriter } from '../protocol/bytes.js';
import { type Told, writeTailHeader, writeTold } from '../protocol/tail.js';
import { type Change, type Found, type Subscriber, wrapped } from './subscriber.js';

/** Bytes of counters that a frame takes before the next one is begun. */
const FRAME_BYTES = 16_384;
/** Counters that may wait for a reader that takes nothing, and for one that does: a group of the log may bring very many at a time. */
const MOST_PENDING = 16_384;
const MOST_AT_ALL = 131_072;
/** Behind the last slot: all of what is followed has been told. */
export const ALL_SLOTS = Number.POSITIVE_INFINITY;

/** What a follower is to be told of one counter: all that happened to it since it was last told. */
interface Pending {
  value: bigint;
  exists: boolean;
  delta: bigint;
  /** Whether it was never told, so that only the value means anything. */
  readonly isFound: boolean;
}

/** What is followed: some names, or those with a prefix (all with an empty one). */
export type Match =
  | { readonly kind: 'names'; readonly names: readonly string[] }
  | { readonly kind: 'prefix'; readonly prefix: string };

export interface FeedOptions {
  readonly subscriber: Subscriber;
  readonly requestId: number;
  readonly match: Match;
  readonly interval: number;
  readonly credit: number;
}

/**
 * One reader of one partition. What it has not been told is folded together by name, so that a reader that is slow gets less and later, and
 * what waits for it has a bound.
 */
export class Feed {
  readonly options: FeedOptions;
  /** Frames that may be sent. */
  credit: number;
  /** A snapshot goes through the slots: those below have been told of, and their changes concern this reader. */
  told = 0;
  /** Where the snapshot goes on; undefined while nothing is left to look at. */
  cursor: number | undefined = 0;
  /** Whether its changes are gathered with those of others that have the same interval. */
  isGathered = false;
  /** The position that it was told last. */
  position = 0;
  /** Whether a frame is due even where nothing has changed. */
  owes = true;
  #begins = true;
  readonly #pending = new Map<string, Pending>();

  constructor(options: FeedOptions) {
    this.options = options;
    this.credit = options.credit;
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** Whether more waits than is kept for it. `isStuck`: it has taken nothing for a while. */
  isFull(isStuck: boolean): boolean {
    return this.#pending.size > (isStuck ? MOST_PENDING : MOST_AT_ALL);
  }

  /** Whether the whole snapshot has been published. */
  get isComplete(): boolean {
    return this.told === ALL_SLOTS;
  }

  /** Whether a frame could be made. */
  get hasNews(): boolean {
    return this.#pending.size > 0 || (this.owes && this.isComplete);
  }

  /** Goes on where it was, instead of with a snapshot. */
  resume(): void {
    this.told = ALL_SLOTS;
    this.cursor = undefined;
    this.#begins = false;
  }

  /** Begins anew with a snapshot. */
  restart(): void {
    this.told = 0;
    this.cursor = 0;
    this.owes = true;
    this.#begins = true;
    this.#pending.clear();
  }

  /** Takes a change of a counter that it follows. */
  take({ name, value, exists, delta }: Omit<Change, 'slot'>): void {
    const pending = this.#pending.get(name);
    if (!pending) {
      this.#pending.set(name, { value, exists, delta, isFound: false });
      return;
    }
    pending.value = value;
    pending.exists = exists;
    pending.delta = wrapped(pending.delta + delta);
  }

  /** Takes what a snapshot found; slots below `told` have been looked at. */
  takeFound(found: readonly Found[], told: number): void {
    for (const { name, value, exists } of found) this.#pending.set(name, { value, exists, delta: 0n, isFound: true });
    this.told = told;
  }

  /** The next frame, of what waits; `items` is a writer for the meantime. */
  frame(items: ByteWriter, position: number): Uint8Array {
    items.reset();
    let count = 0;
    for (const [name, pending] of this.#pending) {
      if (items.length >= FRAME_BYTES) break;
      writeTold(items, toldOf(name, pending));
      this.#pending.delete(name);
      count++;
    }
    const whole = this.#pending.size === 0 && this.isComplete;
    const body = new ByteWriter(items.length + 16);
    writeTailHeader(body, { begins: this.#begins, whole, position }, count);
    body.bytes(items.view());
    this.#begins = false;
    this.position = position;
    this.credit--;
    if (whole) this.owes = false;
    return body.view();
  }
}

function toldOf(name: string, { value, exists, delta, isFound }: Pending): Told {
  if (isFound) return exists ? { kind: 'value', name, value } : { kind: 'absent', name };
  return exists ? { kind: 'change', name, value, delta } : { kind: 'deleted', name, delta };
}
