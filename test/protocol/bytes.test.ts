import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TallystickError } from '../../src/errors.js';
import { ByteReader, ByteWriter, encodeUtf8, utf8Length } from '../../src/protocol/bytes.js';

const MIN = -(2n ** 63n);
const MAX = 2n ** 63n - 1n;

/** LEB128 as protocol.md states it, in the slowest way. */
function naiveVarint(value: bigint): number[] {
  return value < 128n ? [Number(value)] : [Number(value & 127n) | 128, ...naiveVarint(value >> 7n)];
}
const naiveZigzag = (value: bigint) => naiveVarint(BigInt.asUintN(64, (value << 1n) ^ (value >> 63n)));

function written(write: (writer: ByteWriter) => void): number[] {
  // a capacity of 1: growth is part of every test
  const writer = new ByteWriter(1);
  write(writer);
  return [...writer.view()];
}

const codeOf = (act: () => unknown) => {
  try {
    act();
  } catch (error) {
    return error instanceof TallystickError ? error.code : error;
  }
  return 'none';
};

const around = (powers: number[]) => powers.flatMap((power) => [2n ** BigInt(power) - 1n, 2n ** BigInt(power)]);
const EDGES = around([0, 6, 7, 13, 14, 20, 21, 28, 30, 31, 32, 33, 35, 42, 48, 49, 50, 52]);

describe('A varint', () => {
  test('is written and read as the naive one, at each edge and anywhere', () => {
    const check = (value: bigint) => {
      const bytes = written((writer) => writer.varint(Number(value)));
      expect(bytes).toEqual(naiveVarint(value));
      expect(written((writer) => writer.varintBig(value))).toEqual(bytes);
      const reader = new ByteReader(Uint8Array.from(bytes));
      expect([reader.varint(), reader.remaining]).toEqual([Number(value), 0]);
      expect(new ByteReader(Uint8Array.from(bytes)).varintBig()).toBe(value);
    };
    for (const edge of [...EDGES, 2n ** 53n - 1n]) check(edge);
    fc.assert(fc.property(fc.bigInt(0n, 2n ** 53n - 1n), check));
  });

  test('of up to 64 bits passes as a bigint, and beyond 2^53-1 is refused as a number', () => {
    const check = (value: bigint) => {
      const bytes = written((writer) => writer.varintBig(value));
      expect(bytes).toEqual(naiveVarint(value));
      expect(new ByteReader(Uint8Array.from(bytes)).varintBig()).toBe(value);
      expect(codeOf(() => new ByteReader(Uint8Array.from(bytes)).varint())).toBe('BAD_REQUEST');
    };
    for (const edge of [...around([53, 54, 55, 56, 57, 62, 63]).slice(1), 2n ** 64n - 1n]) check(edge);
    fc.assert(fc.property(fc.bigInt(2n ** 53n, 2n ** 64n - 1n), check));
  });

  test('is read in a longer form too, up to 10 bytes and 64 bits', () => {
    const padded = Uint8Array.of(0x85, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00);
    expect(new ByteReader(padded).varint()).toBe(5);
    expect(new ByteReader(padded).varintBig()).toBe(5n);
    const tenthByte = Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02);
    const elevenBytes = Uint8Array.of(...new Array(10).fill(0x80), 0x00);
    for (const bytes of [tenthByte, elevenBytes]) {
      expect(codeOf(() => new ByteReader(bytes).varint())).toBe('BAD_REQUEST');
      expect(codeOf(() => new ByteReader(bytes).varintBig())).toBe('BAD_REQUEST');
      expect(codeOf(() => new ByteReader(bytes).zigzagBig())).toBe('BAD_REQUEST');
    }
  });

  test('is not written for what is no whole number in range, and leaves nothing behind', () => {
    const writer = new ByteWriter();
    for (const value of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      expect(codeOf(() => writer.varint(value))).toBe('INVALID_ARGUMENT');
    }
    for (const value of [-1n, 2n ** 64n]) expect(codeOf(() => writer.varintBig(value))).toBe('INVALID_ARGUMENT');
    expect(writer.length).toBe(0);
  });
});

describe('A zigzag', () => {
  test('is written alike from a number and a bigint, and read back', () => {
    const check = (value: bigint) => {
      const bytes = written((writer) => writer.zigzag(value));
      expect(bytes).toEqual(naiveZigzag(value));
      if (Number.isSafeInteger(Number(value))) {
        expect(written((writer) => writer.zigzag(Number(value)))).toEqual(bytes);
      }
      expect(new ByteReader(Uint8Array.from(bytes)).zigzagBig()).toBe(value);
    };
    for (const edge of [...EDGES, ...around([53, 54, 62]), MAX]) for (const sign of [1n, -1n]) check(sign * edge);
    check(MIN);
    fc.assert(fc.property(fc.bigInt(MIN, MAX), check));
    fc.assert(fc.property(fc.maxSafeInteger(), (value) => check(BigInt(value))));
  });

  test('takes a negative zero as zero', () => {
    expect(written((writer) => writer.zigzag(-0))).toEqual([0]);
  });

  test('is not written beyond 64 bits, nor from a number that is no safe integer', () => {
    const writer = new ByteWriter();
    for (const value of [MAX + 1n, MIN - 1n, 2 ** 53, -(2 ** 53), 1.5, Number.NaN]) {
      expect(codeOf(() => writer.zigzag(value))).toBe('INVALID_ARGUMENT');
    }
    expect(writer.length).toBe(0);
  });
});

