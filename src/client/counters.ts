import { TallystickError } from '../errors.js';
import type { GrossRule } from '../protocol/control.js';
import { matchesPattern } from '../protocol/pattern.js';
import type { Additions } from './additions.js';
import type { Batcher } from './batcher.js';

/**
 * Counters that are added to by their index, without waiting and without an object for each: 16 bytes beside the name, so
 * that there may be millions.
 */
export interface Counters {
  /** In the order of their indexes, for good. */
  readonly names: readonly string[];
  /**
   * Adds to the sum of the counter at `index`, which goes out with the next batch. `delta` is 1 unless given.
   *
   * Returns false where `await client.drain()` is due before more is added. Throws INVALID_ARGUMENT for an index that
   * is none and for a number that is no safe integer or beyond 64 bits, CLOSED on a closed client. What fails later,
   * `client.flush()` reports.
   */
  add(index: number, delta?: number | bigint): boolean;
}

/** Counters in an order, each a row of a table. */
export interface CounterList {
  readonly tables: readonly CounterTable[];
  readonly rows: Int32Array | readonly number[];
}

/** A list in the making. */
export class Selection implements CounterList {
  readonly tables: CounterTable[] = [];
  readonly rows: number[] = [];

  add(table: CounterTable, row: number): void {
    this.tables.push(table);
    this.rows.push(row);
  }
}

/** 32-bit words of a row. */
export const ROW_WORDS = 4;
/** The words of a row. KEY holds the generation in its upper half and the partition in its lower one. */
export const Word = { SLOT: 0, KEY: 1, EPOCH: 2, ENTRY: 3 } as const;

// In place of a slot
const NO_ID = -1;
const OPENING = -2;
/** The largest that a row holds. */
const MOST_SLOT = 0x7fff_ffff;
const MOST_GENERATION = 0xffff;

/** A signed 64-bit number. Throws INVALID_ARGUMENT for what is none, or a number that is no safe integer. */
export function toInt64(value: number | bigint): bigint {
  const isExact = typeof value === 'bigint' ? BigInt.asIntN(64, value) === value : Number.isSafeInteger(value);
  if (!isExact) throw new TallystickError('INVALID_ARGUMENT', `${value} is no safe integer of 64 bits.`);
  return BigInt(value);
}

/** The same, as a number where that is safe. */
export function exactDelta(value: number | bigint): number | bigint {
  const exact = toInt64(value);
  const number = Number(exact);
  return Number.isSafeInteger(number) ? number : exact;
}

/** What tables of a client share. */
export interface TableContext {
  readonly additions: Additions;
  /** By partition. */
  readonly batchers: readonly Batcher[];
  /** Which names have their increases and decreases told apart; another list where that changed. */
  readonly grossRules: readonly GrossRule[] | undefined;
}

/** What is known of a row's class. */
const Gross = { UNKNOWN: 0, NO: 1, YES: 2 } as const;

/**
 * What the client knows of each counter, in one array, because an addition to one of millions costs as much as it misses
 * the caches: it loads one row and nothing else of its own.
 *
 *   | i32 slot or < 0 | u16 partition, u16 generation | u32 epoch | u32 entry |
 *
 * The id, slot and generation, holds in that epoch. `entry` is where in the partition's list of sums the counter stands,
 * if it does: the list knows (`sums.ts`).
 */
export class CounterTable implements Counters {
  readonly names: string[] = [];
  readonly words: Int32Array;
  readonly #context: TableContext;
  #rules: readonly GrossRule[] | undefined;
  /** By row, under these rules. */
  #gross = new Uint8Array(0);

  constructor(capacity: number, context: TableContext) {
    this.words = new Int32Array(capacity * ROW_WORDS);
    this.#context = context;
  }

  get capacity(): number {
    return this.words.length / ROW_WORDS;
  }

  get hasRoom(): boolean {
    return this.names.length < this.capacity;
  }

  /** Appends a counter to a table that has room, and returns its row. */
  append(name: string, partition: number): number {
    const row = this.names.push(name) - 1;
    this.words[row * ROW_WORDS + Word.SLOT] = NO_ID;
    this.words[row * ROW_WORDS + Word.KEY] = partition;
    return row;
  }

  add(index: number, delta: number | bigint = 1): boolean {
    if (index >>> 0 !== index || index >= this.names.length) {
      throw new TallystickError('INVALID_ARGUMENT', `There is no counter ${index} of ${this.names.length}.`);
    }
    return this.addTo(index, delta);
  }

  /** The same without a look at whether there is such a row. */
  addTo(row: number, delta: number | bigint): boolean {
    return this.#context.additions.add(this, row, delta);
  }

  /** Whether its class keeps gross sums, so that what increases it and what decreases it are not summed. */
  keepsGross(row: number): boolean {
    const { grossRules } = this.#context;
    if (!grossRules) return false;
    if (this.#rules !== grossRules) {
      this.#rules = grossRules;
      this.#gross = new Uint8Array(this.capacity);
    }
    if (this.#gross[row] === Gross.UNKNOWN) {
      const name = this.names[row] as string;
      const rule = grossRules.find(({ pattern }) => matchesPattern(pattern, name));
      this.#gross[row] = rule?.gross ? Gross.YES : Gross.NO;
    }
    return this.#gross[row] === Gross.YES;
  }

  /** Whether it has no id, and none was asked for; it is taken for asked then. */
  startOpening(row: number): boolean {
    const { words } = this;
    const at = row * ROW_WORDS;
    const slot = words[at + Word.SLOT] as number;
    if (slot === OPENING || (slot >= 0 && words[at + Word.EPOCH] === this.#batcherOf(row).epoch)) return false;
    words[at + Word.SLOT] = OPENING;
    return true;
  }

  opened(row: number, slot: number, generation: number): void {
    const { words } = this;
    // it goes on by its name, as if there were no answer
    if (slot > MOST_SLOT || generation > MOST_GENERATION) return;
    const at = row * ROW_WORDS;
    words[at + Word.SLOT] = slot;
    words[at + Word.KEY] = (generation << 16) | ((words[at + Word.KEY] as number) & 0xffff);
    words[at + Word.EPOCH] = this.#batcherOf(row).epoch;
  }

  forgetId(row: number): void {
    this.words[row * ROW_WORDS + Word.SLOT] = NO_ID;
    this.#batcherOf(row).forgetId(this, row);
  }

  /** Adds again what a batch carried by an id that the server does not know. */
  giveBack(row: number, delta: bigint): void {
    this.forgetId(row);
    this.#batcherOf(row).takeBack(this, row, delta);
  }

  #batcherOf(row: number): Batcher {
    return this.#context.batchers[(this.words[row * ROW_WORDS + Word.KEY] as number) & 0xffff] as Batcher;
  }
}
