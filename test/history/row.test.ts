import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Sums, sumOf, UNITS } from '../../src/history/bucket.js';
import { keyOf, minuteKeyOf } from '../../src/history/key.js';
import { RowCodec } from '../../src/history/row.js';
import { RESOLUTIONS, type Resolution } from '../../src/series/bucket.js';

const codec = new RowCodec();
const COUNTER = { partition: 3, slot: 70_000, generation: 2 };
const keyFor = (resolution: Resolution) =>
  resolution === 'minute'
    ? minuteKeyOf(3, { ...COUNTER, hour: 480_000, asOf: 2 ** 40, index: 7 })
    : keyOf(COUNTER, 20_000);
const row = (resolution: Resolution, sums: Readonly<Record<number, bigint>>) =>
  Array.from({ length: UNITS[resolution] }, (_, unit) => sums[unit]);
const minutes = (sums: (minute: number) => bigint | undefined) =>
  Array.from({ length: 60 }, (_, minute) => sums(minute));
const encode = (sums: Sums, resolution: Resolution = 'minute') =>
  codec.encode(resolution, keyFor(resolution), sums) as Uint8Array;

/** Sums as they come: mostly none, runs, small, at the ends of 64 bits, and beyond. */
const sum = fc.oneof(
  { weight: 4, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.constant(0n) },
  { weight: 3, arbitrary: fc.constantFrom(1n, 2n) },
  { weight: 3, arbitrary: fc.bigInt(-300n, 300n) },
  fc.constantFrom(2n ** 63n - 1n, -(2n ** 63n), 2n ** 127n - 1n, -(2n ** 127n)),
  fc.bigInt(-(2n ** 70n), 2n ** 70n),
);
const sumsOf = (resolution: Resolution) =>
  fc
    .array(fc.tuple(sum, fc.integer({ min: 1, max: 40 })), { maxLength: 64 })
    .map((runs) => {
      const units = runs.flatMap(([value, length]) => new Array<bigint | undefined>(length).fill(value));
      return Array.from({ length: UNITS[resolution] }, (_, unit) => units[unit]);
    })
    .filter((sums) => sums.some((value) => value !== undefined));

describe('the sums of a row', () => {
  test.each(RESOLUTIONS)('by %s are read as they were written', (resolution) => {
    const key = keyFor(resolution);
    fc.assert(
      fc.property(sumsOf(resolution), (sums) => {
        const stored = codec.encode(resolution, key, sums) as Uint8Array;
        expect(codec.decode(resolution, key, stored)).toEqual(sums);
        expect(codec.sum(resolution, key, stored)).toBe(sumOf(sums));
      }),
      { numRuns: 500 },
    );
  });

  test('are read from the middle of a larger buffer too', () => {
    const sums = minutes((minute) => BigInt(minute * minute));
    const larger = Buffer.concat([Buffer.alloc(3, 9), encode(sums), Buffer.alloc(3, 9)]);
    expect(codec.decode('minute', keyFor('minute'), larger.subarray(3, -3))).toEqual(sums);
  });

  test('are the bytes that are drawn', () => {
    const sums = row('hour', { 2: 5n, 3: 4n, 4: 4n, 5: 4n, 6: 4n, 23: -200n });
    const stored = Buffer.from(encode(sums, 'hour'));
    // Twice nothing, 2 by differences (+5, -1), 3 the same, 16 times nothing, 1 by a difference (-204).
    expect(stored.subarray(4).toString('hex')).toBe('01' + '41' + '0a' + '01' + '82' + '0f' + '40' + '9703');
  });

  test('tell a sum of 0 from nothing at all', () => {
    const sums = row('minute', { 4: 0n, 5: 0n, 9: 3n, 10: 0n, 59: 0n });
    expect(codec.decode('minute', keyFor('minute'), encode(sums))).toEqual(sums);
  });

  test('of nothing at all are no row', () => {
    for (const resolution of RESOLUTIONS) {
      expect(codec.encode(resolution, keyFor(resolution), row(resolution, {}))).toBeUndefined();
    }
  });

  test('of another number than the resolution has are refused', () => {
    expect(() => codec.encode('hour', keyFor('hour'), row('minute', { 1: 1n }))).toThrow(RangeError);
  });

  test('beyond 128 bits are refused rather than cut off', () => {
    for (const value of [2n ** 127n, -(2n ** 127n) - 1n]) {
      expect(() => encode(row('minute', { 5: value }))).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
    }
  });
});

