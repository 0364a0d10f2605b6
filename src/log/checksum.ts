import { compileWasm } from '../wasm.js';

const PAGE_BYTES = 65_536;
/** The module keeps its tables in the first page (src/kernel/checksum.ts). */
const BYTES_AT = PAGE_BYTES;

interface ChecksumModule extends WebAssembly.Exports {
  initialize(): void;
  crc32c(pointer: number, length: number, seed: number): number;
  xxh64(pointer: number, length: number, seed: bigint): bigint;
}

const compiled = compileWasm('checksum');

/**
 * A buffer of fixed length whose bytes are checksummed where they lie: it is the memory of a WebAssembly instance. The
 * memory never grows, so its views stay valid, and it is not shared, so that LMDB accepts views of it.
 */
export class ChecksummedBuffer {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
  readonly #module: ChecksumModule;

  constructor(length: number) {
    const pages = BYTES_AT / PAGE_BYTES + Math.ceil(length / PAGE_BYTES);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.bytes = new Uint8Array(memory.buffer, BYTES_AT, length);
    this.view = new DataView(memory.buffer, BYTES_AT, length);
    this.#module = new WebAssembly.Instance(compiled, { env: { memory } }).exports as ChecksumModule;
    this.#module.initialize();
  }

  /** CRC32C (RFC 3720) of bytes of this buffer, as an unsigned 32-bit number. */
  crc32c(offset: number, length: number): number {
    this.#check(offset, length);
    return this.#module.crc32c(BYTES_AT + offset, length, 0) >>> 0;
  }

  /** XXH64 with seed 0 of bytes of this buffer, as an unsigned 64-bit number. */
  xxh64(offset: number, length: number): bigint {
    this.#check(offset, length);
    return BigInt.asUintN(64, this.#module.xxh64(BYTES_AT + offset, length, 0n));
  }

  #check(offset: number, length: number): void {
    if (offset < 0 || length < 0 || offset + length > this.bytes.length) {
      throw new RangeError(`${length} bytes at ${offset} of a buffer of ${this.bytes.length}.`);
    }
  }
}
