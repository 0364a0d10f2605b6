/**
 * The one MessagePack map of a control body. Its bytes are checked before they are decoded: the decoder allocates by
 * the counts that it reads and recurses as deep as it is told to, so neither may come from a stranger unchecked.
 */

import { Packr } from 'msgpackr';
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

const PACKR = new Packr({ useRecords: false, mapsAsObjects: false, variableMapSize: true, bundleStrings: false });

/** Writes one map. Throws INVALID_ARGUMENT where it is nested too deep. */
export function writeMap(writer: ByteWriter, map: { readonly [key: string]: Packable | undefined }): void {
  writer.bytes(PACKR.pack(packable(map, 0)));
}

/** Reads a body that is one map with at most `maxValues` values in all. Throws BAD_REQUEST for any other. */
export function readMap(body: Uint8Array, maxValues: number): PackedMap {
  const reader = new ByteReader(body);
  checkMap(reader, maxValues);
  reader.end();
  return safeIntegers(PACKR.unpack(body)) as PackedMap;
}

/** The value as the packer shall see it: whole numbers as integers, where it would write floats beyond 32 bits. */
function packable(value: Packable, depth: number): unknown {
  if (depth > MAX_DEPTH) throw new TallystickError('INVALID_ARGUMENT', 'A map is nested too deep.');
  if (typeof value === 'number') {
    const asInteger = Number.isSafeInteger(value) && (value < -0x80000000 || value > 0xffffffff);
    return asInteger ? BigInt(value) : value;
  }
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map((item: Packable) => packable(item, depth + 1));
  const present = Object.entries(value).filter(([, item]) => item !== undefined) as [string, Packable][];
  return new Map(present.map(([key, item]) => [key, packable(item, depth + 1)]));
}

/** Turns the bigints that are safe integers into numbers. */
function safeIntegers(value: unknown): PackedValue {
  if (typeof value === 'bigint') {
    const asNumber = Number(value);
    return Number.isSafeInteger(asNumber) ? asNumber : value;
  }
  if (Array.isArray(value)) return value.map(safeIntegers);
  if (value instanceof Map) {
    return new Map([...(value as Map<string, unknown>)].map(([key, item]) => [key, safeIntegers(item)]));
  }
  return value as PackedValue;
}

/** What the first byte of a value says: its kind, and how to find its size. Source: the MessagePack specification. */
type Head =
  | { readonly kind: 'scalar'; readonly bytes: number }
  | { readonly kind: 'text' | 'bytes' | 'array' | 'map'; readonly count: number };

function checkMap(reader: ByteReader, maxValues: number): void {
  const first = readHead(reader);
  if (first.kind !== 'map') throw new TallystickError('BAD_REQUEST', 'The body is no map.');
  let values = 0;

  const checkInside = (head: Head, depth: number): void => {
    if (++values > maxValues) throw new TallystickError('BAD_REQUEST', `The map has more than ${maxValues} values.`);
    if (depth > MAX_DEPTH) throw new TallystickError('BAD_REQUEST', 'The map is nested too deep.');
    if (head.kind === 'scalar') reader.bytes(head.bytes);
    else if (head.kind === 'text') reader.text(head.count);
    else if (head.kind === 'bytes') reader.bytes(head.count);
    else {
      if (head.count > reader.remaining) throw new TallystickError('BAD_REQUEST', 'A count is larger than the body.');
      for (let i = 0; i < head.count; i++) {
        if (head.kind === 'map') checkKey(reader);
        checkInside(readHead(reader), depth + 1);
      }
    }
  };
  checkInside(first, 0);
}

function checkKey(reader: ByteReader): void {
  const head = readHead(reader);
  if (head.kind !== 'text') throw new TallystickError('BAD_REQUEST', 'A key of a map is no string.');
  reader.text(head.count);
}

function readHead(reader: ByteReader): Head {
  const byte = reader.u8();
  if (byte <= 0x7f || byte >= 0xe0) return { kind: 'scalar', bytes: 0 };
  if (byte <= 0x8f) return { kind: 'map', count: byte & 0x0f };
  if (byte <= 0x9f) return { kind: 'array', count: byte & 0x0f };
  if (byte <= 0xbf) return { kind: 'text', count: byte & 0x1f };
  switch (byte) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return { kind: 'scalar', bytes: 0 };
    case 0xc4:
    case 0xc5:
    case 0xc6:
      return { kind: 'bytes', count: readCount(reader, byte - 0xc4) };
    case 0xca: // float 32
      return { kind: 'scalar', bytes: 4 };
    case 0xcb: // float 64
      return { kind: 'scalar', bytes: 8 };
    case 0xcc: // uint 8, 16, 32, 64
    case 0xcd:
    case 0xce:
    case 0xcf:
      return { kind: 'scalar', bytes: 1 << (byte - 0xcc) };
    case 0xd0: // int 8, 16, 32, 64
    case 0xd1:
    case 0xd2:
    case 0xd3:
      return { kind: 'scalar', bytes: 1 << (byte - 0xd0) };
    case 0xd9:
    case 0xda:
    case 0xdb:
      return { kind: 'text', count: readCount(reader, byte - 0xd9) };
    case 0xdc:
    case 0xdd:
      return { kind: 'array', count: readCount(reader, byte - 0xdb) };
    case 0xde:
    case 0xdf:
      return { kind: 'map', count: readCount(reader, byte - 0xdd) };
    default: // 0xc1, never used, and the extensions
      throw new TallystickError('BAD_REQUEST', 'The map holds a type that no key has.');
  }
}

/** A big-endian count of one, two or four bytes. */
function readCount(reader: ByteReader, log2Bytes: number): number {
  let count = 0;
  for (let i = 0; i < 1 << log2Bytes; i++) count = count * 256 + reader.u8();
  return count;
}
