import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeState, encodeState } from '../../src/history/partition-state.js';
import { ChecksummedBuffer } from '../../src/log/checksum.js';

const STATE = { watermark: 2 ** 40 + 1, items: 3, revision: 77, since: 2 ** 41 };
const refusal = (code: string) => expect.objectContaining({ code });

test('the state of a partition is read as it was written', () => {
  const number = fc.nat(Number.MAX_SAFE_INTEGER);
  fc.assert(
    fc.property(
      fc.nat(65_535),
      fc.record({ watermark: number, items: fc.nat(65_535), revision: number, since: number }),
      (partition, state) => {
        expect(decodeState(partition, encodeState(partition, state))).toEqual(state);
      },
    ),
  );
});

test('a partition of which nothing was written is at the beginning', () => {
  expect(decodeState(3, undefined)).toEqual({ watermark: 0, items: 0, revision: 0, since: 0 });
});

test('any flipped bit, any other length and the state of another partition are damage', () => {
  const whole = encodeState(3, STATE);
  for (let bit = 0; bit < whole.length * 8; bit++) {
    const flipped = Uint8Array.from(whole);
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    expect(() => decodeState(3, flipped)).toThrow(refusal('DATA_DAMAGED'));
  }
  for (let length = 0; length < whole.length; length++) {
    expect(() => decodeState(3, whole.subarray(0, length))).toThrow(refusal('DATA_DAMAGED'));
  }
  expect(() => decodeState(3, Buffer.concat([whole, Buffer.alloc(1)]))).toThrow(refusal('DATA_DAMAGED'));
  expect(() => decodeState(2, whole)).toThrow(refusal('DATA_DAMAGED'));
});

test('another format is not damage', () => {
  const other = Buffer.from(encodeState(3, STATE));
  other.writeUInt16LE(2, 4);
  const buffer = new ChecksummedBuffer(2 + other.length - 4);
  buffer.bytes.set([0, 3]);
  buffer.bytes.set(other.subarray(4), 2);
  other.writeUInt32LE(buffer.crc32c(0, buffer.bytes.length), 0);
  expect(() => decodeState(3, other)).toThrow(refusal('DIRECTORY_INVALID'));
});
