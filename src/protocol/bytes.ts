/** The numbers and names of protocol.md, written and read. Little-endian, bounds-checked, no Node. */

import { type ErrorCode, TallystickError } from '../errors.js';

const ENCODER = new TextEncoder();
// ignoreBOM: a leading U+FEFF belongs to the name, else two names would read as one
const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const MAX_VARINT_BYTES = 10;
const TWO_TO_49 = 2 ** 49;
const EMPTY = new Uint8Array(0);

/** Bytes up to which a loop copies faster than `set` of a new view. */
const COPY_BY_LOOP = 48;

/** The length of a string in UTF-8, or -1 where it holds half a surrogate pair and so has no UTF-8. */
export function utf8Length(text: string): number {
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    length += unit < 0x800 ? 1 : 2;
    if ((unit & 0xf800) !== 0xd800) continue;
    // a pair is four bytes: two for the unit that `length` counted and two more
    const isPair = unit < 0xdc00 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00;
    if (!isPair) return -1;
    i++;
  }
  return length;
}

/** The length of a string in UTF-8. Throws NAME_INVALID where it holds half a surrogate pair. */
export function requireUtf8(text: string): number {
  const length = utf8Length(text);
  if (length < 0) throw new TallystickError('NAME_INVALID', 'The string holds half a surrogate pair.');
  return length;
}

/** The bytes of a string in UTF-8. Throws NAME_INVALID where it holds half a surrogate pair. */
export function encodeUtf8(text: string): Uint8Array {
  requireUtf8(text);
  return ENCODER.encode(text);
}

function decodeUtf8(bytes: Uint8Array, code: ErrorCode): string {
  try {
    return DECODER.decode(bytes);
  } catch (cause) {
    throw new TallystickError(code, 'The bytes are not UTF-8.', { cause });
  }
}

/** Writes into one growing array. `view` shows it without a copy until the next write or `reset`. */
export class ByteWriter {
  #bytes: Uint8Array;
  #length = 0;
  #view: Uint8Array | undefined;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  /** The whole array behind the writer, longer than `length`; another one after it grew. */
  get buffer(): Uint8Array {
    return this.#bytes;
  }

  /** Forgets what was written and keeps the array. */
  reset(): void {
    this.#length = 0;
  }

