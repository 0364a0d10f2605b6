import { describe, expect, test } from 'vitest';
import { ChecksummedBuffer } from '../../src/log/checksum.js';
import { RECORD_HEADER_BYTES, type RecordHeader, readRecordHeader, sealRecord } from '../../src/log/record.js';
import { LogFixture, type LogHome, type StoredSegment } from './fixture.js';
import { bodyOf, replayAll } from './writer.js';

/** What every implementation of Log must find. */
export function damageConformance(name: string, makeHome: () => Promise<LogHome>): void {
  describe(name, () => {
    const fixture = new LogFixture(makeHome);

    describe('damage is LOG_CORRUPT', () => {
      const corrupted = (message: RegExp | string) =>
        expect(replayAll(fixture.log)).rejects.toMatchObject({
          code: 'LOG_CORRUPT',
          message: expect.stringMatching(message),
        });

      test('a flipped bit anywhere in a record', async () => {
        const one = await fixture.writer();
        await one.write([[2, bodyOf(30)]]);
        const length = RECORD_HEADER_BYTES + 24 + 30;
        for (let at = 0; at < length; at++) {
          const flip = ({ records }: StoredSegment) => {
            const record = records.get(1);
            expect(record?.length).toBe(length);
            if (record) record[at] = (record[at] ?? 0) ^ (1 << (at % 8));
          };
          await fixture.edit(flip);
          await corrupted(/^LOG_CORRUPT: Record 1 /);
          await fixture.edit(flip);
        }
        await replayAll(fixture.log, one.mark);
      });

      test('the error names partition, record, sequence and what failed', async () => {
        await fixture.writeSmall();
        await fixture.edit(({ records }) => {
          const record = records.get(4);
          if (record) record[60] = (record[60] ?? 0) ^ 1;
        });
        await corrupted(/Record 4 \(it says partition 3, sequence 2\): its CRC32C differs/);
      });

      test('a missing record', async () => {
        const small = await fixture.writeSmall();
        await fixture.edit(({ records }) => records.delete(3));
        await corrupted(/3 is missing/);
        expect(small.entries.length).toBe(9);
      });

      test('a missing first record', async () => {
        await fixture.writeSmall();
        await fixture.edit(({ records }) => records.delete(1));
        await corrupted(/1 is missing/);
      });

      test('a group without its last record', async () => {
        await fixture.writeSmall();
        await fixture.edit(({ records }) => records.delete(6));
        await corrupted(/ends within group 3/);
      });

      test('a truncated and a lengthened record', async () => {
        await fixture.writeSmall();
        let whole = new Uint8Array();
        await fixture.edit(({ records }) => {
          whole = Uint8Array.from(records.get(2) ?? []);
          records.set(2, whole.slice(0, -1));
        });
        await corrupted(/Record 2 .*payload length/);
        await fixture.edit(({ records }) => records.set(2, Uint8Array.from([...whole, 0])));
        await corrupted(/Record 2 .*payload length/);
        await fixture.edit(({ records }) => records.set(2, whole.slice(0, 10)));
        await corrupted(/Record 2: it has 10 bytes/);
      });

      test('swapped records', async () => {
        await fixture.writeSmall();
        await fixture.edit(({ records }) => swap(records, 1, 3));
        await corrupted(/Record 1 \(partition 2, sequence 3\): its group is 2 instead of 1/);
        await fixture.edit(({ records }) => {
          swap(records, 1, 3);
          swap(records, 1, 2);
        });
        // The records of a group may not change places either: the last one says so.
        await corrupted(/LOG_CORRUPT/);
      });

      test('a repeated record', async () => {
        await fixture.writeSmall();
        await fixture.edit(({ records }) => {
          for (let number = 6; number >= 3; number--) records.set(number + 1, records.get(number) ?? new Uint8Array());
          records.set(3, Uint8Array.from(records.get(1) ?? []));
        });
        await corrupted(/Record 3 /);
      });

      test('a record with a right CRC, but of a partition of another lane', async () => {
        await fixture.writeSmall();
        await fixture.edit(({ records }) => reseal(records, 6, { partition: 4 }));
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
        await fixture.writeSmall();
        await fixture.edit(({ records }) => reseal(records, 6, changed));
        await corrupted(message);
      });

      test('a record with a right CRC, but another payload, is caught by the next one of its partition', async () => {
        await fixture.writeSmall();
        await fixture.edit(({ records }) => {
          const record = records.get(3);
          if (record) record[RECORD_HEADER_BYTES + 24] = 0xee;
          reseal(records, 3, {});
        });
        await corrupted(/Record 5 \(partition 2, sequence 5\): its hash of the previous record differs/);
      });
    });

    describe('the head mark', () => {
      test('a log that goes on after it is sound', async () => {
        const small = await fixture.writeSmall();
        for (const mark of small.marks) {
          const { entries } = await replayAll(fixture.log, mark);
          expect(entries.length).toBe(9);
        }
      });

      test('a log that lost its last groups is LOG_CORRUPT', async () => {
        const small = await fixture.writeSmall();
        await fixture.edit(({ records }) => {
          records.delete(5);
          records.delete(6);
        });
        const [, second, third] = small.marks;
        expect((await replayAll(fixture.log, second)).entries.length).toBe(6);
        await expect(replayAll(fixture.log, third)).rejects.toMatchObject({
          code: 'LOG_CORRUPT',
          message: expect.stringMatching(/ends with group 2 \(record 4\), but group 3 was flushed/),
        });
        await fixture.edit(({ records }) => records.clear());
        await expect(replayAll(fixture.log, second)).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
      });

      test('a last record that was rewritten with a right CRC is LOG_CORRUPT', async () => {
        const small = await fixture.writeSmall();
        await fixture.edit(({ records }) => {
          const record = records.get(6);
          if (record) record[RECORD_HEADER_BYTES + 24] = 0xee;
          reseal(records, 6, {});
        });
        expect((await replayAll(fixture.log)).entries.length).toBe(9);
        await expect(replayAll(fixture.log, small.mark)).rejects.toMatchObject({
          code: 'LOG_CORRUPT',
          message: expect.stringMatching(
            /partition 3 is at sequence 3, but the head mark says sequence 3 with another hash/,
          ),
        });
      });
    });
  });
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
