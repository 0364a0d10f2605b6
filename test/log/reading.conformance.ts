import { describe, expect, test } from 'vitest';
import type { LogPlace, PartitionPlace } from '../../src/log/log.js';
import type { LogEntry } from '../../src/log/record.js';
import { LogFixture, type LogHome, type StoredSegment } from './fixture.js';
import { bodyOf, byPartition, NO_MARK, partitionPlace, replayAll, SHAPE } from './writer.js';

/** What every implementation of Log and LogReader must do about parts of a log. */
export function readingConformance(name: string, makeHome: () => Promise<LogHome>): void {
  describe(name, () => {
    const fixture = new LogFixture(makeHome);

    describe('from checkpoints', () => {
      const replayFrom = (from: ReadonlyMap<number, PartitionPlace>, mark = NO_MARK) =>
        replayAll(fixture.log, mark, from);
      const at = (place: LogPlace, partition: number) => [partition, partitionPlace(place, partition)] as const;

      test('replay visits what each partition does not have yet', async () => {
        const small = await fixture.writeSmall();
        for (const a of small.places) {
          for (const b of small.places) {
            const from = new Map([at(a, 2), at(b, 3)]);
            const { entries, end } = await replayFrom(from, small.mark);
            const wanted = small.entries.filter(
              ({ partition, sequence }) => sequence > (from.get(partition)?.sequence ?? 0),
            );
            expect(byPartition(entries)).toEqual(byPartition(wanted));
            expect(end).toMatchObject({ ...small.places.at(-1), entries: wanted.length });
          }
        }
      });

      test('a checkpoint that the chain does not pass through is LOG_CORRUPT', async () => {
        const small = await fixture.writeSmall();
        const [, first, second, third] = small.places as [LogPlace, LogPlace, LogPlace, LogPlace];
        const wrong: PartitionPlace[] = [
          { ...partitionPlace(second, 3), hash: 1n },
          { ...partitionPlace(second, 3), sequence: 3 },
          { ...partitionPlace(second, 3), group: 3 },
          { ...partitionPlace(third, 3), hash: 1n },
        ];
        for (const place of wrong) {
          await expect(replayFrom(new Map([at(first, 2), [3, place]]))).rejects.toMatchObject({
            code: 'LOG_CORRUPT',
            message: expect.stringMatching(/partition 3 is at sequence \d, but its checkpoint says sequence \d/),
          });
        }
        await expect(replayFrom(new Map([[3, { ...partitionPlace(third, 3), group: 4 }]]))).rejects.toMatchObject({
          code: 'LOG_CORRUPT',
          message: expect.stringMatching(/ends with group 3 .* checkpoint of partition 3 is of group 4/),
        });
      });
    });

    describe('a reader of one partition', () => {
      const read = async (partition: number, after: LogPlace, to: LogPlace) => {
        const reader = fixture.home.read();
        const entries: LogEntry[] = [];
        const visit = (entry: LogEntry) => entries.push({ ...entry, body: Uint8Array.from(entry.body) });
        const range = { partition, after: partitionPlace(after, partition), to: partitionPlace(to, partition), visit };
        await reader.readPartition(range);
        return entries;
      };

      test('visits its entries after a place and up to another', async () => {
        const small = await fixture.writeSmall();
        small.places.forEach((_, first) => {
          expect(small.places[first]?.group).toBe(first);
        });
        for (const [first, after] of small.places.entries()) {
          for (const to of small.places.slice(first)) {
            for (const partition of SHAPE.partitions) {
              const [low, high] = [after, to].map((place) => partitionPlace(place, partition).sequence) as [
                number,
                number,
              ];
              const wanted = small.entries.filter(
                (entry) => entry.partition === partition && entry.sequence > low && entry.sequence <= high,
              );
              expect(await read(partition, after, to)).toEqual(wanted);
            }
          }
        }
      });

      test('sees what was flushed after it was opened', async () => {
        const small = await fixture.writeSmall();
        const reader = fixture.home.read();
        const entries: number[] = [];
        const visit = ({ sequence }: LogEntry) => entries.push(sequence);
        for (let group = 0; group < 3; group++) {
          const [before] = small.places.slice(-1) as [LogPlace];
          await small.write([[2, bodyOf(9)]]);
          const [after] = small.places.slice(-1) as [LogPlace];
          await reader.readPartition({
            partition: 2,
            after: partitionPlace(before, 2),
            to: partitionPlace(after, 2),
            visit,
          });
        }
        expect(entries).toEqual([7, 8, 9]);
      });

      test('joins entries that lie in several records', async () => {
        const large = await fixture.writer();
        await large.write([
          [2, bodyOf(200_000)],
          [3, bodyOf(100_000)],
          [2, bodyOf(5)],
        ]);
        const [begin, end] = large.places as [LogPlace, LogPlace];
        const lengths = (await read(2, begin, end)).map(({ body }) => body.length);
        expect(lengths).toEqual([200_000, 5]);
      });

      test('a damaged or missing record of the partition is LOG_CORRUPT, one of another is passed over', async () => {
        const small = await fixture.writeSmall();
        const [begin, , , end] = small.places as [LogPlace, LogPlace, LogPlace, LogPlace];
        // Records 1, 3, 5 are of partition 2; 2, 4, 6 of partition 3.
        for (const number of [1, 3, 5]) {
          const flip = ({ records }: StoredSegment) => {
            const record = records.get(number) as Uint8Array;
            record[60] = (record[60] as number) ^ 1;
          };
          await fixture.edit(flip);
          await expect(read(2, begin, end)).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
          expect(await read(3, begin, end)).toHaveLength(3);
          await fixture.edit(flip);
          // It says that it is of another partition.
          const lie = ({ records }: StoredSegment) => {
            const record = records.get(number) as Uint8Array;
            record[28] = (record[28] as number) ^ 1;
          };
          await fixture.edit(lie);
          await expect(read(2, begin, end)).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
          await fixture.edit(lie);
        }
        await fixture.edit(({ records }) => records.delete(3));
        await expect(read(2, begin, end)).rejects.toMatchObject({
          code: 'LOG_CORRUPT',
          message: expect.stringMatching(/Record 3 is missing/),
        });
      });

      test('a chain that does not lead from the one place to the other is LOG_CORRUPT', async () => {
        const small = await fixture.writeSmall();
        const [begin, first, , end] = small.places as [LogPlace, LogPlace, LogPlace, LogPlace];
        const forged = (place: LogPlace): LogPlace => ({
          ...place,
          heads: new Map([...place.heads].map(([partition, head]) => [partition, { ...head, hash: head.hash ^ 1n }])),
        });
        await expect(read(2, forged(first), end)).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
        await expect(read(2, begin, forged(end))).rejects.toMatchObject({
          code: 'LOG_CORRUPT',
          message: expect.stringMatching(/Partition 2 is at sequence 6 with another hash after record 6/),
        });
        await expect(read(2, begin, { ...end, records: 4 })).rejects.toMatchObject({
          code: 'LOG_CORRUPT',
          message: expect.stringMatching(/Partition 2 is at sequence 4 instead of 6 after record 4/),
        });
      });
    });
  });
}
