import { ByteReader } from '../protocol/bytes.js';

/** What bodies touch, of the bytes that are drawn in src/kernel/touched.ts: views of kernel memory. */

const ENTRY_BYTES = 16;
/** The second word of an entry: bytes of a name, whether it existed, whether it is gone. */
const SECOND = 4;
const NAME_BYTES = 0xffff;
const EXISTED = 0xff_0000;
const GONE = 0xff00_0000;
const BEFORE = 8;

/** How a partition is watched: not at all, by marks, or with entries for what is marked too. */
export const Watch = { NOT: 0, MARKS: 1, ENTRIES: 2 } as const;

/** The entries of a body. */
export class Touched {
  readonly count: number;
  readonly #view: DataView;
  readonly #address: number;
  readonly #names: Uint8Array;
  readonly #goneBytes: number;
  #nextName = 0;

  constructor(view: DataView, address: number, count: number, names: Uint8Array, goneBytes: number) {
    this.#view = view;
    this.#address = address;
    this.count = count;
    this.#names = names;
    this.#goneBytes = goneBytes;
  }

  /** Whether more names went than could be told. */
  get isCutOff(): boolean {
    return this.#goneBytes > this.#names.length;
  }

  /** Undefined where the operation has no counter. */
  slot(index: number): number | undefined {
    const slot = this.#view.getUint32(this.#address + index * ENTRY_BYTES, true);
    return slot === 0 ? undefined : slot - 1;
  }

  /** The value before the body; undefined where it did not exist. */
  before(index: number): bigint | undefined {
    if (!this.existed(index)) return undefined;
    return this.#view.getBigInt64(this.#address + index * ENTRY_BYTES + BEFORE, true);
  }

  existed(index: number): boolean {
    return (this.#second(index) & EXISTED) !== 0;
  }

  /** The name of a counter that is gone; undefined where it is not. To be asked of each entry once, in their order. */
  gone(index: number): string | undefined {
    const word = this.#second(index);
    if ((word & GONE) === 0) return undefined;
    const length = word & NAME_BYTES;
    const name = new ByteReader(this.#names, this.#nextName).name(length);
    this.#nextName += length;
    return name;
  }

  #second(index: number): number {
    return this.#view.getUint32(this.#address + index * ENTRY_BYTES + SECOND, true);
  }
}
