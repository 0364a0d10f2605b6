import { copyBytes } from '../copy.js';

/**
 * A ring of bytes in shared memory, from one thread to one other (L. Lamport, "Proving the Correctness of Multiprocess
 * Programs", 1977). It knows no thread and no event loop: who sleeps is woken by the caller, whom the ring tells when.
 *
 *   0        64       128      192       256
 *   +--------+--------+--------+---------+------------------------------ - -
 *   | WRITTEN| READ   | ASLEEP | WAITING | capacity bytes, a power of two
 *   | u32    | u32    | 0 or 1 | 0 or 1  |
 *   +--------+--------+--------+---------+------------------------------ - -
 *
 * | word    | meaning                                  | set by       | who reads it, and what for                       |
 * |---------|------------------------------------------|--------------|--------------------------------------------------|
 * | WRITTEN | bytes written since the start, mod 2^32  | writer alone | reader: how far it may read                      |
 * | READ    | bytes read since the start, mod 2^32     | reader alone | writer: how far it may overwrite                 |
 * | ASLEEP  | the reader has gone to sleep             | reader       | writer: takes it back to 0 and wakes the reader  |
 * | WAITING | the writer found no room and went away   | writer       | reader: takes it back to 0 and wakes the writer  |
 *
 * Each word has a cache line of its own. The counts never wrap by the capacity, so full (WRITTEN - READ = capacity) and empty
 * (WRITTEN = READ) differ. Byte n stands at n mod capacity.
 *
 * **Bytes.** They are plain memory. Whoever hands them over stores a count after it has touched them, and whoever takes them
 * over loads that count before it touches them; a load that reads a store of Atomics comes after all that was before the
 * store (ECMA-262, "Memory Model": synchronizes-with). So the reader sees whole bytes, and the writer overwrites none that
 * is still to be copied.
 *
 * **Sleep.** No wake-up is lost, because each side first stores its own word and then loads that of the other:
 *
 *     writer: WRITTEN = n     reader: ASLEEP = 1
 *             ASLEEP ?                WRITTEN ?
 *
 * All Atomics stand in one order that every thread sees (sequential consistency). Of the two stores one is first in it, and
 * the load that follows the other one then sees it: the writer sees ASLEEP and wakes, or the reader sees the bytes and stays
 * awake, or both, which costs a needless wake-up. With plain stores both could miss the other: a processor's store waits in
 * its buffer while the load passes it (J. Dekker's algorithm fails in the same way). WAITING and READ are the mirror of it.
 */

const HEADER_BYTES = 256;
const WORD_STRIDE = 16;
const WRITTEN = 0;
const READ = WORD_STRIDE;
const ASLEEP = 2 * WORD_STRIDE;
const WAITING = 3 * WORD_STRIDE;

/** The memory of a ring. Pages that no byte has reached yet cost nothing. @param capacity bytes, a power of two */
export function createRing(capacity: number): SharedArrayBuffer {
  return new SharedArrayBuffer(HEADER_BYTES + capacity);
}

/** The writing end. There is one for each ring. */
export class RingWriter {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  /** WRITTEN, which nobody else changes, and READ as it was when it was last looked at. */
  #written: number;
  #read: number;

  constructor(ring: SharedArrayBuffer) {
    this.#words = new Int32Array(ring, 0, HEADER_BYTES / 4);
    this.#bytes = new Uint8Array(ring, HEADER_BYTES);
    this.#written = Atomics.load(this.#words, WRITTEN);
    this.#read = Atomics.load(this.#words, READ);
  }

