import { ByteReader } from '../protocol/bytes.js';
import type { Then } from './hindsight.js';

/** Counters that are read in one step, which takes about as long as one of a snapshot. */
const READ_IN_A_STEP = 1_024;

/** The counters below a prefix as they were at a position that is past: those whose reader has not been told what they are now. */
export class ThenBelow {
  readonly #reader: ByteReader;
  /** So many are still to be read. */
  #unread: number;
  readonly #values = new Map<string, bigint>();

  constructor({ count, items }: Extract<Then, { kind: 'prefix' }>) {
    this.#reader = new ByteReader(items);
    this.#unread = count;
  }

  get size(): number {
    return this.#values.size + this.#unread;
  }

  /** Reads some more; whether there were any. Nothing is to be taken before all are read. */
  read(): boolean {
    if (this.#unread === 0) return false;
    const count = Math.min(READ_IN_A_STEP, this.#unread);
    this.#unread -= count;
    for (let i = 0; i < count; i++) {
      const name = this.#reader.name(this.#reader.varint());
      this.#values.set(name, this.#reader.zigzagBig());
    }
    return true;
  }

  /** What a counter was, which from now on its reader knows better; undefined where it was not there. */
  take(name: string): bigint | undefined {
    const value = this.#values.get(name);
    if (value !== undefined) this.#values.delete(name);
    return value;
  }

  /** Those that have not been taken. */
  left(): Iterable<readonly [string, bigint]> {
    return this.#values;
  }
}