describe('the bytes of a row', () => {
  const bytes = (sums: Sums) => encode(sums).length;

  test('are few where minutes are', () => {
    expect(bytes(row('minute', { 37: 1n }))).toBe(4 + 3);
    // A count as large as the last one, however long ago, takes no difference.
    expect(bytes(row('minute', { 3: 1n, 20: 1n, 37: 1n, 59: 1n }))).toBe(4 + 3 + 3 * 2);
  });

  test('are few where all minutes have the same count', () => {
    expect(bytes(minutes(() => 1n))).toBe(4 + 3);
    expect(bytes(minutes(() => 1_000_000n))).toBe(4 + 5);
  });

  test('are one a minute for counts that differ by less than 64, two by less than 8,192', () => {
    expect(bytes(minutes((minute) => BigInt(1 + ((minute * 7) % 60))))).toBe(4 + 1 + 60);
    expect(bytes(minutes((minute) => BigInt(1 + ((minute * 4_001) % 8_000))))).toBeLessThanOrEqual(4 + 1 + 120);
  });

  test('are bounded', () => {
    const worst = minutes((minute) => (minute % 2 === 0 ? 2n ** 127n - 1n : -(2n ** 127n)));
    expect(bytes(worst)).toBe(4 + 1 + 60 * 19);
    expect(codec.decode('minute', keyFor('minute'), encode(worst))).toEqual(worst);
  });
});

describe('damage is DATA_DAMAGED', () => {
  const whole = minutes((minute) => (minute % 7 === 0 ? undefined : BigInt(minute) - 30n));
  const damaged = (key: Uint8Array, stored: Uint8Array) =>
    expect(() => codec.decode('minute', key, stored)).toThrow(expect.objectContaining({ code: 'DATA_DAMAGED' }));
  const flipped = (bytes: Uint8Array, bit: number) => {
    const changed = Uint8Array.from(bytes);
    changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
    return changed;
  };

  test('of any bit of the value', () => {
    const stored = encode(whole);
    for (let bit = 0; bit < stored.length * 8; bit++) damaged(keyFor('minute'), flipped(stored, bit));
  });

  test('of any bit of the key: a value under another key is not its own', () => {
    const key = keyFor('minute');
    for (let bit = 0; bit < key.length * 8; bit++) damaged(flipped(key, bit), encode(whole));
  });

  test('of the length, byte by byte', () => {
    const stored = encode(whole);
    for (let length = 0; length < stored.length; length++) damaged(keyFor('minute'), stored.subarray(0, length));
    damaged(keyFor('minute'), Buffer.concat([stored, Buffer.alloc(1)]));
    damaged(keyFor('minute'), Buffer.alloc(10_000));
    damaged(keyFor('minute').subarray(0, 12), stored);
  });

  test.each([
    ['more units than there are', 'bf'],
    ['a kind that there is not', 'c0'],
    ['a difference that does not end', '4080'],
    ['a difference that is too long', `40${'80'.repeat(19)}01`],
  ])('that has a checksum of its own: %s', (_, tokens) => {
    const body = Buffer.from(tokens, 'hex');
    const key = keyFor('hour');
    const stored = Buffer.concat([checksumOf(key, body), body]);
    expect(() => codec.decode('hour', key, stored)).toThrow(/says what no row can say/);
  });
});

/** CRC32C bit by bit (RFC 3720, reflected polynomial). */
function checksumOf(key: Uint8Array, body: Uint8Array): Buffer {
  let crc = 0xffff_ffff;
  for (const byte of Buffer.concat([key, body])) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
  }
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(~crc >>> 0);
  return bytes;
}
