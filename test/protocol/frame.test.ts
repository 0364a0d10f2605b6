import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TallystickError } from '../../src/errors.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { encodeFrame, FrameReader, FrameStock, finishFrame, writeHeader } from '../../src/protocol/frame.js';

interface Frame {
  opcode: number;
  flags: number;
  partition: number;
  requestId: number;
  body: number[];
}

const frames = fc.array(
  fc.record({
    opcode: fc.nat(255),
    flags: fc.nat(255),
    partition: fc.nat(0xffff),
    requestId: fc.nat(0xffffffff),
    body: fc.array(fc.nat(255), { maxLength: 40 }),
  }),
  { maxLength: 12 },
);

const encode = ({ opcode, flags, partition, requestId, body }: Frame) =>
  encodeFrame(opcode, flags, partition, requestId, Uint8Array.from(body));

const stream = (list: readonly Frame[]) => Uint8Array.from(list.flatMap((frame) => [...encode(frame)]));

/** Pushes the bytes in chunks that end at the given places; each chunk is overwritten after its push. */
function readIn(bytes: Uint8Array, cuts: readonly number[], reader = new FrameReader()): Frame[] {
  const read: Frame[] = [];
  const ends = [...new Set([...cuts.filter((cut) => cut < bytes.length), bytes.length])].sort((a, b) => a - b);
  let start = 0;
  for (const end of ends) {
    const chunk = bytes.slice(start, end);
    const taken = reader.push(chunk, (frame) => read.push({ ...frame, body: [...frame.body] }));
    expect(taken).toBe(chunk.length);
    chunk.fill(0xee);
    start = end;
  }
  return read;
}

const codeOf = (act: () => unknown) => {
  try {
    act();
  } catch (error) {
    return error instanceof TallystickError ? error.code : error;
  }
  return 'none';
};

describe('A reader of frames', () => {
  test('gives the frames of a stream, whole, byte by byte and in any chunks', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.nat(600)), (list, cuts) => {
        const bytes = stream(list);
        expect(readIn(bytes, [])).toEqual(list);
        expect(readIn(bytes, [...bytes.keys()])).toEqual(list);
        expect(readIn(bytes, cuts)).toEqual(list);
      }),
    );
  });

  test('gives a view into the chunk where the frame lies whole in it', () => {
    const bytes = encodeFrame(4, 0, 0, 1, Uint8Array.of(1, 2, 3));
    new FrameReader().push(bytes, ({ body }) => {
      expect(body.buffer).toBe(bytes.buffer);
      expect(body.byteOffset).toBe(bytes.byteOffset + 12);
    });
  });

  test.each([100_000, 900_000])(
    'reads long frames that come in parts into arrays that are used again, by one reader after the other: %i bytes',
    (size) => {
      const stock = new FrameStock();
      const readers = [new FrameReader(undefined, stock), new FrameReader(undefined, stock)];
      const buffers = new Set<ArrayBufferLike>();
      for (let i = 0; i < 10; i++) {
        const bytes = encodeFrame(4, 0, 0, i, new Uint8Array(size).fill(i + 1));
        const read: boolean[] = [];
        for (const part of [bytes.subarray(0, 0.9 * size), bytes.subarray(0.9 * size)])
          readers[i % 2]?.push(part, ({ body }) => {
            buffers.add(body.buffer);
            read.push(body.length === size && body.every((byte) => byte === i + 1));
          });
        expect(read).toEqual([true]);
      }
      expect(buffers.size).toBeLessThanOrEqual(3);
    },
  );

  test('reads long frames that come at the same time into arrays of their own, however many were used before', () => {
    const stock = new FrameStock();
    const readers = [new FrameReader(undefined, stock), new FrameReader(undefined, stock)];
    const whole = encodeFrame(4, 0, 0, 1, new Uint8Array(200_000));
    for (const part of [whole.subarray(0, 150_000), whole.subarray(150_000)])
      for (const reader of readers) reader.push(part, () => {});
    const bytes = encodeFrame(4, 0, 0, 1, new Uint8Array(100_000).fill(7));
    const other = encodeFrame(4, 0, 0, 1, new Uint8Array(100_000).fill(9));
    const seen: number[] = [];
    const see = ({ body }: { body: Uint8Array }) => seen.push(...new Set(body));
    for (const [from, to] of [
      [0, 70_000],
      [70_000, 110_000],
    ]) {
      readers[0]?.push(bytes.subarray(from, to), see);
      readers[1]?.push(other.subarray(from, to), see);
    }
    expect(seen).toEqual([7, 9]);
  });

  test('says whether it keeps the start of a frame', () => {
    const bytes = encodeFrame(4, 0, 0, 1, new Uint8Array(10));
    const reader = new FrameReader();
    for (const [i, byte] of bytes.entries()) {
      expect(reader.hasPartial).toBe(i > 0);
      reader.push(Uint8Array.of(byte), () => {});
    }
    expect(reader.hasPartial).toBe(false);
  });

  test('stops after the frame in which it is told to, and goes on with the rest', () => {
    fc.assert(
      fc.property(frames, fc.nat(600), (list, cut) => {
        const bytes = stream(list);
        const reader = new FrameReader();
        const read: Frame[] = [];
        let calls = 0;
        for (let rest of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
          while (rest.length > 0) {
            calls = 0;
            const taken = reader.push(rest, (frame) => {
              calls++;
              read.push({ ...frame, body: [...frame.body] });
              reader.stop();
            });
            expect(calls).toBeLessThanOrEqual(1);
            rest = rest.subarray(taken);
          }
        }
        expect(read).toEqual(list);
      }),
    );
  });

  test('refuses a length outside the limits as soon as it is there, and takes both limits themselves', () => {
    const limit = 100;
    const header = (length: number) =>
      Uint8Array.of(length & 255, (length >> 8) & 255, (length >> 16) & 255, length >>> 24);
    for (const cuts of [[], [1, 2, 3]]) {
      for (const [length, code] of [
        [0, 'BAD_REQUEST'],
        [7, 'BAD_REQUEST'],
        [101, 'FRAME_TOO_LARGE'],
        [0xffffffff, 'FRAME_TOO_LARGE'],
      ] as const) {
        expect(codeOf(() => readIn(header(length), cuts, new FrameReader(limit)))).toBe(code);
      }
      for (const body of [0, 92]) {
        expect(readIn(encodeFrame(1, 0, 0, 0, new Uint8Array(body)), cuts, new FrameReader(limit))).toHaveLength(1);
      }
    }
  });

  test('keeps to a limit that changes between two frames of one chunk', () => {
    const big = encodeFrame(4, 0, 0, 2, new Uint8Array(5000));
    const chunk = Uint8Array.from([...encodeFrame(1, 0, 0, 1, new Uint8Array(0)), ...big]);
    const reader = new FrameReader(1024);
    const ids: number[] = [];
    reader.push(chunk, ({ requestId }) => {
      ids.push(requestId);
      reader.limit = 10_000;
    });
    expect(ids).toEqual([1, 2]);
    expect(codeOf(() => new FrameReader(1024).push(chunk, () => {}))).toBe('FRAME_TOO_LARGE');
  });

  test('allocates for the bytes that came, not for those that a length promises', () => {
    const started = encodeFrame(4, 0, 0, 1, new Uint8Array(1_048_000)).subarray(0, 100);
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 200 }, () => {
      const reader = new FrameReader();
      reader.push(started, () => {});
      return reader;
    });
    const grown = process.memoryUsage().arrayBuffers - before;
    expect(readers.every(({ hasPartial }) => hasPartial)).toBe(true);
    expect(grown).toBeLessThan(2_000_000);
  });

  test('gives a large frame that came in chunks, and the small ones after it', () => {
    const body = Uint8Array.from({ length: 1_000_000 }, (_, i) => i * 7);
    const bytes = Buffer.concat([encodeFrame(4, 0, 0, 1, body), encodeFrame(2, 0, 0, 2, Uint8Array.of(5))]);
    const reader = new FrameReader();
    const read: [number, boolean][] = [];
    for (let start = 0; start < bytes.length; start += 65_536) {
      reader.push(bytes.subarray(start, start + 65_536), (frame) => {
        read.push([frame.requestId, Buffer.compare(frame.body, frame.requestId === 1 ? body : Uint8Array.of(5)) === 0]);
      });
    }
    expect(read).toEqual([
      [1, true],
      [2, true],
    ]);
  });
});

