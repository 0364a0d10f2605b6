import { TallystickError } from '../errors.js';
import type { Backlog } from './backlog.js';
import type { Batcher } from './batcher.js';
import { type CounterTable, exactDelta, ROW_WORDS, Word } from './counters.js';

/** Additions that are taken to their lists together. */
const STAGE = 64;

/** What the additions of a client need of it. */
export interface AdditionsContext {
  readonly backlog: Backlog;
  readonly isClosed: boolean;
  /** By partition. */
  readonly batchers: readonly Batcher[];
  /** Makes `deliver` be called at the end of the turn. */
  scheduleDelivery(): void;
}

/**
 * The additions made last. They are taken to the lists of their partitions many at a time and in two loops, the first of
 * which only loads rows: each is a miss of the cache and of the TLB among a million, and in a loop as short as that the
 * misses overlap. It halves what an addition costs.
 */
export class Additions {
  readonly #context: AdditionsContext;
  #length = 0;
  #tables: CounterTable[] = [];
  readonly #rows = new Int32Array(STAGE);
  readonly #deltas = new Float64Array(STAGE);
  /** Means nothing; keeps what is loaded from being optimised away. */
  touched = 0;

  constructor(context: AdditionsContext) {
    this.#context = context;
  }

  /** Adds to a counter; false where more should wait. Throws INVALID_ARGUMENT, CLOSED. */
  add(table: CounterTable, row: number, delta: number | bigint): boolean {
    const { isClosed, backlog } = this.#context;
    if (isClosed) throw new TallystickError('CLOSED');
    const step = typeof delta === 'number' && Number.isSafeInteger(delta) ? delta : exactDelta(delta);
    if (typeof step === 'number') {
      this.#put(table, row, step);
    } else {
      this.deliver();
      this.#batcherOf(table, row).add(table, row, step);
    }
    return backlog.hasRoom;
  }

  /** Takes all to their lists. */
  deliver(): void {
    const length = this.#length;
    const tables = this.#tables;
    const rows = this.#rows;
    const deltas = this.#deltas;
    let sum = 0;
    for (let i = 0; i < length; i++)
      sum += (tables[i] as CounterTable).words[(rows[i] as number) * ROW_WORDS] as number;
    this.touched = sum;
    for (let i = 0; i < length; i++) {
      const table = tables[i] as CounterTable;
      const row = rows[i] as number;
      this.#batcherOf(table, row).add(table, row, deltas[i] as number);
    }
    this.#length = 0;
  }

  /** The same, and lets go of the tables. */
  endTurn(): void {
    this.deliver();
    this.#tables = [];
  }

  #put(table: CounterTable, row: number, delta: number): void {
    const at = this.#length;
    if (at === 0) this.#context.scheduleDelivery();
    this.#tables[at] = table;
    this.#rows[at] = row;
    this.#deltas[at] = delta;
    this.#length = at + 1;
    if (at + 1 === STAGE) this.deliver();
  }

  #batcherOf(table: CounterTable, row: number): Batcher {
    const key = table.words[row * ROW_WORDS + Word.KEY] as number;
    return this.#context.batchers[key & 0xffff] as Batcher;
  }
}