describe('Text', () => {
  test('is written as UTF-8 of the length that it says, and read back', () => {
    const check = (text: string) => {
      const expected = [...new TextEncoder().encode(text)];
      expect(utf8Length(text)).toBe(expected.length);
      expect(written((writer) => expect(writer.name(text)).toBe(expected.length))).toEqual(expected);
      expect([...encodeUtf8(text)]).toEqual(expected);
      expect(new ByteReader(Uint8Array.from(expected)).name(expected.length)).toBe(text);
      expect(new ByteReader(Uint8Array.from(expected)).text(expected.length)).toBe(text);
    };
    for (const text of ['', 'a', 'é', '€', '😀', 'a😀', '😀é', '\u{feff}a', '\0', '\x7f\x80\u07ff\u0800\uffff'])
      check(text);
    fc.assert(fc.property(fc.string({ unit: 'grapheme' }), check));
    fc.assert(fc.property(fc.string({ unit: 'binary' }), check));
  });

  test('with half a surrogate pair is refused and leaves nothing behind', () => {
    for (const text of ['\ud800', '\udc00', 'a\ud83d', '\ud83d\ud83d\ude00', '\ude00\ud83d']) {
      const writer = new ByteWriter();
      expect(codeOf(() => writer.name(text))).toBe('NAME_INVALID');
      expect(codeOf(() => encodeUtf8(text))).toBe('NAME_INVALID');
      expect(writer.length).toBe(0);
    }
  });

  test('that is no UTF-8 is refused when it is read', () => {
    for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf0, 0x9f], [0x80]]) {
      expect(codeOf(() => new ByteReader(Uint8Array.from(bytes)).name(bytes.length))).toBe('NAME_INVALID');
      expect(codeOf(() => new ByteReader(Uint8Array.from(bytes)).text(bytes.length))).toBe('BAD_REQUEST');
    }
  });
});

describe('The fixed numbers and bytes', () => {
  test('are little-endian', () => {
    const bytes = written((writer) => {
      writer.u8(0xfe);
      writer.u16(0xfedc);
      writer.u32(0xfedcba98);
      writer.bytes(Uint8Array.of(9, 8, 7, 6), 1, 3);
      writer.patchU32(3, 0x89abcdef);
    });
    expect(bytes).toEqual([0xfe, 0xdc, 0xfe, 0xef, 0xcd, 0xab, 0x89, 8, 7]);
    const reader = new ByteReader(Uint8Array.from([0, ...bytes, 0]), 1, bytes.length + 1);
    expect([reader.u8(), reader.u16(), reader.u32(), [...reader.bytes(2)]]).toEqual([0xfe, 0xfedc, 0x89abcdef, [8, 7]]);
    reader.end();
  });

  test('are copied whole at every length', () => {
    for (let length = 0; length < 120; length++) {
      const source = Uint8Array.from({ length }, (_, i) => i);
      expect(written((writer) => writer.bytes(source))).toEqual([...source]);
    }
  });

  test('are not read past the end, which may lie before that of the array', () => {
    const reads: ((reader: ByteReader) => unknown)[] = [
      (reader) => reader.u8(),
      (reader) => reader.u16(),
      (reader) => reader.u32(),
      (reader) => reader.varint(),
      (reader) => reader.varintBig(),
      (reader) => reader.zigzagBig(),
      (reader) => reader.bytes(2),
      (reader) => reader.copy(2),
      (reader) => reader.name(2),
      (reader) => reader.text(2 ** 40),
    ];
    for (const read of reads) {
      for (const end of [0, 1]) {
        if (end === 1 && read === reads[0]) continue;
        const reader = new ByteReader(new Uint8Array(16).fill(0x80), 0, end);
        expect(codeOf(() => read(reader))).toBe('BAD_REQUEST');
      }
    }
  });

  test('a count larger than the rest of the body is refused', () => {
    const body = Uint8Array.of(3, 0, 0, 0, 0, 0);
    expect(new ByteReader(body).count(1)).toBe(3);
    expect(codeOf(() => new ByteReader(body).count(2))).toBe('BAD_REQUEST');
    expect(codeOf(() => new ByteReader(body).end())).toBe('BAD_REQUEST');
  });

  test('copy() is apart from its source, also where that is a Buffer; view() is not', () => {
    const source = Buffer.from([1, 2, 3]);
    const copied = new ByteReader(source).copy(3);
    const viewed = new ByteReader(source).bytes(3);
    source[0] = 9;
    expect([copied[0], viewed[0]]).toEqual([1, 9]);

    const writer = new ByteWriter();
    writer.u8(1);
    const [copy, view] = [writer.copy(), writer.view()];
    writer.reset();
    writer.u8(2);
    expect([copy[0], view[0], writer.length]).toEqual([1, 2, 1]);
  });
});
