import { describe, expect, it } from 'vitest';
import { CURSOR_BYTES, Cursors, HEAD_BYTES } from '../../src/cli/ingest/cursor.js';
import { recipe } from './ingesting.js';

const what = { count: ['a:{x}', 'b:{x}'], sum: ['s:{x}=y'], where: ['z=1'] };
const head = Buffer.alloc(HEAD_BYTES, 'line\n');

describe('a cursor', () => {
  it('gives back its place, in at most 64 bytes', () => {
    const cursors = new Cursors(recipe('csv', what));
    for (const place of [
      { offset: 5, lines: 1 },
      { offset: 2 ** 52 + 1, lines: 2 ** 40 },
    ]) {
      const cursor = cursors.encode(place, head);
      expect(cursor.length).toBe(CURSOR_BYTES);
      expect(CURSOR_BYTES).toBeLessThanOrEqual(64);
      expect(cursors.decode(cursor)).toEqual(place);
      cursors.checkIdentity(cursor, place, head);
    }
  });

  it.each([
    ['--format', 'ndjson', what],
    ['--count', 'csv', { ...what, count: ['a:{x}'] }],
    ['--count', 'csv', { ...what, count: ['a:{x}', 'b:{x}', 'b:{x}'] }],
    ['--sum', 'csv', { ...what, sum: ['s:{x}=z'] }],
    ['--where', 'csv', { ...what, where: ['z=2'] }],
    ['--time', 'csv', { ...what, time: 't' }],
    ['--format, --where', 'combined', { ...what, where: [] }],
  ] as const)('is refused where %s differs', (difference, format, changed) => {
    const cursor = new Cursors(recipe('csv', what)).encode({ offset: 5, lines: 1 }, head);
    const other = new Cursors(recipe(format, { ...changed, count: [...changed.count] } as typeof what));
    expect(() => other.decode(cursor)).toThrow(
      `INPUT_CHANGED: The producer began with other options; what differs: ${difference}.`,
    );
  });

  it('does not mind the order of the options', () => {
    const cursor = new Cursors(recipe('csv', what)).encode({ offset: 5, lines: 1 }, head);
    const other = new Cursors(recipe('csv', { ...what, count: ['b:{x}', 'a:{x}'] }));
    expect(other.decode(cursor).offset).toBe(5);
  });

  it('is refused where something else wrote it', () => {
    const cursors = new Cursors(recipe('csv', what));
    const cursor = cursors.encode({ offset: 5, lines: 1 }, head);
    cursor[0] = 2;
    for (const bytes of [cursor, new Uint8Array(0), new Uint8Array(60)])
      expect(() => cursors.decode(bytes)).toThrow('used by something else');
  });

  it('knows its input by the bytes before the offset, 64 KiB of them at most', () => {
    const cursors = new Cursors(recipe('csv', what));
    const grown = Buffer.concat([head.subarray(0, 10), Buffer.from('more')]);
    const early = { offset: 10, lines: 2 };
    const cursor = cursors.encode(early, head.subarray(0, 10));
    cursors.checkIdentity(cursor, early, grown);
    expect(() => cursors.checkIdentity(cursor, early, Buffer.from('lines\nline'))).toThrow('its first bytes differ');
    expect(() => cursors.checkIdentity(cursor, early, head.subarray(0, 9))).toThrow('shorter than the 10 bytes');

    const late = { offset: 1e6, lines: 2 };
    const changed = Buffer.from(head);
    changed[HEAD_BYTES - 1] = 0;
    expect(() => cursors.checkIdentity(cursors.encode(late, head), late, changed)).toThrow('its first bytes differ');
  });
});
