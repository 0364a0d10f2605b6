/**
 * The one MessagePack map of a control body, without extensions. Written small, since browsers load it; read with bounds, since
 * strangers send it: what it counts and how deep it nests is checked before anything is made of it.
 *
 * Source: https://github.com/msgpack/msgpack/blob/master/spec.md. All numbers are big-endian.
 */

import { TallystickError } from '../errors.js';
import { ByteReader, type ByteWriter } from './bytes.js';

/** A decoded value. Whole numbers beyond 2^53-1 are bigints. */
export type PackedValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly PackedValue[]
  | ReadonlyMap<string, PackedValue>;
export type PackedMap = ReadonlyMap<string, PackedValue>;

/** What may be encoded: the same, and plain objects for maps; keys whose value is undefined are left out. */
export type Packable =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly Packable[]
  | { readonly [key: string]: Packable | undefined };

/** How deep arrays and maps may nest. */
const MAX_DEPTH = 16;

const ENCODER = new TextEncoder();

/** First bytes of values; the short forms have their count, or the number itself, in their low bits. */
const SHORT_MAP = 0x80;
const SHORT_ARRAY = 0x90;
const SHORT_TEXT = 0xa0;
const NEGATIVE = 0xe0;
const NIL = 0xc0;
const FALSE = 0xc2;
const TRUE = 0xc3;
const BYTES = 0xc4; // with a count of 1, 2, 4 bytes: this, and the next two
const FLOAT_32 = 0xca;
const FLOAT_64 = 0xcb;
const UNSIGNED = 0xcc; // of 1, 2, 4, 8 bytes
const SIGNED = 0xd0; // of 1, 2, 4, 8 bytes
const TEXT = 0xd9; // with a count of 1, 2, 4 bytes
const ARRAY = 0xdc; // with a count of 2, 4 bytes
const MAP = 0xde; // with a count of 2, 4 bytes

/** Writes one map. Throws INVALID_ARGUMENT where it is nested too deep. */
export function writeMap(writer: ByteWriter, map: { readonly [key: string]: Packable | undefined }): void {
  const present = Object.entries(map).filter((entry): entry is [string, Packable] => entry[1] !== undefined);
  writeEntries(writer, present, 0);
}

/** Reads a body that is one map with at most `maxValues` values in all. Throws BAD_REQUEST for any other. */
export function readMap(body: Uint8Array, maxValues: number): PackedMap {
  const reader = new ByteReader(body);
  const value = new Unpacker(reader, maxValues).value(0);
  if (!(value instanceof Map)) throw new TallystickError('BAD_REQUEST', 'The body is no map.');
  reader.end();
  return value;
}

function writeEntries(writer: ByteWriter, entries: readonly [string, Packable][], depth: number): void {
  writeCount(writer, entries.length, SHORT_MAP, 15, MAP, 2);
  for (const [key, value] of entries) {
    writeText(writer, key);
    writeValue(writer, value, depth + 1);
  }
}

function writeValue(writer: ByteWriter, value: Packable, depth: number): void {
  if (depth > MAX_DEPTH) throw new TallystickError('INVALID_ARGUMENT', 'A map is nested too deep.');
  if (value === null) writer.u8(NIL);
  else if (typeof value === 'boolean') writer.u8(value ? TRUE : FALSE);
  else if (typeof value === 'number') writeNumber(writer, value);
  else if (typeof value === 'bigint') writeBig(writer, value);
  else if (typeof value === 'string') writeText(writer, value);
  else if (value instanceof Uint8Array) {
    writeCount(writer, value.length, 0, -1, BYTES, 1);
    writer.bytes(value);
  } else if (Array.isArray(value)) {
    writeCount(writer, value.length, SHORT_ARRAY, 15, ARRAY, 2);
    for (const item of value as readonly Packable[]) writeValue(writer, item, depth + 1);
  } else {
    const entries = Object.entries(value as { readonly [key: string]: Packable | undefined });
    writeEntries(
      writer,
      entries.filter((entry): entry is [string, Packable] => entry[1] !== undefined),
      depth,
    );
  }
}

function writeText(writer: ByteWriter, text: string): void {
  const bytes = ENCODER.encode(text);
  writeCount(writer, bytes.length, SHORT_TEXT, 31, TEXT, 1);
  writer.bytes(bytes);
}

/** A count in the shortest form: in the byte `short` up to `shortest`, else behind `long`, whose first form has so many bytes. */
function writeCount(
  writer: ByteWriter,
  count: number,
  short: number,
  shortest: number,
  long: number,
  firstBytes: 1 | 2,
): void {
  if (count <= shortest) {
    writer.u8(short | count);
    return;
  }
  const bytes = count <= 0xff && firstBytes === 1 ? 1 : count <= 0xffff ? 2 : 4;
  writer.u8(long + Math.log2(bytes / firstBytes));
  writeBigEndian(writer, count, bytes);
}

/** Whole numbers as integers, in the shortest form; all others in 64 bits. */
function writeNumber(writer: ByteWriter, value: number): void {
  if (!Number.isSafeInteger(value)) {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value);
    writer.u8(FLOAT_64);
    writer.bytes(new Uint8Array(view.buffer));
  } else if (value >= -32 && value <= 0x7f) writer.u8(value & 0xff);
  else if (value > 0xffff_ffff || value < -0x8000_0000) writeBig(writer, BigInt(value));
  else {
    const bytes = value >= 0 ? unsignedBytes(value) : unsignedBytes(2 * -(value + 1));
    writer.u8((value >= 0 ? UNSIGNED : SIGNED) + Math.log2(bytes));
    writeBigEndian(writer, value, bytes);
  }
}