describe('A stock of arrays', () => {
  test('gives what is wanted where it is there, else what will do, and makes no more than is needed', () => {
    const stock = new FrameStock();
    const [small, large] = [stock.take(70_000, 900_000), stock.take(500_000, 0)];
    expect([small.length, large.length]).toEqual([131_072, 524_288]);
    for (const array of [small, large]) stock.give(array);
    expect(stock.take(70_000, 400_000)).toBe(large);
    expect(stock.take(70_000, 400_000)).toBe(small);
    expect(stock.take(70_000, 400_000).length).toBe(131_072);
    stock.give(small);
    expect(stock.take(131_073, 131_073)).not.toBe(small);
  });

  test('forgets what it keeps when it is cleared', () => {
    const stock = new FrameStock();
    const taken = Array.from({ length: 8 }, () => stock.take(1_000_000, 0));
    for (const array of taken) stock.give(array);
    stock.clear();
    expect(taken).not.toContain(stock.take(1_000_000, 0));
    // and counts anew
    for (const array of taken) stock.give(array);
    expect(taken).toContain(stock.take(1_000_000, 0));
  });

  test('keeps 8 MiB at most', () => {
    const stock = new FrameStock();
    const taken = Array.from({ length: 20 }, () => stock.take(1_000_000, 0));
    for (const array of taken) stock.give(array);
    const again = Array.from({ length: 20 }, () => stock.take(1_000_000, 0));
    expect(again.filter((array) => taken.includes(array)).length).toBe(8);
  });
});

test('Frames are written behind one another into one writer', () => {
  const writer = new ByteWriter(1);
  for (const requestId of [1, 2]) {
    const start = writeHeader(writer, 4, 8, 3, requestId);
    writer.bytes(new Uint8Array(requestId * 100).fill(requestId));
    finishFrame(writer, start);
  }
  expect(readIn(writer.copy(), []).map(({ requestId, body }) => [requestId, body.length])).toEqual([
    [1, 100],
    [2, 200],
  ]);
});
