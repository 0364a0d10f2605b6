import { ByteReader } from '../protocol/bytes.js';

/** What a body touched, of the bytes that are drawn in src/kernel/touched.ts: a view of kernel memory. */

const ENTRY_BYTES = 16;
const NAME_BYTES = 4;
const EXISTED = 6;
const GONE = 7;
const BEFORE = 8;

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
    const slot = this.#view.getUint32(this.#at(index), true);
    return slot === 0 ? undefined : slot - 1;
  }

  /** The value before the body; undefined where it did not exist. */
  before(index: number): bigint | undefined {
    const at = this.#at(index);
    return this.#view.getUint8(at + EXISTED) === 0 ? undefined : this.#view.getBigInt64(at + BEFORE, true);
  }

  existed(index: number): boolean {
    return this.#view.getUint8(this.#at(index) + EXISTED) !== 0;
  }

  /** The name of a counter that is gone; undefined where it is not. To be asked of each entry once, in their order. */
  gone(index: number): string | undefined {
    const at = this.#at(index);
    if (this.#view.getUint8(at + GONE) === 0) return undefined;
    const length = this.#view.getUint16(at + NAME_BYTES, true);
    const name = new ByteReader(this.#names, this.#nextName).name(length);
    this.#nextName += length;
    return name;
  }

  #at(index: number): number {
    return this.#address + index * ENTRY_BYTES;
  }
}
