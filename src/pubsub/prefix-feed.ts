import type { ByteWriter } from '../protocol/bytes.js';
import { Feed, type FeedOptions, FRAME_BYTES, type Items } from './feed.js';
import type { Then } from './hindsight.js';
import { countersOf, type Piece, release } from './piece.js';
import { type Change, wrapped } from './subscriber.js';
import { ThenBelow } from './then-below.js';
import { Waiting } from './waiting.js';

/** Counters that may wait for a reader: a group of the log may bring very many at a time. */
const MOST_PENDING = 131_072;
/** Names of the first step of a snapshot, and at most of any: about a frame of them. How many slots it looks at is the kernel's matter. */
const FIRST_STEP_NAMES = 64;
const MOST_STEP_NAMES = 1_024;
/** Behind the last slot: all of what is followed has been told. */
export const ALL_SLOTS = Number.POSITIVE_INFINITY;

/**
 * A reader of a prefix. Its counters come and go, so nothing is kept of what it was told: what it has not been told is folded together by name,
 * so that a reader that is slow gets less and later, and what waits for it has a bound.
 */
export class PrefixFeed extends Feed {
  /** All names begin with an empty one. */
  readonly prefix: string;
  /** A snapshot goes through the slots: those below have been told of, and their changes concern this reader. */
  told = 0;
  /** Where the snapshot goes on; undefined while nothing is left to look at. */
  cursor: number | undefined = 0;
  /** How many names the next step is to tell. */
  stepNames = FIRST_STEP_NAMES;
  /** Whether its changes are gathered with those of others that have the same interval. */
  isGathered = false;
  /** The interval from which on they are. */
  gatheredFrom = 0;
  #isOpen = false;
  /** What its snapshot found, to be told before all else, and what each is as of. */
  readonly #pieces: { readonly piece: Piece; readonly position: number }[] = [];
  #inPieces = 0;
  readonly #pending = new Waiting();
  /** What its reader knows of what the snapshot has not come to, where it goes on from a position that is long past. */
  #then: ThenBelow | undefined;

  constructor(options: FeedOptions, prefix: string) {
    super(options);
    this.prefix = prefix;
  }

  /** Whether its snapshot began, and its reader has said nothing yet. */
  get isNew(): boolean {
    return !this.hasSaid && !this.isComplete;
  }

  get pending(): number {
    return this.#inPieces + this.#pending.size;
  }

  /** Counters that take memory: those that wait, and those that its snapshot is held against. */
  get held(): number {
    return this.pending + (this.#then?.size ?? 0);
  }

  /** Whether more waits than is kept for it. */
  get isFull(): boolean {
    return this.#pending.size > MOST_PENDING;
  }

  override get isComplete(): boolean {
    return this.told === ALL_SLOTS;
  }

  override get hasNews(): boolean {
    return this.#isOpen && (this.pending > 0 || (this.owes && this.isComplete));
  }

  override get isUpToDate(): boolean {
    return this.isComplete && this.pending === 0;
  }

  override open(): void {
    this.#isOpen = true;
  }

  override countWaiting(): number {
    return this.pending;
  }

  /** Goes on where it was, at a position, instead of with a snapshot. */
  resume(position: number): void {
    this.told = ALL_SLOTS;
    this.cursor = undefined;
    this.begins = false;
    this.wholeAt = position;
  }

  /** Goes on at a position, where its counters were that: its snapshot tells only what is not as it was then. */
  resumeFrom(position: number, then: Extract<Then, { kind: 'prefix' }>): void {
    this.begins = false;
    this.wholeAt = position;
    this.#then = new ThenBelow(then);
  }

  /** Reads on what was there then; whether there was anything left to read. */
  readThen(): boolean {
    return this.#then?.read() ?? false;
  }

  /** Begins anew with a snapshot. */
  override restart(): void {
    this.#then = undefined;
    this.told = 0;
    this.cursor = 0;
    this.owes = true;
    this.begins = true;
    this.wholeAt = undefined;
    for (const { piece } of this.#pieces.splice(0)) release(piece);
    this.#inPieces = 0;
    this.#pending.clear();
  }

  /** Takes a change of a counter that it follows. */
  take(change: Omit<Change, 'slot'>): void {
    const before = this.#then?.take(change.name);
    if (before === undefined) this.#pending.fold(change);
    // its reader knows it as it was then, in another slot than it is in now
    else if (!change.exists || change.value !== before)
      this.#pending.fold({ ...change, delta: wrapped(change.value - before) });
  }

  /** A step found these: the next one is to be of as many names as fill a frame. */
  stepped(pieces: readonly Piece[]): void {
    if (pieces.length === 0) return;
    const [bytes, count] = [bytesIn(pieces), countIn(pieces)];
    this.stepNames = Math.max(1, Math.min(MOST_STEP_NAMES, Math.floor((FRAME_BYTES * count) / bytes)));
  }

  /** Takes what a step of its snapshot found, as of a position; slots below `told` have been looked at. */
  takeStep(pieces: readonly Piece[], position: number, told: number): void {
    this.told = told;
    if (this.#then) this.#hold(this.#then, pieces);
    else if (!this.#pending.hasGone) this.#pass(pieces, position);
    // one that is gone may be there again, where the step came to it: what waits must not be told after that
    else this.#find(pieces);
  }

  #find(pieces: readonly Piece[]): void {
    for (const piece of pieces) {
      for (const found of countersOf(piece)) this.#pending.find(found);
      release(piece);
    }
  }

  #pass(pieces: readonly Piece[], position: number): void {
    for (const piece of pieces) this.#pieces.push({ piece, position });
    this.#inPieces += countIn(pieces);
  }

  /** Holds what was found against what its reader knows. */
  #hold(then: ThenBelow, pieces: readonly Piece[]): void {
    // one that it does not know by then was not there, or is gone since and told of
    for (const piece of pieces) {
      for (const { name, value } of countersOf(piece)) this.take({ name, value, exists: true, delta: value });
      release(piece);
    }
    if (!this.isComplete) return;
    for (const [name, before] of then.left())
      this.#pending.fold({ name, value: 0n, exists: false, delta: wrapped(-before) });
    this.#then = undefined;
  }

  protected override write(items: ByteWriter): Items {
    const next = this.#pieces.shift();
    const count = next ? next.piece.count : this.#pending.write(items, FRAME_BYTES);
    if (next) {
      items.bytes(next.piece.items.view());
      this.#inPieces -= count;
      release(next.piece);
    }
    const whole = this.pending === 0 && this.isComplete;
    if (whole) this.#isOpen = false;
    if (!next || this.#pending.size === 0) return { count, whole };
    // something has changed since, and is told later
    return { count, whole, position: Math.max(next.position, this.position) };
  }
}

function bytesIn(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { items }) => sum + items.length, 0);
}

function countIn(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { count }) => sum + count, 0);
}
