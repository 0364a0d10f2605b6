import { expect, test } from 'vitest';
import { copyBytes, copyTouched } from '../src/copy.js';

const SIZE = 4_096;
const pattern = (bytes: Uint8Array): Uint8Array => bytes.map((_, i) => (i * 31) ^ (i >> 8));
const plain = () => new Uint8Array(SIZE);
const shared = () => new Uint8Array(new SharedArrayBuffer(SIZE));

test.each([
  ['into shared memory', plain, shared],
  ['out of shared memory', shared, plain],
])(
  'Bytes are copied %s as they are, however long they are and however they lie, and nothing beside them',
  (_, from, to) => {
    const source = from();
    source.set(pattern(plain()));
    for (const length of [0, 1, 7, 8, 127, 128, 129, 1_000, 2_001])
      for (const offset of [0, 1, 3, 8])
        for (const at of [0, 1, 2, 8, 100]) {
          const target = to();
          copyBytes(target, source.subarray(offset, offset + length), at);
          const expected = plain();
          expected.set(source.slice(offset, offset + length), at);
          expect(Buffer.compare(Buffer.from(target), expected)).toBe(0);
        }
  },
);

test('Bytes that do not fit are refused, and nothing is copied', () => {
  const target = shared();
  for (const length of [10, 200])
    expect(() => copyBytes(target, pattern(plain()).subarray(0, length), SIZE - 5)).toThrow(RangeError);
  expect(target.every((byte) => byte === 0)).toBe(true);
});

test('Units that are zero are not touched where they are copied to, and all others are copied', () => {
  const units = [0, 1, 0, 0, 1, 1, 0];
  const source = new Uint8Array(new SharedArrayBuffer(units.length * SIZE - 100));
  for (const [unit, isTouched] of units.entries()) if (isTouched) source[unit * SIZE + unit * 800] = unit + 1;
  const target = new Uint8Array(new SharedArrayBuffer(source.length + 2 * SIZE)).fill(9); // so that one sees what is written
  copyTouched(target, source, SIZE);
  for (const [unit, isTouched] of units.entries()) {
    const copied = target.slice((unit + 1) * SIZE, Math.min((unit + 2) * SIZE, SIZE + source.length));
    const expected = isTouched ? source.slice(unit * SIZE, (unit + 1) * SIZE) : copied.slice().fill(9);
    expect(Buffer.compare(copied, expected), `unit ${unit}`).toBe(0);
  }
  for (const beside of [target.subarray(0, SIZE), target.subarray(SIZE + source.length)])
    expect(beside.every((byte) => byte === 9)).toBe(true);
});
