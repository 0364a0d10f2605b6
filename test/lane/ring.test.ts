import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRing, RingReader, RingWriter } from '../../src/lane/ring.js';

/** Bytes that tell where in the stream they stand. */
function stream(from: number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => ((from + i) * 2_654_435_761) >>> 24);
}

function ends(capacity: number): { writer: RingWriter; reader: RingReader } {
  const ring = createRing(capacity);
  return { writer: new RingWriter(ring), reader: new RingReader(ring) };
}

/** What one read gives. */
function take(reader: RingReader, most: number): Uint8Array {
  const bytes = new Uint8Array(most);
  return bytes.slice(0, reader.read(bytes));
}

describe('A ring', () => {
  test('gives back what was written, and nothing that was not', () => {
    const { writer, reader } = ends(64);
    expect(take(reader, 10)).toEqual(new Uint8Array(0));
    expect(writer.write(stream(0, 5))).toBe(5);
    expect(writer.write(stream(5, 3))).toBe(3);
    expect(take(reader, 2)).toEqual(stream(0, 2));
    expect(take(reader, 100)).toEqual(stream(2, 6));
    expect(take(reader, 100)).toEqual(new Uint8Array(0));
  });

  test('takes as much as it has room for, up to its last byte, and overwrites nothing', () => {
    const { writer, reader } = ends(16);
    expect(writer.write(stream(0, 40))).toBe(16);
    expect(writer.write(stream(16, 1))).toBe(0);
    expect(take(reader, 3)).toEqual(stream(0, 3));
    expect(writer.write(stream(16, 40))).toBe(3);
    expect(take(reader, 100)).toEqual(stream(3, 16));
  });

  test('carries more than it holds, in pieces', () => {
    const { writer, reader } = ends(32);
    const message = stream(0, 1000);
    const got: number[] = [];
    for (let sent = 0; got.length < message.length; ) {
      sent += writer.write(message.subarray(sent));
      got.push(...take(reader, 20));
    }
    expect(Uint8Array.from(got)).toEqual(message);
  });

  test.each([2 ** 31, 2 ** 32])('goes on where its counts pass %d', (limit) => {
    const ring = createRing(16);
    // ten bytes before it: both ends go on from where the words stand
    for (const word of [0, 16]) new Int32Array(ring)[word] = limit - 10;
    const writer = new RingWriter(ring);
    const reader = new RingReader(ring);
    expect(take(reader, 100)).toEqual(new Uint8Array(0));
    let from = 0;
    for (const count of [7, 16, 16, 3]) {
      expect(writer.write(stream(from, count))).toBe(count);
      expect(take(reader, 100)).toEqual(stream(from, count));
      from += count;
    }
    expect(writer.write(stream(from, 40))).toBe(16);
    expect(writer.waits()).toBe(true);
  });

  test('behaves as a queue of bytes does, whatever is written and read', () => {
    const size = fc.integer({ min: 0, max: 200 });
    const step = fc.record({ write: size, read: size });
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 16, 64, 128), fc.array(step, { maxLength: 60 }), (capacity, steps) => {
        const { writer, reader } = ends(capacity);
        const queue: number[] = [];
        let written = 0;
        for (const { write, read } of steps) {
          const bytes = stream(written, write);
          const took = writer.write(bytes);
          expect(took).toBe(Math.min(write, capacity - queue.length));
          queue.push(...bytes.subarray(0, took));
          written += took;
          expect(Array.from(take(reader, read))).toEqual(queue.splice(0, read));
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('A reader that sleeps', () => {
  test('is woken by the next write, once', () => {
    const { writer, reader } = ends(64);
    expect(reader.sleeps()).toBe(true);
    expect(writer.wakesReader()).toBe(true);
    writer.write(stream(0, 1));
    expect(writer.wakesReader()).toBe(false);
  });

  test('stays awake where there are bytes, and is not woken then', () => {
    const { writer, reader } = ends(64);
    writer.write(stream(0, 1));
    expect(reader.sleeps()).toBe(false);
    expect(writer.wakesReader()).toBe(false);
    take(reader, 10);
    expect(reader.sleeps()).toBe(true);
    reader.wakes();
    expect(writer.wakesReader()).toBe(false);
  });
});

describe('A writer without room', () => {
  test('is woken when there is some, once', () => {
    const { writer, reader } = ends(8);
    writer.write(stream(0, 20));
    expect(writer.waits()).toBe(true);
    expect(reader.wakesWriter()).toBe(true);
    take(reader, 1);
    expect(reader.wakesWriter()).toBe(false);
  });

  test('goes on where there is some by now', () => {
    const { writer, reader } = ends(8);
    writer.write(stream(0, 20));
    take(reader, 1);
    expect(writer.waits()).toBe(false);
    expect(reader.wakesWriter()).toBe(false);
    expect(writer.write(stream(8, 20))).toBe(1);
  });
});