  /** Copies into the ring what has room, from the first byte on; returns how many bytes that were. */
  write(bytes: Uint8Array): number {
    const capacity = this.#bytes.length;
    // Loaded before the bytes are overwritten: the reader stored it after it had copied what stood there.
    if (this.#free < bytes.length) this.#read = Atomics.load(this.#words, READ);
    const count = Math.min(this.#free, bytes.length);
    if (count === 0) return 0;
    const start = (this.#written >>> 0) % capacity;
    const atEnd = Math.min(count, capacity - start);
    copyBytes(this.#bytes, bytes.subarray(0, atEnd), start);
    copyBytes(this.#bytes, bytes.subarray(atEnd, count), 0);
    this.#written = (this.#written + count) | 0;
    // Stored after the bytes: the reader, which waits for nothing, takes every byte before it for whole.
    Atomics.store(this.#words, WRITTEN, this.#written);
    return count;
  }

  /**
   * After a write: whether the reader must be woken. It set ASLEEP before it looked at WRITTEN for the last time, we load
   * it after we stored WRITTEN. Taking it back sees to it that one sleep is ended once.
   */
  wakesReader(): boolean {
    return Atomics.load(this.#words, ASLEEP) === 1 && Atomics.exchange(this.#words, ASLEEP, 0) === 1;
  }

  /**
   * After a write that had no room: whether to go away until the reader wakes us. WAITING is stored before READ is loaded
   * for the last time: a reader that makes room later than that sees it.
   */
  waits(): boolean {
    Atomics.store(this.#words, WAITING, 1);
    this.#read = Atomics.load(this.#words, READ);
    if (this.#free === 0) return true;
    // Our own wish, taken back. If the reader was faster we are woken for nothing.
    Atomics.store(this.#words, WAITING, 0);
    return false;
  }

  /** Bytes that the reader has not taken; by the time they are told it may have taken more. */
  usedBytes(): number {
    return (this.#written - Atomics.load(this.#words, READ)) >>> 0;
  }

  get #free(): number {
    return this.#bytes.length - ((this.#written - this.#read) >>> 0);
  }
}

/** The reading end. There is one for each ring. */
export class RingReader {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  /** READ, which nobody else changes. */
  #read: number;

  constructor(ring: SharedArrayBuffer) {
    this.#words = new Int32Array(ring, 0, HEADER_BYTES / 4);
    this.#bytes = new Uint8Array(ring, HEADER_BYTES);
    this.#read = Atomics.load(this.#words, READ);
  }

  get capacity(): number {
    return this.#bytes.length;
  }

  /** Copies out of the ring what is there and fits; returns how many bytes that were. */
  read(into: Uint8Array): number {
    const capacity = this.#bytes.length;
    // Loaded before the bytes: the writer stored it after them.
    const written = Atomics.load(this.#words, WRITTEN);
    const count = Math.min((written - this.#read) >>> 0, into.length);
    if (count === 0) return 0;
    const start = (this.#read >>> 0) % capacity;
    const atEnd = Math.min(count, capacity - start);
    copyBytes(into, this.#bytes.subarray(start, start + atEnd), 0);
    copyBytes(into, this.#bytes.subarray(0, count - atEnd), atEnd);
    this.#read = (this.#read + count) | 0;
    // Stored after the bytes were copied: from here on the writer may overwrite them.
    Atomics.store(this.#words, READ, this.#read);
    return count;
  }

  /** After a read: whether the writer waits for room and must be woken. The mirror of `wakesReader`. */
  wakesWriter(): boolean {
    return Atomics.load(this.#words, WAITING) === 1 && Atomics.exchange(this.#words, WAITING, 0) === 1;
  }

  /**
   * Whether the reader may sleep: the ring is empty, and who writes next will wake it. ASLEEP is stored before WRITTEN is
   * loaded for the last time: a writer that writes later than that sees it.
   */
  sleeps(): boolean {
    Atomics.store(this.#words, ASLEEP, 1);
    if (Atomics.load(this.#words, WRITTEN) === this.#read) return true;
    this.wakes();
    return false;
  }

  /** The reader is awake, by whatever woke it: it need not be woken. A writer that was faster wakes it for nothing. */
  wakes(): void {
    Atomics.store(this.#words, ASLEEP, 0);
  }
}
