import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { expect, test } from 'vitest';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { type Packable, readMap, writeMap } from '../../src/protocol/message-pack.js';

/** Held against a library that knows all of MessagePack. */
const packr = new Packr({ useRecords: false, variableMapSize: true, mapsAsObjects: false });

type PackableMap = { readonly [key: string]: Packable };

const written = (map: PackableMap): Uint8Array => {
  const writer = new ByteWriter(1);
  writeMap(writer, map);
  return writer.copy();
};

/** The value with its whole numbers as integers of any size, and objects as maps: as the library takes it. */
function forLibrary(value: Packable): unknown {
  if (typeof value === 'number') {
    const isLong = Number.isSafeInteger(value) && (value > 0xffffffff || value < -0x80000000);
    return isLong ? BigInt(value) : value;
  }
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map((item: Packable) => forLibrary(item));
  return new Map(Object.entries(value as PackableMap).map(([key, item]) => [key, forLibrary(item)]));
}

/** What reading gives: maps for objects, numbers for integers that are safe. */
function asRead(value: Packable): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (typeof value === 'number') return value + 0; // there is one zero of integers
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map((item: Packable) => asRead(item));
  return new Map(Object.entries(value as PackableMap).map(([key, item]) => [key, asRead(item)]));
}

const edges = [31, 32, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536, 2 ** 31, 2 ** 32, 2 ** 53 - 1];
const numbers = edges.flatMap((edge) => [edge - 1, edge, edge + 1, -edge + 1, -edge, -edge - 1]);
const bigs = [2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n, -(2n ** 53n), -(2n ** 63n), 5n, -5n];
const lengths = [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536];

const cases: readonly [string, PackableMap][] = [
  ['no entry', {}],
  ['numbers about every length', Object.fromEntries(numbers.map((value, i) => [`n${i}`, value]))],
  ['numbers that are not whole', { half: 0.5, third: 1 / 3, huge: 1e300, small: -1e-300, infinite: Infinity }],
  ['bigints', Object.fromEntries(bigs.map((value, i) => [`b${i}`, value]))],
  ['null and booleans', { a: null, b: true, c: false }],
  ['texts of every length', Object.fromEntries(lengths.map((length, i) => [`t${i}`, 'x'.repeat(length)]))],
  ['text beyond ASCII', { é: 'übergrößen', emoji: '😀'.repeat(20), bom: '\ufeffx' }],
  ['bytes of every length', Object.fromEntries(lengths.map((length, i) => [`b${i}`, new Uint8Array(length).fill(i)]))],
  ['arrays of every length', Object.fromEntries(lengths.map((length, i) => [`a${i}`, new Array(length).fill(i)]))],
  ...lengths.map((length): [string, PackableMap] => [
    `a map of ${length}`,
    { inner: Object.fromEntries(Array.from({ length }, (_, i) => [`k${i}`, i])) },
  ]),
  ['maps of maps', { a: { b: { c: [{ d: [] }, {}] } } }],
];

test.each(cases)('A map of %s has the bytes that the library writes, and comes back', (_, map) => {
  const bytes = written(map);
  expect(Buffer.compare(bytes, packr.pack(forLibrary(map)))).toBe(0);
  expect(readMap(bytes, 1_000_000)).toEqual(asRead(map));
});

const value: fc.Arbitrary<Packable> = fc.letrec<{ value: Packable }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true }),
    fc.bigInt(-(2n ** 63n), 2n ** 64n - 1n),
    fc.string({ unit: 'binary' }),
    fc.uint8Array(),
    fc.array(tie('value')),
    fc.dictionary(fc.string(), tie('value'), { noNullPrototype: true }),
  ),
})).value;

test('Whatever it holds, a map has the bytes that the library writes, and comes back', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), value, { noNullPrototype: true }), (map) => {
      const bytes = written(map);
      expect(Buffer.compare(bytes, packr.pack(forLibrary(map)))).toBe(0);
      expect(readMap(bytes, 1_000_000)).toEqual(asRead(map));
    }),
  );
});

test('What the library writes in forms that are never written here is read too', () => {
  const floats = new Packr({ useRecords: false, mapsAsObjects: false, useFloat32: 3 });
  expect(readMap(floats.pack(new Map([['a', 0.5]])), 9)).toEqual(new Map([['a', 0.5]]));
  // counts and numbers in longer forms than they need
  const long = [0xdf, 0, 0, 0, 1, 0xdb, 0, 0, 0, 1, 0x61, 0xdd, 0, 0, 0, 4];
  const values = [0xd9, 1, 0x62, 0xc6, 0, 0, 0, 1, 7, 0xcf, 0, 0, 0, 0, 0, 0, 0, 5, 0xd2, 0xff, 0xff, 0xff, 0xff];
  const read = readMap(Uint8Array.from([...long, ...values]), 9);
  expect(read).toEqual(new Map([['a', ['b', Uint8Array.of(7), 5, -1]]]));
});

test('What has no form is refused before it is sent', () => {
  const deep = Array.from({ length: 17 }).reduce<Packable>((inner) => [inner], 1);
  expect(() => written({ deep })).toThrow('nested too deep');
  for (const value of [2n ** 64n, -(2n ** 63n) - 1n]) expect(() => written({ value })).toThrow('more than 64 bits');
});
