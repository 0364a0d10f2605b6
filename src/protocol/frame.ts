/**
 * Frames: cutting a stream into them, and building them.
 *
 *  0        4        5       6           8            12
 *  +--------+--------+-------+-----------+------------+-------- - -
 *  | length | opcode | flags | partition | request id | body
 *  |  u32   |   u8   |  u8   |    u16    |    u32     |
 *  +--------+--------+-------+-----------+------------+-------- - -
 */

import { TallystickError } from '../errors.js';
import { ByteWriter, readU32 } from './bytes.js';
import { DEFAULT_LIMITS, HEADER_BYTES, LENGTH_OF_EMPTY_FRAME } from './opcode.js';

const LENGTH_BYTES = 4;
const SMALLEST_BUFFER = 256;
/** A longer buffer is given back after its frame, so that an idle connection holds little. */
const LARGEST_KEPT_BUFFER = 65_536;
const EMPTY: Uint8Array = new Uint8Array(0);
/** What a stock keeps at most: as much as sixteen connections need that all send frames of half the largest size. */
const MOST_IN_STOCK = 8_388_608;

/**
 * Arrays for long frames that come in parts: a stock for all readers of a thread. What lies outside of the engine's heap makes it collect: where each long
 * frame took a new array, a lane that read 500 frames of 320 KB a second marked its heap ten times a second, which was a fifth of its CPU time.
 */
export class FrameStock {
  /** By the power of two that their size is. */
  readonly #kept: Uint8Array[][] = [];
  #bytes = 0;

  /** An array of at least `needed` bytes: one of `wanted` if it need not be made, but a length that somebody states never sizes a new one. */
  take(needed: number, wanted: number): Uint8Array {
    const least = powerOf(needed);
    const kept = this.#pop(least, powerOf(Math.max(needed, wanted)));
    if (!kept) return new Uint8Array(2 ** least);
    this.#bytes -= kept.length;
    return kept;
  }