const unsignedBytes = (value: number): number => (value <= 0xff ? 1 : value <= 0xffff ? 2 : 4);

/** Of 64 bits; unsigned only where it must be. */
function writeBig(writer: ByteWriter, value: bigint): void {
  const isSigned = BigInt.asIntN(64, value) === value;
  if (!isSigned && BigInt.asUintN(64, value) !== value)
    throw new TallystickError('INVALID_ARGUMENT', `${value} has more than 64 bits.`);
  writer.u8((isSigned ? SIGNED : UNSIGNED) + 3);
  writeBigEndian(writer, Number(BigInt.asUintN(32, value >> 32n)), 4);
  writeBigEndian(writer, Number(BigInt.asUintN(32, value)), 4);
}

function writeBigEndian(writer: ByteWriter, value: number, bytes: number): void {
  for (let shift = 8 * (bytes - 1); shift >= 0; shift -= 8) writer.u8((value >>> shift) & 0xff);
}

/** Reads one value after the other, with bounds for them all. */
class Unpacker {
  readonly #reader: ByteReader;
  readonly #maxValues: number;
  #values = 0;

  constructor(reader: ByteReader, maxValues: number) {
    this.#reader = reader;
    this.#maxValues = maxValues;
  }

  value(depth: number): PackedValue {
    if (++this.#values > this.#maxValues)
      throw new TallystickError('BAD_REQUEST', `The map has more than ${this.#maxValues} values.`);
    if (depth > MAX_DEPTH) throw new TallystickError('BAD_REQUEST', 'The map is nested too deep.');
    const byte = this.#reader.u8();
    if (byte < SHORT_MAP) return byte;
    if (byte >= NEGATIVE) return byte - 256;
    if (byte < SHORT_ARRAY) return this.#map(byte & 15, depth);
    if (byte < SHORT_TEXT) return this.#array(byte & 15, depth);
    if (byte < NIL) return this.#reader.text(byte & 31);
    if (byte === NIL) return null;
    if (byte === FALSE || byte === TRUE) return byte === TRUE;
    if (byte >= BYTES && byte < BYTES + 3) return this.#reader.copy(this.#count(byte - BYTES));
    if (byte === FLOAT_32) return this.#view(4).getFloat32(0);
    if (byte === FLOAT_64) return this.#view(8).getFloat64(0);
    if (byte >= UNSIGNED && byte < SIGNED) return this.#unsigned(byte - UNSIGNED);
    if (byte >= SIGNED && byte < SIGNED + 4) return this.#signed(byte - SIGNED);
    if (byte >= TEXT && byte < ARRAY) return this.#reader.text(this.#count(byte - TEXT));
    if (byte === ARRAY || byte === ARRAY + 1) return this.#array(this.#count(byte - ARRAY + 1), depth);
    if (byte >= MAP && byte < NEGATIVE) return this.#map(this.#count(byte - MAP + 1), depth);
    // 0xc1, never used, and the extensions
    throw new TallystickError('BAD_REQUEST', 'The map holds a type that no key has.');
  }

  #map(count: number, depth: number): PackedMap {
    this.#check(count);
    const map = new Map<string, PackedValue>();
    for (let i = 0; i < count; i++) map.set(this.#key(), this.value(depth + 1));
    return map;
  }

  #array(count: number, depth: number): PackedValue[] {
    this.#check(count);
    const items: PackedValue[] = [];
    for (let i = 0; i < count; i++) items.push(this.value(depth + 1));
    return items;
  }

  /** Each item takes a byte. */
  #check(count: number): void {
    if (count > this.#reader.remaining) throw new TallystickError('BAD_REQUEST', 'A count is larger than the body.');
  }

  #key(): string {
    const byte = this.#reader.u8();
    if (byte >= SHORT_TEXT && byte < NIL) return this.#reader.text(byte & 31);
    if (byte >= TEXT && byte < ARRAY) return this.#reader.text(this.#count(byte - TEXT));
    throw new TallystickError('BAD_REQUEST', 'A key of a map is no string.');
  }

  /** A count of one, two or four bytes. */
  #count(log2Bytes: number): number {
    return Number(this.#unsigned(log2Bytes));
  }

  #unsigned(log2Bytes: number): number | bigint {
    if (log2Bytes === 3) return safe(this.#view(8).getBigUint64(0));
    const view = this.#view(1 << log2Bytes);
    return log2Bytes === 0 ? view.getUint8(0) : log2Bytes === 1 ? view.getUint16(0) : view.getUint32(0);
  }

  #signed(log2Bytes: number): number | bigint {
    if (log2Bytes === 3) return safe(this.#view(8).getBigInt64(0));
    const view = this.#view(1 << log2Bytes);
    return log2Bytes === 0 ? view.getInt8(0) : log2Bytes === 1 ? view.getInt16(0) : view.getInt32(0);
  }

  #view(bytes: number): DataView {
    const { buffer, byteOffset } = this.#reader.bytes(bytes);
    return new DataView(buffer, byteOffset, bytes);
  }
}

/** As a number where that is exact. */
function safe(value: bigint): number | bigint {
  const asNumber = Number(value);
  return Number.isSafeInteger(asNumber) ? asNumber : value;
}