  /** What was written; the array is not copied. */
  view(): Uint8Array {
    // Many a message is as long as the one before, and is shown by the same object
    if (this.#view?.length !== this.#length) this.#view = this.#bytes.subarray(0, this.#length);
    return this.#view;
  }

  copy(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  u16(value: number): void {
    this.#reserve(2);
    this.#bytes[this.#length++] = value;
    this.#bytes[this.#length++] = value >>> 8;
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#length += 4;
    this.patchU32(this.#length - 4, value);
  }

  u64(value: bigint): void {
    this.u32(Number(value & 0xffffffffn));
    this.u32(Number(value >> 32n));
  }

  /** Overwrites four bytes that were written before. */
  patchU32(offset: number, value: number): void {
    const bytes = this.#bytes;
    bytes[offset] = value;
    bytes[offset + 1] = value >>> 8;
    bytes[offset + 2] = value >>> 16;
    bytes[offset + 3] = value >>> 24;
  }

  /** A whole number from 0 to 2^53-1. Throws INVALID_ARGUMENT for any other. */
  varint(value: number): void {
    if ((value & 0x7f) === value) {
      this.u8(value);
      return;
    }
    if (!(value >= 0 && Number.isSafeInteger(value))) throw unwritable(value);
    this.#reserve(MAX_VARINT_BYTES);
    this.#varint(value);
  }

  /** 0 to 2^64-1. Throws INVALID_ARGUMENT for any other. */
  varintBig(value: bigint): void {
    if (BigInt.asUintN(64, value) !== value) throw unwritable(value);
    this.#reserve(MAX_VARINT_BYTES);
    let rest = value;
    while (rest > 0x7fn) {
      this.#bytes[this.#length++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#bytes[this.#length++] = Number(rest);
  }

  /** A signed 64-bit number; a `number` must be a safe integer. Throws INVALID_ARGUMENT for any other. */
  zigzag(value: number | bigint): void {
    if (typeof value === 'bigint') {
      if (BigInt.asIntN(64, value) !== value) throw unwritable(value);
      const asNumber = Number(value);
      if (Number.isSafeInteger(asNumber)) this.zigzag(asNumber);
      else this.varintBig(BigInt.asUintN(64, (value << 1n) ^ (value >> 63n)));
      return;
    }
    // most values and their changes are small
    if ((value << 1) >> 1 === value) {
      this.#reserve(MAX_VARINT_BYTES);
      this.#varint((value << 1) ^ (value >> 31));
      return;
    }
    if (!Number.isSafeInteger(value)) throw unwritable(value);
    this.#reserve(MAX_VARINT_BYTES);
    // the doubled number may pass 2^53, so the byte that holds its lowest bit goes first
    const sign = value < 0 ? 1 : 0;
    const magnitude = sign === 0 ? value : -value - 1;
    if (magnitude < 64) {
      this.#bytes[this.#length++] = magnitude * 2 + sign;
    } else {
      this.#bytes[this.#length++] = ((magnitude % 64) * 2 + sign) | 0x80;
      this.#varint(Math.floor(magnitude / 64));
    }
  }

  /** The bytes of `source` from `start` to `end`. */
  bytes(source: Uint8Array, start = 0, end = source.length): void {
    const count = end - start;
    this.#reserve(count);
    const bytes = this.#bytes;
    let to = this.#length;
    if (count <= COPY_BY_LOOP) {
      for (let from = start; from < end; from++) bytes[to++] = source[from] as number;
    } else {
      bytes.set(start === 0 && end === source.length ? source : source.subarray(start, end), to);
    }
    this.#length += count;
  }

  /** The string in UTF-8, without its length; returns how many bytes that were. Throws NAME_INVALID for half a pair. */
  name(text: string): number {
    const count = text.length;
    this.#reserve(count);
    const bytes = this.#bytes;
    const start = this.#length;
    for (let i = 0; i < count; i++) {
      const unit = text.charCodeAt(i);
      if (unit > 0x7f) return this.#unicodeName(text);
      bytes[start + i] = unit;
    }
    this.#length = start + count;
    return count;
  }

  #unicodeName(text: string): number {
    const count = requireUtf8(text);
    this.#reserve(count);
    ENCODER.encodeInto(text, this.#bytes.subarray(this.#length));
    this.#length += count;
    return count;
  }

  /** A safe whole number into bytes that are reserved already. */
  #varint(value: number): void {
    const bytes = this.#bytes;
    let at = this.#length;
    let rest = value;
    while (rest > 0x7fffffff) {
      bytes[at++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    while (rest > 0x7f) {
      bytes[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    bytes[at++] = rest;
    this.#length = at;
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = undefined;
  }
}

const unwritable = (value: number | bigint) =>
  new TallystickError('INVALID_ARGUMENT', `${value} is not a whole number in range.`);

/** Reads from `offset` to `end` of an array. Every read is checked: past the end it throws BAD_REQUEST. */
export class ByteReader {
  #bytes: Uint8Array = EMPTY;
  #offset = 0;
  #end = 0;
  // The varint read last: its lowest 49 bits and the bits above
  #low = 0;
  #high = 0;

  constructor(bytes: Uint8Array, offset = 0, end = bytes.length) {
    this.reset(bytes, offset, end);
  }

  /** Starts anew on another array. */
  reset(bytes: Uint8Array, offset = 0, end = bytes.length): void {
    this.#bytes = bytes;
    this.#offset = offset;
    this.#end = Math.min(end, bytes.length);
  }

  get offset(): number {
    return this.#offset;
  }

  get remaining(): number {
    return this.#end - this.#offset;
  }

  u8(): number {
    return this.#bytes[this.#take(1)] as number;
  }

  u16(): number {
    const at = this.#take(2);
    return (this.#bytes[at] as number) | ((this.#bytes[at + 1] as number) << 8);
  }

  u32(): number {
    return readU32(this.#bytes, this.#take(4));
  }

  u64(): bigint {
    const low = BigInt(this.u32());
    return low | (BigInt(this.u32()) << 32n);
  }

  /** The next byte, which stays the next; undefined at the end. */
  peekU8(): number | undefined {
    return this.remaining > 0 ? this.#bytes[this.#offset] : undefined;
  }

  /** At most 2^53-1, else BAD_REQUEST. */
  varint(): number {
    this.#readVarint();
    const value = this.#high * TWO_TO_49 + this.#low;
    if (value > Number.MAX_SAFE_INTEGER) throw new TallystickError('BAD_REQUEST', 'A number is beyond 2^53-1.');
    return value;
  }

  varintBig(): bigint {
    this.#readVarint();
    return this.#high === 0 ? BigInt(this.#low) : (BigInt(this.#high) << 49n) | BigInt(this.#low);
  }

  /** A signed 64-bit number. */
  zigzagBig(): bigint {
    this.#readVarint();
    const low = this.#low;
    // most values fit into 31 bits, of which a bigint is made several times faster
    if (this.#high === 0 && low <= 0x7fffffff) return BigInt((low >>> 1) ^ -(low & 1));
    if (this.#high === 0) return BigInt(low % 2 === 0 ? low / 2 : -(low + 1) / 2);
    const doubled = (BigInt(this.#high) << 49n) | BigInt(low);
    return (doubled >> 1n) ^ -(doubled & 1n);
  }

  /** A count of items that take at least `itemBytes` each; BAD_REQUEST where the rest of the body can't hold them. */
  count(itemBytes: number): number {
    const count = this.varint();
    if (count * itemBytes > this.remaining) {
      throw new TallystickError('BAD_REQUEST', `${count} items don't fit into ${this.remaining} bytes.`);
    }
    return count;
  }

  /** A view of the next bytes, without a copy. */
  bytes(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }

  /** A copy of the next bytes. */
  copy(count: number): Uint8Array {
    // not slice(): a Buffer's would be another view
    return new Uint8Array(this.bytes(count));
  }

  /** The next bytes as the UTF-8 of a name. Throws NAME_INVALID where they are none. */
  name(count: number): string {
    return decodeUtf8(this.bytes(count), 'NAME_INVALID');
  }

  /** The next bytes as UTF-8. Throws BAD_REQUEST where they are none. */
  text(count: number): string {
    return decodeUtf8(this.bytes(count), 'BAD_REQUEST');
  }

  /** Throws BAD_REQUEST where bytes are left over. */
  end(): void {
    if (this.remaining > 0) throw new TallystickError('BAD_REQUEST', `${this.remaining} bytes are left over.`);
  }

  #take(count: number): number {
    const at = this.#offset;
    if (count > this.#end - at) throw new TallystickError('BAD_REQUEST', 'The body ends too early.');
    this.#offset = at + count;
    return at;
  }

  #readVarint(): void {
    this.#low = 0;
    this.#high = 0;
    let scale = 1;
    for (let i = 0; i < MAX_VARINT_BYTES; i++) {
      const byte = this.u8();
      if (i < 7) this.#low += (byte & 0x7f) * scale;
      else this.#high += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (i === MAX_VARINT_BYTES - 1 && byte > 1) break;
        return;
      }
      scale = i === 6 ? 1 : scale * 128;
    }
    throw new TallystickError('BAD_REQUEST', 'A varint is longer than 64 bits.');
  }
}

/** Reads an unsigned little-endian number that the caller knows to lie within `bytes`. */
export function readU32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}
