import { describe, expect, test } from 'vitest';
import {
  BLOCK_BYTES,
  blocksOf,
  decodeFileHeader,
  decodeFrameHeader,
  encodeFileHeader,
  encodeFrameHead,
  FILE_HEADER_BYTES,
  isWholeHead,
  itemsOf,
  recordLengths,
} from '../../src/log/frame.js';

const SALT = 0x0123_4567_89ab_cdefn;
const records = [Buffer.from('one'), Buffer.alloc(0), Buffer.from('seventeen')];
const items = [
  { key: Buffer.from('0102030405060708090a', 'hex'), value: Buffer.from('first') },
  { key: Buffer.from('0b0c0d0e0f1011121314', 'hex'), value: Buffer.alloc(0) },
];
const flipped = (bytes: Uint8Array, bit: number): Buffer => {
  const copy = Buffer.from(bytes);
  copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
  return copy;
};

describe('The header of a file', () => {
  const begin = Buffer.from('where it begins');
  const header = Buffer.from(encodeFileHeader(SALT, begin));

  test('is read back, and fills its block', () => {
    expect(header).toHaveLength(BLOCK_BYTES);
    expect(decodeFileHeader(header)).toEqual({ salt: SALT, beginBytes: begin.length });
    expect(header.subarray(FILE_HEADER_BYTES, FILE_HEADER_BYTES + begin.length)).toEqual(begin);
  });

  test('is none where it is cut short, or any bit of it is flipped', () => {
    for (let length = 0; length < FILE_HEADER_BYTES; length++) {
      expect(decodeFileHeader(header.subarray(0, length))).toBeUndefined();
    }
    for (let bit = 0; bit < FILE_HEADER_BYTES * 8; bit++) {
      expect(decodeFileHeader(flipped(header, bit))).toBeUndefined();
    }
  });
});

describe('The head of a frame', () => {
  const head = Buffer.from(encodeFrameHead(SALT, 2 ** 40 + 3, records, items));

  test('says where the records and the audit items are', () => {
    const header = decodeFrameHeader(head, SALT);
    if (!header) throw new Error('No head.');
    expect(header).toMatchObject({
      firstRecord: 2 ** 40 + 3,
      records: 3,
      items: 2,
      headBytes: head.length,
      bodyBytes: 12,
    });
    expect(isWholeHead(head)).toBe(true);
    expect(recordLengths(head, header)).toEqual([3, 0, 9]);
    const read = itemsOf(head, header).map(({ key, start, end }) => ({ key, value: head.subarray(start, end) }));
    expect(read).toEqual(items);
  });

  test('is none where its fixed part is cut short, or the salt is another', () => {
    for (let length = 0; length < 48; length++)
      expect(decodeFrameHeader(head.subarray(0, length), SALT)).toBeUndefined();
    expect(decodeFrameHeader(head, SALT + 1n)).toBeUndefined();
  });

  test('is not whole where any bit of it is flipped', () => {
    for (let bit = 0; bit < head.length * 8; bit++) {
      const damaged = flipped(head, bit);
      expect([bit, decodeFrameHeader(damaged, SALT) !== undefined && isWholeHead(damaged)]).toEqual([bit, false]);
    }
  });
});

test('Blocks are whole sectors', () => {
  expect([0, 1, 511, 512, 513].map(blocksOf)).toEqual([0, 512, 512, 512, 1_024]);
});
