import type { ByteWriter } from '../protocol/bytes.js';
import { writeOperationById, writeOperationByName } from '../protocol/request.js';
import { type CounterList, type CounterTable, ROW_WORDS, type Selection, Word } from './counters.js';

const FIRST_CAPACITY = 64;
/** Entries for which an empty list keeps its memory. */
const MOST_KEPT = 16_384;
/** In place of a sum that is beyond 2^53 and stands in `#large`. */
const LARGE = Number.NaN;

/**
 * What was added to counters of one partition and is in no batch yet: a list of entries, each a counter and the sum of what
 * was added to it. It is a sparse set (Briggs and Torczon, "An Efficient Representation for Sparse Sets", 1993): a
 * counter's row tells the number of its entry, and is believed only where the entry tells the same row, so that rows are
 * never cleared. An entry holds all that is to be written: a row is loaded when it is added to, and not again.
 *
 * A counter whose class keeps gross sums has an entry for what increases it and another one for what decreases it.
 */
export class Sums {
  #length = 0;
  /** The number of the first entry, modulo 2^32. */
  #first: number;
  #tables: CounterTable[] = [];
  #rows = new Int32Array(FIRST_CAPACITY);
  /** The slot of the id; below 0 where the name is to be written. */
  #slots = new Int32Array(FIRST_CAPACITY);
  #generations = new Uint16Array(FIRST_CAPACITY);
  #sums = new Float64Array(FIRST_CAPACITY);
  /** By the number of the entry. */
  readonly #large = new Map<number, bigint>();
  /** Of the last entry of such a counter the other one, both by their numbers. */
  readonly #opposites = new Map<number, number>();

  constructor(first = 0) {
    this.#first = first | 0;
  }

  get length(): number {
    return this.#length;
  }

