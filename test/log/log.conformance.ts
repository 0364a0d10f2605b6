import { describe, expect, test } from 'vitest';
import { PAGE_HEADER_BYTES } from '../../src/log/lmdb-pages.js';
import { RECORD_PAYLOAD_BYTES } from '../../src/log/record.js';
import { firstPlace } from '../../src/log/replay.js';
import { LogFixture, type LogHome } from './fixture.js';
import { bodyOf, byPartition, LogWriter, NO_MARK, replayAll, SHAPE, type WrittenLog } from './writer.js';

/** What every implementation of Log must do. */
export function logConformance(name: string, makeHome: () => Promise<LogHome>): void {
  describe(name, () => {
    const fixture = new LogFixture(makeHome);

    test('an empty log has no entries and ends at 0', async () => {
      const { end, entries } = await replayAll(fixture.log);
      expect(entries).toEqual([]);
      expect(end).toEqual({ ...firstPlace(SHAPE), begin: firstPlace(SHAPE), entries: 0 });
    });

    test('replay gives every entry, in the order of its partition', async () => {
      const small = await fixture.writeSmall();
      const { end, entries } = await replayAll(fixture.log, small.mark);
      expect(byPartition(entries)).toEqual(byPartition(small.entries));
      expect(entries).toEqual([...entries].sort((a, b) => (a.partition === b.partition ? a.sequence - b.sequence : 0)));
      expect(end).toMatchObject({ ...small.mark, records: 6, entries: 9 });
    });

    test('a log that is reopened has the same entries and is continued', async () => {
      const small = await fixture.writeSmall();
      await fixture.reopen();
      const first = await replayAll(fixture.log, small.mark);
      expect(byPartition(first.entries)).toEqual(byPartition(small.entries));
      const more = new LogWriter(fixture.log, first);
      await more.write([[5, bodyOf(33)]]);
      await fixture.reopen();
      const second = await replayAll(fixture.log, more.mark);
      expect(byPartition(second.entries)).toEqual(byPartition(more.entries));
      expect(second.end.records).toBe(7);
    });

    test('entries of every length about a record are joined again', async () => {
      const large = await fixture.writer();
      const room = RECORD_PAYLOAD_BYTES - 24;
      for (const length of [
        room - 25,
        room - 24,
        room - 23,
        room - 1,
        room,
        room + 1,
        2 * room,
        3 * room + 48,
        1_048_576,
      ]) {
        await large.write([
          [2, bodyOf(3)],
          [5, bodyOf(length)],
          [2, bodyOf(length, 2)],
          [5, bodyOf(1)],
        ]);
      }
      await fixture.reopen();
      const { entries } = await replayAll(fixture.log, large.mark);
      expect(byPartition(entries).map(({ sequence, body }) => [sequence, body.length])).toEqual(
        byPartition(large.entries).map(({ sequence, body }) => [sequence, body.length]),
      );
      const sound = byPartition(large.entries).every(({ body }, at) => same(body, byPartition(entries)[at]?.body));
      expect(sound).toBe(true);
    });

    test('no record is longer than 16 pages of LMDB hold', async () => {
      const large = await fixture.writer();
      await large.write([[2, bodyOf(1_048_576)]]);
      await fixture.edit(({ records }) => {
        const lengths = [...records.values()].map(({ length }) => length);
        expect(Math.max(...lengths)).toBe(16 * 4_096 - PAGE_HEADER_BYTES);
      });
    });

    test('audit items are stored with their group, in the order of partition and sequence', async () => {
      const small = await fixture.writer();
      const items = [
        { partition: 3, sequence: 1, value: bodyOf(20) },
        { partition: 2, sequence: 300, value: bodyOf(1) },
        { partition: 2, sequence: 2, value: bodyOf(300) },
      ];
      await small.write([[3, bodyOf(1)]], items.slice(0, 1));
      await small.write([[3, bodyOf(1)]], items.slice(1));
      await fixture.reopen();
      const visited: unknown[] = [];
      await fixture.log.audit(({ value, ...item }) => visited.push({ ...item, value: Uint8Array.from(value) }));
      expect(visited).toEqual([items[2], items[1], items[0]]);
    });

    test('more audit items than are read in a turn', async () => {
      const small = await fixture.writer();
      const items = Array.from({ length: 1_000 }, (_, sequence) => ({ partition: 2, sequence, value: bodyOf(9) }));
      await small.write([[2, bodyOf(1)]], items);
      const sequences: number[] = [];
      await fixture.log.audit(({ sequence }) => sequences.push(sequence));
      expect(sequences).toEqual(items.map(({ sequence }) => sequence));
    });

    test('a flipped bit in an audit item is LOG_CORRUPT', async () => {
      const small = await fixture.writer();
      await small.write([[3, bodyOf(1)]], [{ partition: 3, sequence: 1, value: bodyOf(20) }]);
      await fixture.edit(({ audit }) => {
        for (const value of audit.values()) value[9] = (value[9] ?? 0) ^ 4;
      });
      await expect(fixture.log.audit(() => {})).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
    });

    test('an error of the visitor ends the replay', async () => {
      await fixture.writeSmall();
      const stop = new Error('stop');
      await expect(
        fixture.log.replay({
          mark: NO_MARK,
          visit: () => {
            throw stop;
          },
        }),
      ).rejects.toBe(stop);
    });

    test('records of another kernel version are DIRECTORY_INVALID, not corruption', async () => {
      const empty: WrittenLog = await replayAll(fixture.log);
      const other = new LogWriter(fixture.log, empty, { ...SHAPE, kernelVersion: 8 });
      await other.write([[2, bodyOf(3)]]);
      await expect(replayAll(fixture.log)).rejects.toMatchObject({ code: 'DIRECTORY_INVALID' });
    });
  });
}

function same(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && Buffer.compare(a, b) === 0;
}
