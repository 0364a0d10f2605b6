import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ChecksummedBuffer } from '../../src/log/checksum.js';
import type { Log } from '../../src/log/log.js';
import {
  RECORD_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_PAYLOAD_BYTES,
  type RecordHeader,
  readRecordHeader,
  sealRecord,
} from '../../src/log/record.js';
import { bodyOf, byPartition, LogWriter, NO_MARK, replayAll, SHAPE, type WrittenLog } from './writer.js';

/** What survives closing a log: records by number, audit items by key in hex. */
export interface StoredLog {
  readonly records: Map<number, Uint8Array>;
  readonly audit: Map<string, Uint8Array>;
}

/** A place for one log. */
export interface LogPlace {
  open(): Log;
  /** Changes what is stored, while no log is open. */
  edit(change: (stored: StoredLog) => void): Promise<void>;
  remove(): Promise<void>;
}

/** What every implementation of Log must do. */
export function logConformance(name: string, makePlace: () => LogPlace): void {
  describe(name, () => {
    let place: LogPlace;
    let log: Log;

    beforeEach(() => {
      place = makePlace();
      log = place.open();
    });
    afterEach(async () => {
      await log.close();
      await place.remove();
    });

    const reopen = async () => {
      await log.close();
      log = place.open();
    };
    const writer = async () => new LogWriter(log, await replayAll(log));
    const edit = async (change: (stored: StoredLog) => void) => {
      await log.close();
      await place.edit(change);
      log = place.open();
    };
    /** Three groups of small entries in two partitions; six records. */
    const writeSmall = async () => {
      const small = await writer();
      for (let group = 0; group < 3; group++) {
        await small.write([
          [2, bodyOf(5 + group)],
          [3, bodyOf(7, group)],
          [2, bodyOf(0)],
        ]);
      }
      return small;
    };

    test('an empty log has no entries and ends at 0', async () => {
      const { end, entries } = await replayAll(log);
      expect(entries).toEqual([]);
      expect(end).toEqual({ ...NO_MARK, records: 0, entries: 0, bytes: 0 });
      expect(log.stats().records).toBe(0);
    });

    test('replay gives every entry, in the order of its partition', async () => {
      const small = await writeSmall();
      const { end, entries } = await replayAll(log, small.mark);
      expect(byPartition(entries)).toEqual(byPartition(small.entries));
      expect(entries).toEqual([...entries].sort((a, b) => (a.partition === b.partition ? a.sequence - b.sequence : 0)));
      expect(end).toMatchObject({ ...small.mark, records: 6, entries: 9 });
      expect(log.stats().records).toBe(6);
    });

    test('a log that is reopened has the same entries and is continued', async () => {
      const small = await writeSmall();
      await reopen();
      const first = await replayAll(log, small.mark);
      expect(byPartition(first.entries)).toEqual(byPartition(small.entries));
      const more = new LogWriter(log, first);
      await more.write([[5, bodyOf(33)]]);
      await reopen();
      const second = await replayAll(log, more.mark);
      expect(byPartition(second.entries)).toEqual(byPartition(more.entries));
      expect(second.end.records).toBe(7);
    });

    test('entries of every length about a record are joined again', async () => {
      const large = await writer();
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
      await reopen();
      const { entries } = await replayAll(log, large.mark);
      expect(byPartition(entries).map(({ sequence, body }) => [sequence, body.length])).toEqual(
        byPartition(large.entries).map(({ sequence, body }) => [sequence, body.length]),
      );
      const sound = byPartition(large.entries).every(({ body }, at) => same(body, byPartition(entries)[at]?.body));
      expect(sound).toBe(true);
    });

    test('no record is longer than 16 pages of LMDB hold', async () => {
      const large = await writer();
      await large.write([[2, bodyOf(1_048_576)]]);
      await edit(({ records }) => {
        const lengths = [...records.values()].map(({ length }) => length);
        expect(Math.max(...lengths)).toBe(RECORD_BYTES);
      });
    });

    test('audit items are stored with their group, in the order of partition and sequence', async () => {
      const small = await writer();
      const items = [
        { partition: 3, sequence: 1, value: bodyOf(20) },
        { partition: 2, sequence: 300, value: bodyOf(1) },
        { partition: 2, sequence: 2, value: bodyOf(300) },
      ];
      await small.write([[3, bodyOf(1)]], items.slice(0, 1));
      await small.write([[3, bodyOf(1)]], items.slice(1));
      await reopen();
      const visited: unknown[] = [];
      await log.audit(({ value, ...item }) => visited.push({ ...item, value: Uint8Array.from(value) }));
      expect(visited).toEqual([items[2], items[1], items[0]]);
    });

    test('more audit items than are read in a turn', async () => {
      const small = await writer();
      const items = Array.from({ length: 1_000 }, (_, sequence) => ({ partition: 2, sequence, value: bodyOf(9) }));
      await small.write([[2, bodyOf(1)]], items);
      const sequences: number[] = [];
      await log.audit(({ sequence }) => sequences.push(sequence));
      expect(sequences).toEqual(items.map(({ sequence }) => sequence));
    });

    test('a flipped bit in an audit item is LOG_CORRUPT', async () => {
      const small = await writer();
      await small.write([[3, bodyOf(1)]], [{ partition: 3, sequence: 1, value: bodyOf(20) }]);
      await edit(({ audit }) => {
        for (const value of audit.values()) value[9] = (value[9] ?? 0) ^ 4;
      });
      await expect(log.audit(() => {})).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
    });

    test('an error of the visitor ends the replay', async () => {
      await writeSmall();
      const stop = new Error('stop');
      await expect(
        log.replay(NO_MARK, () => {
          throw stop;
        }),
      ).rejects.toBe(stop);
    });

    describe('damage is LOG_CORRUPT', () => {
      const corrupted = (message: RegExp | string) =>
        expect(replayAll(log)).rejects.toMatchObject({ code: 'LOG_CORRUPT', message: expect.stringMatching(message) });

      test('a flipped bit anywhere in a record', async () => {
        const one = await writer();
        await one.write([[2, bodyOf(30)]]);
        const length = RECORD_HEADER_BYTES + 24 + 30;
        for (let at = 0; at < length; at++) {
          const flip = ({ records }: StoredLog) => {
            const record = records.get(1);
            expect(record?.length).toBe(length);
            if (record) record[at] = (record[at] ?? 0) ^ (1 << (at % 8));
          };
          await edit(flip);
          await corrupted(/^LOG_CORRUPT: Record 1 /);
          await edit(flip);
        }
        await replayAll(log, one.mark);
      });

      test('the error names partition, record, sequence and what failed', async () => {
        await writeSmall();
        await edit(({ records }) => {
          const record = records.get(4);
          if (record) record[60] = (record[60] ?? 0) ^ 1;
        });
        await corrupted(/Record 4 \(it says partition 3, sequence 2\): its CRC32C differs/);
      });

      test('a missing record', async () => {
        const small = await writeSmall();
        await edit(({ records }) => records.delete(3));
        await corrupted(/3 is missing/);
        expect(small.entries.length).toBe(9);
      });

      test('a missing first record', async () => {
        await writeSmall();
        await edit(({ records }) => records.delete(1));
        await corrupted(/1 is missing/);
      });

      test('a group without its last record', async () => {
        await writeSmall();
        await edit(({ records }) => records.delete(6));
        await corrupted(/ends within group 3/);
      });

      test('a truncated and a lengthened record', async () => {
        await writeSmall();
        let whole = new Uint8Array();
        await edit(({ records }) => {
          whole = Uint8Array.from(records.get(2) ?? []);
          records.set(2, whole.slice(0, -1));
        });
        await corrupted(/Record 2 .*payload length/);
        await edit(({ records }) => records.set(2, Uint8Array.from([...whole, 0])));
        await corrupted(/Record 2 .*payload length/);
        await edit(({ records }) => records.set(2, whole.slice(0, 10)));
        await corrupted(/Record 2: it has 10 bytes/);
      });

      test('swapped records', async () => {
        await writeSmall();
        await edit(({ records }) => swap(records, 1, 3));
        await corrupted(/Record 1 \(partition 2, sequence 3\): its group is 2 instead of 1/);
        await edit(({ records }) => {
          swap(records, 1, 3);
          swap(records, 1, 2);
        });
        // The records of a group may not change places either: the last one says so.
        await corrupted(/LOG_CORRUPT/);
      });

      test('a repeated record', async () => {
        await writeSmall();
        await edit(({ records }) => {
          for (let number = 6; number >= 3; number--) records.set(number + 1, records.get(number) ?? new Uint8Array());
          records.set(3, Uint8Array.from(records.get(1) ?? []));
        });
        await corrupted(/Record 3 /);
      });

      test('a record with a right CRC, but of a partition of another lane', async () => {
        await writeSmall();
        await edit(({ records }) => reseal(records, 6, { partition: 4 }));
        await corrupted(/Record 6 \(partition 4, sequence 3\): its partition is not one of this log/);
      });

      test.each<[string, Partial<RecordHeader>, RegExp]>([
        ['partition', { partition: 5 }, /hash of the previous record/],
        ['sequence', { firstSequence: 9 }, /its sequence should be 3/],
        ['chain', { previousHash: 1n }, /hash of the previous record/],
        ['group', { group: 4 }, /its group is 4 instead of 3/],
        ['number of entries', { entries: 2 }, /too short for its entries/],
        ['number of entries', { entries: 0 }, /longer than its entries/],
        ['flags', { flags: 4 | 2 }, /its last entry is not whole/],
        ['flags', { flags: 4 | 1 }, /its first entry is not whole/],
        ['flags', { flags: 4 | 8 }, /unknown flags/],
        ['flags', { flags: 0 }, /ends within group/],
      ])('a record with a right CRC, but another %s', async (_, changed, message) => {
        await writeSmall();
        await edit(({ records }) => reseal(records, 6, changed));
        await corrupted(message);
      });

      test('a record with a right CRC, but another payload, is caught by the next one of its partition', async () => {
        await writeSmall();
        await edit(({ records }) => {
          const record = records.get(3);
          if (record) record[RECORD_HEADER_BYTES + 24] = 0xee;
          reseal(records, 3, {});
        });
        await corrupted(/Record 5 \(partition 2, sequence 5\): its hash of the previous record differs/);
      });
    });

    describe('the head mark', () => {
      test('a log that goes on after it is sound', async () => {
        const small = await writeSmall();
        for (const mark of small.marks) {
          const { entries } = await replayAll(log, mark);
          expect(entries.length).toBe(9);
        }
      });

      test('a log that lost its last groups is LOG_CORRUPT', async () => {
        const small = await writeSmall();
        await edit(({ records }) => {
          records.delete(5);
          records.delete(6);
        });
        const [, second, third] = small.marks;
        expect((await replayAll(log, second)).entries.length).toBe(6);
        await expect(replayAll(log, third)).rejects.toMatchObject({
          code: 'LOG_CORRUPT',
          message: expect.stringMatching(/ends with group 2 \(record 4\), but group 3 was flushed/),
        });
        await edit(({ records }) => records.clear());
        await expect(replayAll(log, second)).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
      });

      test('a last record that was rewritten with a right CRC is LOG_CORRUPT', async () => {
        const small = await writeSmall();
        await edit(({ records }) => {
          const record = records.get(6);
          if (record) record[RECORD_HEADER_BYTES + 24] = 0xee;
          reseal(records, 6, {});
        });
        expect((await replayAll(log)).entries.length).toBe(9);
        await expect(replayAll(log, small.mark)).rejects.toMatchObject({
          code: 'LOG_CORRUPT',
          message: expect.stringMatching(
            /partition 3 is at sequence 3, but the head mark says sequence 3 with another hash/,
          ),
        });
      });
    });

    test('records of another kernel version are DIRECTORY_INVALID, not corruption', async () => {
      const empty: WrittenLog = await replayAll(log);
      const other = new LogWriter(log, empty, { ...SHAPE, kernelVersion: 8 });
      await other.write([[2, bodyOf(3)]]);
      await expect(replayAll(log)).rejects.toMatchObject({ code: 'DIRECTORY_INVALID' });
    });
  });
}

function same(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && Buffer.compare(a, b) === 0;
}

function swap(records: Map<number, Uint8Array>, a: number, b: number): void {
  const first = records.get(a);
  const second = records.get(b);
  if (!first || !second) throw new Error('No such records.');
  records.set(a, second);
  records.set(b, first);
}

/** Gives a record other header fields, with a right CRC. */
function reseal(records: Map<number, Uint8Array>, number: number, changed: Partial<RecordHeader>): void {
  const record = records.get(number);
  if (!record) throw new Error('No such record.');
  const buffer = new ChecksummedBuffer(record.length);
  buffer.bytes.set(record);
  sealRecord(buffer, 0, { ...readRecordHeader(buffer.view, 0), ...changed });
  records.set(number, Uint8Array.from(buffer.bytes));
}