  /** Adds to the sum of a counter. False where it has no entry for that, or one whose sum would leave 64 bits. */
  merge(table: CounterTable, row: number, delta: number | bigint): boolean {
    let entry = this.#entryOf(table, row);
    if (entry >= 0 && this.#isOpposed(entry, delta) && table.keepsGross(row)) {
      entry = this.#oppositeOf(entry);
      // One of the time before its class kept them may be of either sign.
      if (entry >= 0 && this.#isOpposed(entry, delta)) return false;
    }
    if (entry < 0) return false;
    if (typeof delta === 'number') {
      const sum = (this.#sums[entry] as number) + delta;
      if (Number.isSafeInteger(sum)) {
        this.#sums[entry] = sum;
        return true;
      }
    }
    const sum = BigInt(this.#sumAt(entry)) + BigInt(delta);
    if (BigInt.asIntN(64, sum) !== sum) return false;
    this.#putLarge(entry, sum);
    return true;
  }

  /** Appends an entry; another one of the counter takes no more, unless it is its opposite. `epoch`: in which ids hold. */
  append(table: CounterTable, row: number, delta: number | bigint, epoch: number): void {
    if (this.#length === this.#rows.length) this.#resize(2 * this.#length);
    const before = table.keepsGross(row) ? this.#entryOf(table, row) : -1;
    const entry = this.#length++;
    if (before >= 0) {
      const opposite = this.#isOpposed(before, delta) ? before : this.#oppositeOf(before);
      if (opposite >= 0) this.#opposites.set(this.#numberOf(entry), this.#numberOf(opposite));
    }
    const { words } = table;
    const at = row * ROW_WORDS;
    words[at + Word.ENTRY] = this.#first + entry;
    this.#tables.push(table);
    this.#rows[entry] = row;
    this.#slots[entry] = words[at + Word.EPOCH] === epoch ? (words[at + Word.SLOT] as number) : -1;
    this.#generations[entry] = (words[at + Word.KEY] as number) >>> 16;
    if (typeof delta === 'number') this.#sums[entry] = delta;
    else this.#putLarge(entry, delta);
  }

  /** The counter's sum is to be written by its name. */
  forgetId(table: CounterTable, row: number): void {
    const entry = this.#entryOf(table, row);
    if (entry < 0) return;
    this.#slots[entry] = -1;
    const opposite = this.#oppositeOf(entry);
    if (opposite >= 0) this.#slots[opposite] = -1;
  }

  /** All sums are to be written by names. */
  forgetIds(): void {
    this.#slots.fill(-1, 0, this.#length);
  }

  /**
   * Writes sums as operations, those of the entries from `from` on, until there are as many as may be or more than
   * `mostBytes`; returns the entry after. Counters that have no id yet are added to `toOpen`, each once.
   */
  write(writer: ByteWriter, from: number, mostOperations: number, mostBytes: number, toOpen: Selection): number {
    const to = Math.min(this.#length, from + mostOperations);
    let entry = from;
    for (; entry < to && writer.length <= mostBytes; entry++) {
      const slot = this.#slots[entry] as number;
      if (slot >= 0) writeOperationById(writer, slot, this.#generations[entry] as number, this.#sumAt(entry));
      else this.#writeByName(writer, entry, toOpen);
    }
    return entry;
  }

  /** The counters of the entries from `from` up to `to`. */
  counters(from: number, to: number): CounterList {
    return { tables: this.#tables.slice(from, to), rows: this.#rows.slice(from, to) };
  }

  /** Takes the first entries off the list. */
  removeFirst(count: number): void {
    for (const map of [this.#large, this.#opposites]) {
      for (let entry = 0; map.size > 0 && entry < count; entry++) map.delete(this.#numberOf(entry));
    }
    this.#first = (this.#first + count) | 0;
    this.#length -= count;
    this.#tables = this.#tables.slice(count);
    if (this.#length === 0) {
      if (this.#rows.length > MOST_KEPT) this.#resize(FIRST_CAPACITY);
      return;
    }
    for (const array of [this.#rows, this.#slots, this.#generations, this.#sums]) array.copyWithin(0, count);
  }

  /** Where the counter stands on the list, or -1. */
  #entryOf(table: CounterTable, row: number): number {
    const entry = ((table.words[row * ROW_WORDS + Word.ENTRY] as number) - this.#first) >>> 0;
    return entry < this.#length && this.#rows[entry] === row && this.#tables[entry] === table ? entry : -1;
  }

  #numberOf(entry: number): number {
    return (this.#first + entry) | 0;
  }

  /** The entry of the same counter for steps of the other sign, or -1. */
  #oppositeOf(entry: number): number {
    const number = this.#opposites.get(this.#numberOf(entry));
    const opposite = number === undefined ? -1 : (number - this.#first) >>> 0;
    return opposite < this.#length ? opposite : -1;
  }

  /** Whether an entry is of increases and the delta a decrease, or the other way round. */
  #isOpposed(entry: number, delta: number | bigint): boolean {
    const sum = this.#sumAt(entry);
    return sum < 0 ? delta > 0 : sum > 0 && delta < 0;
  }

  #writeByName(writer: ByteWriter, entry: number, toOpen: Selection): void {
    const table = this.#tables[entry] as CounterTable;
    const row = this.#rows[entry] as number;
    writeOperationByName(writer, table.names[row] as string, this.#sumAt(entry));
    if (table.startOpening(row)) toOpen.add(table, row);
  }

  #sumAt(entry: number): number | bigint {
    const sum = this.#sums[entry] as number;
    return Number.isNaN(sum) ? (this.#large.get(this.#numberOf(entry)) as bigint) : sum;
  }

  #putLarge(entry: number, sum: bigint): void {
    this.#sums[entry] = LARGE;
    this.#large.set(this.#numberOf(entry), sum);
  }

  #resize(capacity: number): void {
    const used = this.#length;
    const resized = <A extends Int32Array | Uint16Array | Float64Array>(array: A, empty: A): A => {
      empty.set(array.subarray(0, used));
      return empty;
    };
    this.#rows = resized(this.#rows, new Int32Array(capacity));
    this.#slots = resized(this.#slots, new Int32Array(capacity));
    this.#generations = resized(this.#generations, new Uint16Array(capacity));
    this.#sums = resized(this.#sums, new Float64Array(capacity));
  }
}
