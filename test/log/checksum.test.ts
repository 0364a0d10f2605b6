import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ChecksummedBuffer } from '../../src/log/checksum.js';

const LENGTH = 4_096;
const buffer = new ChecksummedBuffer(LENGTH);

function crc32c(bytes: Uint8Array, offset = 0): string {
  buffer.bytes.set(bytes, offset);
  return buffer.crc32c(offset, bytes.length).toString(16).padStart(8, '0');
}

function xxh64(bytes: Uint8Array, offset = 0): string {
  buffer.bytes.set(bytes, offset);
  return buffer.xxh64(offset, bytes.length).toString(16).padStart(16, '0');
}

const text = (value: string) => new TextEncoder().encode(value);

/** CRC32C bit by bit. */
function naiveCrc32c(bytes: Uint8Array): string {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return (~crc >>> 0).toString(16).padStart(8, '0');
}

/** XXH64 with seed 0, from its specification, in BigInt. */
function naiveXxh64(bytes: Uint8Array): string {
  const [p1, p2, p3, p4, p5] = [
    0x9e3779b185ebca87n,
    0xc2b2ae3d27d4eb4fn,
    0x165667b19e3779f9n,
    0x85ebca77c2b2ae63n,
    0x27d4eb2f165667c5n,
  ];
  const u64 = (value: bigint) => BigInt.asUintN(64, value);
  const rotate = (value: bigint, by: bigint) => u64(value << by) | (value >> (64n - by));
  const round = (lane: bigint, input: bigint) => u64(rotate(u64(lane + input * p2), 31n) * p1);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  let hash = p5;
  if (bytes.length >= 32) {
    const lanes = [u64(p1 + p2), p2, 0n, u64(-p1)];
    for (; at + 32 <= bytes.length; at += 32) {
      for (const [index, lane] of lanes.entries()) lanes[index] = round(lane, view.getBigUint64(at + 8 * index, true));
    }
    hash = u64(lanes.reduce((sum, lane, index) => sum + rotate(lane, [1n, 7n, 12n, 18n][index] ?? 0n), 0n));
    for (const lane of lanes) hash = u64((hash ^ round(0n, lane)) * p1 + p4);
  }
  hash = u64(hash + BigInt(bytes.length));
  for (; at + 8 <= bytes.length; at += 8) {
    hash = u64(rotate(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * p1 + p4);
  }
  for (; at + 4 <= bytes.length; at += 4) {
    hash = u64(rotate(hash ^ u64(BigInt(view.getUint32(at, true)) * p1), 23n) * p2 + p3);
  }
  for (; at < bytes.length; at++) hash = u64(rotate(hash ^ u64(BigInt(view.getUint8(at)) * p5), 11n) * p1);
  hash = u64((hash ^ (hash >> 33n)) * p2);
  hash = u64((hash ^ (hash >> 29n)) * p3);
  return (hash ^ (hash >> 32n)).toString(16).padStart(16, '0');
}

describe('CRC32C', () => {
  // RFC 3720, appendix B.4, numbers as they are and not in the order of the wire.
  test.each([
    ['32 zeros', new Uint8Array(32), '8a9136aa'],
    ['32 ones', new Uint8Array(32).fill(0xff), '62a8ab43'],
    ['0 to 31', Uint8Array.from({ length: 32 }, (_, index) => index), '46dd794e'],
    ['31 to 0', Uint8Array.from({ length: 32 }, (_, index) => 31 - index), '113fdb5c'],
    ['the check value of the catalogue of CRCs', text('123456789'), 'e3069283'],
    ['nothing', new Uint8Array(), '00000000'],
  ])('of %s', (_, bytes, expected) => {
    expect(crc32c(bytes)).toBe(expected);
  });
});

describe('XXH64', () => {
  test.each([
    ['', 'ef46db3751d8e999'],
    ['a', 'd24ec4f1a98c6e5b'],
    ['abc', '44bc2cf5ad770999'],
    ['Nobody inspects the spammish repetition', 'fbcea83c8a378bf1'],
  ])('of %j', (value, expected) => {
    expect(xxh64(text(value))).toBe(expected);
  });
});

test('both agree with naive implementations, at any length and offset', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(40), (bytes, offset) => {
      expect(crc32c(bytes, offset)).toBe(naiveCrc32c(bytes));
      expect(xxh64(bytes, offset)).toBe(naiveXxh64(bytes));
    }),
    { numRuns: 300 },
  );
});

test('a range outside the buffer is refused', () => {
  expect(() => buffer.crc32c(LENGTH - 1, 2)).toThrow(RangeError);
  expect(() => buffer.xxh64(-1, 2)).toThrow(RangeError);
});
