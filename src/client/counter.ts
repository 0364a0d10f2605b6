import type { CounterTable } from './counters.js';

/** A counter that is added to without waiting. */
export interface Counter {
  readonly name: string;
  /**
   * Adds to the counter's sum, which goes out with the next batch. `delta` is 1 unless given.
   *
   * Returns false where `await client.drain()` is due before more is added. Throws INVALID_ARGUMENT for a number that
   * is no safe integer or beyond 64 bits, CLOSED on a closed client. What fails later, `client.flush()` reports.
   */
  add(delta?: number | bigint): boolean;
}

/** One row of a table. */
export class CounterHandle implements Counter {
  readonly #table: CounterTable;
  readonly #row: number;

  constructor(table: CounterTable, row: number) {
    this.#table = table;
    this.#row = row;
  }

  get name(): string {
    return this.#table.names[this.#row] as string;
  }

  add(delta: number | bigint = 1): boolean {
    return this.#table.addTo(this.#row, delta);
  }
}
