import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { csvRecordEnd } from '../../src/cli/ingest/csv.js';
import { lineEnd, type RecordEnd, RecordSplitter } from '../../src/cli/ingest/lines.js';

interface Seen {
  text: string;
  offset: number;
  next: number;
  lines: number;
  tooLong: boolean;
}

function split(
  bytes: Buffer,
  cuts: readonly number[],
  { findEnd = lineEnd as RecordEnd, limit = 1 << 20, offset = 0 } = {},
): Seen[] {
  const splitter = new RecordSplitter(findEnd, offset, limit);
  const seen: Seen[] = [];
  const drain = (): void => {
    while (splitter.nextRecord()) {
      const text = splitter.bytes.toString('latin1', splitter.start, splitter.end);
      seen.push({
        text,
        offset: splitter.offset,
        next: splitter.next,
        lines: splitter.lines,
        tooLong: splitter.tooLong,
      });
    }
  };
  const bounds = [0, ...cuts, bytes.length];
  for (let index = 1; index < bounds.length; index += 1) {
    splitter.push(bytes.subarray(bounds[index - 1], bounds[index]));
    drain();
  }
  splitter.finish();
  drain();
  return seen;
}

const everyByte = (bytes: Buffer): number[] => Array.from({ length: bytes.length }, (_, index) => index);

/** Bytes of which many are line ends and quotes. */
const nasty = fc
  .array(fc.constantFrom('\n', '\r', '"', ',', 'a', 'b', '\xff'), { maxLength: 60 })
  .map((bytes) => Buffer.from(bytes.join(''), 'latin1'));

describe('splitting lines', () => {
  it('gives each line with the offset of its beginning and of the next one', () => {
    expect(split(Buffer.from('ab\ncd\r\n\nlast'), [])).toEqual([
      { text: 'ab', offset: 0, next: 3, lines: 1, tooLong: false },
      { text: 'cd', offset: 3, next: 7, lines: 1, tooLong: false },
      { text: '', offset: 7, next: 8, lines: 1, tooLong: false },
      { text: 'last', offset: 8, next: 12, lines: 1, tooLong: false },
    ]);
  });

  it('counts offsets from where it begins', () => {
    expect(split(Buffer.from('x\ny'), [], { offset: 1000 }).map(({ offset, next }) => [offset, next])).toEqual([
      [1000, 1002],
      [1002, 1003],
    ]);
  });

  it('agrees with String.split, whole and byte by byte', () => {
    fc.assert(
      fc.property(nasty, (bytes) => {
        const naive = bytes.toString('latin1').split('\n');
        if (naive.at(-1) === '') naive.pop();
        const expected = naive.map((line) => line.replace(/\r$/, ''));
        expect(split(bytes, []).map(({ text }) => text)).toEqual(expected);
        expect(split(bytes, everyByte(bytes))).toEqual(split(bytes, []));
      }),
    );
  });

  it('leaves out a byte order mark at the beginning of the stream, and only there', () => {
    const bytes = Buffer.from('\ufeffa\n\ufeffb\n');
    expect(split(bytes, []).map(({ text }) => text)).toEqual(['a', '\xef\xbb\xbfb']);
    expect(split(bytes, everyByte(bytes))).toEqual(split(bytes, []));
    expect(split(bytes, [], { offset: 10 })[0]?.text).toBe('\xef\xbb\xbfa');
  });

  it('gives up a line over the limit and goes on behind it, wherever chunks end', () => {
    fc.assert(
      fc.property(nasty, fc.constantFrom(lineEnd, csvRecordEnd), (bytes, findEnd) => {
        const whole = split(bytes, [], { findEnd, limit: 4 });
        expect(split(bytes, everyByte(bytes), { findEnd, limit: 4 })).toEqual(whole);
        for (const { text, tooLong } of whole) expect(tooLong ? text : text.slice(0, 4)).toBe(tooLong ? '' : text);
        expect(whole.reduce((sum, { next, offset }) => sum + next - offset, 0)).toBe(bytes.length);
      }),
    );
    const [first, long, last] = split(Buffer.from('abcd\nabcde\nx'), [], { limit: 4 });
    expect(first).toMatchObject({ text: 'abcd', tooLong: false });
    expect(long).toMatchObject({ text: '', offset: 5, next: 11, tooLong: true });
    expect(last).toMatchObject({ text: 'x', offset: 11 });
  });
});

describe('splitting csv records', () => {
  it('takes a quoted field with its line ends as part of one record, and counts its lines', () => {
    const bytes = Buffer.from('a,"one\ntwo\r\nthree",b\nc\n"d""\n"\n');
    expect(split(bytes, [], { findEnd: csvRecordEnd })).toMatchObject([
      { text: 'a,"one\ntwo\r\nthree",b', lines: 3 },
      { text: 'c', lines: 1 },
      { text: '"d""\n"', lines: 2 },
    ]);
  });

  it('does not let a stray quote swallow the lines behind it', () => {
    const seen = split(Buffer.from('5" nails,1\n6,"7"x\n8\n'), [], { findEnd: csvRecordEnd });
    expect(seen.map(({ text }) => text)).toEqual(['5" nails,1', '6,"7"x', '8']);
  });

  it('cuts the same records whole and byte by byte', () => {
    fc.assert(
      fc.property(nasty, (bytes) => {
        const whole = split(bytes, [], { findEnd: csvRecordEnd });
        expect(split(bytes, everyByte(bytes), { findEnd: csvRecordEnd })).toEqual(whole);
      }),
    );
  });
});