  /** Of those that will do the next larger one to what is wanted, else the next smaller one. */
  #pop(least: number, wanted: number): Uint8Array | undefined {
    const sizes = this.#kept.length;
    for (let power = wanted; power < sizes; power++) {
      const kept = this.#kept[power]?.pop();
      if (kept) return kept;
    }
    for (let power = Math.min(wanted, sizes) - 1; power >= least; power--) {
      const kept = this.#kept[power]?.pop();
      if (kept) return kept;
    }
    return undefined;
  }

  /** An array of take() that is not used any more. */
  give(array: Uint8Array): void {
    if (this.#bytes + array.length > MOST_IN_STOCK) return;
    const power = powerOf(array.length);
    while (this.#kept.length <= power) this.#kept.push([]);
    this.#kept[power]?.push(array);
    this.#bytes += array.length;
  }

  /** Forgets what it keeps. */
  clear(): void {
    this.#kept.length = 0;
    this.#bytes = 0;
  }
}

function powerOf(bytes: number): number {
  return 32 - Math.clz32(bytes - 1);
}

/** The stream can't be cut into frames any more: FRAME_TOO_LARGE, or BAD_REQUEST for a length less than its header. */
export class FramingError extends TallystickError {}

/** One frame. The object and its body are reused: valid only during the callback that gets it. */
export interface FrameView {
  readonly opcode: number;
  readonly flags: number;
  readonly partition: number;
  readonly requestId: number;
  readonly body: Uint8Array;
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  /** The most that `length` may say. Setting it concerns the frames whose length has not been looked at. */
  limit: number;

  readonly #frame = { opcode: 0, flags: 0, partition: 0, requestId: 0, body: EMPTY };
  // The start of a frame whose end has not come. Grows with the bytes that came, never by what a length says.
  #partial = EMPTY;
  #partialLength = 0;
  readonly #stock: FrameStock;
  #stopped = false;

  constructor(limit: number = DEFAULT_LIMITS.frame, stock = new FrameStock()) {
    this.limit = limit;
    this.#stock = stock;
  }

  /** Whether the start of a frame is kept. */
  get hasPartial(): boolean {
    return this.#partialLength > 0;
  }

  /** Within `onFrame`: makes `push` return after this frame. */
  stop(): void {
    this.#stopped = true;
  }

  /**
   * Calls back for each whole frame and keeps the start of the last one; returns how many bytes of the chunk it took,
   * which is all of them except after `stop`. `onFrame` must not push; what
   * it throws goes through, and the rest of the chunk is lost.
   *
   * Throws a FramingError for a length outside its limits: push no more then.
   */
  push(chunk: Uint8Array, onFrame: (frame: FrameView) => void): number {
    this.#stopped = false;
    let offset = this.#partialLength > 0 ? this.#completePartial(chunk, onFrame) : 0;
    while (!this.#stopped && chunk.length - offset >= LENGTH_BYTES) {
      const size = this.#frameSize(chunk, offset);
      if (chunk.length - offset < size) break;
      this.#emit(chunk, offset, size, onFrame);
      offset += size;
    }
    if (this.#stopped) return offset;
    this.#keep(chunk, offset, chunk.length);
    return chunk.length;
  }

  /** Adds to the kept start of a frame what belongs to it, and returns how many bytes that was. */
  #completePartial(chunk: Uint8Array, onFrame: (frame: FrameView) => void): number {
    const lengthEnd = Math.min(chunk.length, Math.max(0, LENGTH_BYTES - this.#partialLength));
    this.#keep(chunk, 0, lengthEnd);
    if (this.#partialLength < LENGTH_BYTES) return lengthEnd;
    const size = this.#frameSize(this.#partial, 0);
    const end = Math.min(chunk.length, lengthEnd + size - this.#partialLength);
    this.#keep(chunk, lengthEnd, end);
    if (this.#partialLength < size) return end;

    const whole = this.#partial;
    this.#partialLength = 0;
    const isKept = whole.length <= LARGEST_KEPT_BUFFER;
    if (!isKept) this.#partial = EMPTY;
    this.#emit(whole, 0, size, onFrame);
    if (!isKept) this.#stock.give(whole);
    return end;
  }

  #frameSize(bytes: Uint8Array, offset: number): number {
    const length = readU32(bytes, offset);
    if (length > this.limit) {
      throw new FramingError('FRAME_TOO_LARGE', `The frame has ${length} bytes, the limit is ${this.limit}.`);
    }
    if (length < LENGTH_OF_EMPTY_FRAME) {
      throw new FramingError('BAD_REQUEST', `The length of a frame is ${length}, less than its header.`);
    }
    return LENGTH_BYTES + length;
  }

  #emit(bytes: Uint8Array, offset: number, size: number, onFrame: (frame: FrameView) => void): void {
    const frame = this.#frame;
    frame.opcode = bytes[offset + 4] as number;
    frame.flags = bytes[offset + 5] as number;
    frame.partition = (bytes[offset + 6] as number) | ((bytes[offset + 7] as number) << 8);
    frame.requestId = readU32(bytes, offset + 8);
    frame.body = bytes.subarray(offset + HEADER_BYTES, offset + size);
    onFrame(frame);
    frame.body = EMPTY;
  }

  #keep(chunk: Uint8Array, start: number, end: number): void {
    if (start >= end) return;
    const needed = this.#partialLength + end - start;
    if (needed > this.#partial.length) {
      const before = this.#partial;
      const wanted =
        this.#partialLength > 0 ? sizeOfBegun(before, 0, this.#partialLength) : sizeOfBegun(chunk, start, end);
      this.#partial = this.#stock.take(Math.max(needed, 2 * before.length, SMALLEST_BUFFER), wanted);
      this.#partial.set(before.subarray(0, this.#partialLength));
      if (before.length > LARGEST_KEPT_BUFFER) this.#stock.give(before);
    }
    this.#partial.set(chunk.subarray(start, end), this.#partialLength);
    this.#partialLength = needed;
  }
}

/** What a frame that has begun will have; 0 as long as its length has not come whole. */
function sizeOfBegun(bytes: Uint8Array, start: number, end: number): number {
  return end - start < LENGTH_BYTES ? 0 : LENGTH_BYTES + readU32(bytes, start);
}

/** Writes a header with room for the length; returns where the frame starts, for `finishFrame`. */
export function writeHeader(
  writer: ByteWriter,
  opcode: number,
  flags: number,
  partition: number,
  requestId: number,
): number {
  const start = writer.length;
  writer.u32(0);
  writer.u8(opcode);
  writer.u8(flags);
  writer.u16(partition);
  writer.u32(requestId);
  return start;
}

/** Fills in the length of the frame that starts at `start` and ends where the writer is. */
export function finishFrame(writer: ByteWriter, start: number): void {
  writer.patchU32(start, writer.length - start - LENGTH_BYTES);
}

/** A whole frame in an array of its own. */
export function encodeFrame(
  opcode: number,
  flags: number,
  partition: number,
  requestId: number,
  body: Uint8Array,
): Uint8Array {
  const writer = new ByteWriter(HEADER_BYTES + body.length);
  const start = writeHeader(writer, opcode, flags, partition, requestId);
  writer.bytes(body);
  finishFrame(writer, start);
  return writer.view();
}
