import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CounterKey, HistoryItem } from '../../src/history/bucket.js';
import { checkHistory } from '../../src/history/check.js';
import { copyOf } from '../../src/history/copy.js';
import { History } from '../../src/history/history.js';
import { partsOf } from '../../src/history/key.js';
import { DEFAULT_RETENTION } from '../../src/history/roll-up.js';
import { RowCodec } from '../../src/history/row.js';
import type { HistoryTables } from '../../src/history/tables.js';
import { type HistoryHome, plannerOf, rollUp } from './homes.js';
import { counterOf, DAY, goneAt, HOUR, NOW, rowAt, textOf, upTo } from './rows.js';

/** What history must do over every implementation of its tables. */
export function historyConformance(name: string, makeHome: () => HistoryHome): void {
  describe(name, () => {
    let home: HistoryHome;
    let tables: HistoryTables;
    let history: History;

    const open = () => {
      tables = home.open();
      history = new History(tables);
    };
    beforeEach(() => {
      home = makeHome();
      open();
    });
    afterEach(async () => {
      await history.close();
      await home.remove();
    });

    const reopen = async () => {
      await history.close();
      open();
    };
    const commit = async (asOf: number, ...rows: HistoryItem[]) => {
      expect(await history.commit(3, upTo(asOf), rows)).toEqual({ kind: 'flushed' });
    };
    const read = (counter: CounterKey, from = NOW - 400 * DAY, to = NOW + DAY) =>
      textOf(history.read(counter, from, to), NOW);
    /** Rolls up until nothing is due; the number of steps. */
    const rollUpAll = async (now: number, partition = 3, dayDays = DEFAULT_RETENTION.dayDays) => {
      for (let steps = 0; ; steps++) {
        const request = { partition, retention: { ...DEFAULT_RETENTION, dayDays }, now };
        const outcome = await rollUp(history, plannerOf(tables), request);
        if (!outcome) return steps;
        expect(outcome).toEqual({ kind: 'flushed' });
      }
    };
    const a = counterOf(5);
    const b = counterOf(6);

    test('an empty history has no watermark and keeps nothing', () => {
      expect(history.place(3).watermark).toBe(0);
      expect(history.read(a, 0, NOW)).toEqual({ watermark: 0, items: 0, buckets: [] });
    });

    test('what was committed is read, also when it is reopened', async () => {
      await commit(
        7,
        rowAt(a, NOW, 6, { 0: 1n, 59: -2n }),
        rowAt(b, NOW, 7, { 3: 9n }),
        rowAt(a, NOW + HOUR, 7, { 1: 5n }),
      );
      const expected = ['minute 0d 0:00 1', 'minute 0d 0:59 -2', 'minute 0d 1:01 5'];
      expect(read(a)).toEqual(expected);
      expect(read(b)).toEqual(['minute 0d 0:03 9']);
      await reopen();
      expect(read(a)).toEqual(expected);
      expect(history.place(3).watermark).toBe(7);
    });

    test('rows of the same hour add up, of other sequences and of the same', async () => {
      await commit(5, rowAt(a, NOW, 5, { 0: 1n, 1: 1n }), rowAt(a, NOW, 5, { 1: 2n, 2: 0n }));
      await commit(9, rowAt(a, NOW, 8, { 1: 10n }), rowAt(a, NOW, 9, { 1: 100n }));
      expect(read(a)).toEqual(['minute 0d 0:00 1', 'minute 0d 0:01 113', 'minute 0d 0:02 0']);
    });

    test('minutes are added up by the hour where that is asked for, and other rows are as they are', async () => {
      await commit(5, rowAt(a, NOW, 5, { 0: 1n, 59: -1n }), rowAt(a, NOW + HOUR, 5, { 1: 5n, 2: 7n }));
      await commit(9, rowAt(a, NOW + HOUR, 8, { 1: 10n }), rowAt(a, NOW - 10 * DAY, 9, { 1: 100n }));
      await rollUpAll(NOW);
      await commit(10, rowAt(a, NOW - 10 * DAY, 10, { 1: 1n, 4: 2n }));
      const { buckets } = history.read(a, NOW - 10 * DAY, NOW + DAY, 'hour');
      expect(textOf({ buckets }, NOW)).toEqual([
        ...['hour -10d 0:00 100', 'minute -10d 0:00 3', 'minute 0d 0:00 0', 'minute 0d 1:00 22'],
      ]);
      expect(buckets.map(({ span }) => span)).toEqual([undefined, 'hour', 'hour', 'hour']);
    });

    test('a row at or below the watermark is in already', async () => {
      const [first, second] = [rowAt(a, NOW, 5, { 0: 1n }), rowAt(a, NOW, 6, { 0: 10n })];
      await commit(5, first);
      await commit(5, first);
      await commit(3, rowAt(a, NOW, 3, { 0: 1_000n }));
      await commit(6, first, second);
      expect(read(a)).toEqual(['minute 0d 0:00 11']);
      expect(history.place(3).watermark).toBe(6);
    });

    test('a row after the watermark that it would be part of is refused', () => {
      expect(() => history.commit(3, upTo(5), [rowAt(a, NOW, 6, { 0: 1n })])).toThrow(RangeError);
    });

    test('partitions, slots and generations are apart, and each partition has its watermark', async () => {
      const others = [counterOf(5, 3, 2), counterOf(5, 3, 0), counterOf(4), counterOf(5, 4), counterOf(5, 2)];
      for (const [index, other] of others.entries()) {
        const row = rowAt(other, NOW, index + 1, { [index]: 1n });
        expect(await history.commit(other.partition, upTo(index + 1), [row])).toEqual({ kind: 'flushed' });
      }
      expect(read(a)).toEqual([]);
      for (const [index, other] of others.entries()) expect(read(other)).toEqual([`minute 0d 0:0${index} 1`]);
      expect([2, 3, 4, 5].map((partition) => history.place(partition).watermark)).toEqual([5, 3, 4, 0]);
    });

    test('the whole days that a range touches are read, and no others', async () => {
      const days = [-2, -1, 0, 1];
      await commit(1, ...days.map((day) => rowAt(a, NOW + day * DAY + 23 * HOUR, 1, { 59: 1n })));
      expect(read(a, NOW - 1, NOW + 1)).toEqual(['minute -1d 23:59 1', 'minute 0d 23:59 1']);
      expect(read(a, NOW, NOW + DAY)).toEqual(['minute 0d 23:59 1']);
    });

    test('a counter is found among thousands of others', async () => {
      const crowd = Array.from({ length: 2_000 }, (_, slot) => rowAt(counterOf(slot), NOW, 1, { 0: BigInt(slot) }));
      await commit(1, ...crowd);
      await commit(
        2,
        rowAt(counterOf(1_999), NOW + 5 * HOUR, 2, { 0: 1n }),
        rowAt(counterOf(0), NOW + 5 * HOUR, 2, { 1: 2n }),
      );
      expect(read(counterOf(1_999))).toEqual(['minute 0d 0:00 1999', 'minute 0d 5:00 1']);
      expect(read(counterOf(0))).toEqual(['minute 0d 0:00 0', 'minute 0d 5:01 2']);
      expect(read(counterOf(77))).toEqual(['minute 0d 0:00 77']);
    });

    test('a forgotten counter is gone at every resolution, and no other', async () => {
      const times = [NOW - 100 * DAY, NOW - 10 * DAY, NOW - HOUR];
      await commit(1, ...times.flatMap((time) => [rowAt(a, time, 1, { 0: 1n }), rowAt(b, time, 1, { 0: 2n })]));
      await rollUpAll(NOW);
      expect(read(a)).toEqual(['day -100d 0:00 1', 'hour -10d 0:00 1', 'minute -1d 23:00 1']);
      await commit(2, goneAt(a, 2));
      expect(read(a)).toEqual([]);
      expect(read(b)).toHaveLength(3);
      expect(history.stats().rows).toEqual({ minute: 1, hour: 1, day: 1 });
    });

    test('more rows of a counter are forgotten than fit into a transaction', async () => {
      await commit(1, ...Array.from({ length: 2_500 }, (_, hour) => rowAt(a, NOW - hour * HOUR, 1, { 0: 1n })));
      await commit(2, goneAt(a, 2));
      expect(history.stats().rows.minute).toBe(0);
      expect(history.place(3)).toEqual(upTo(2));
    });

    test('says how many rows there are, and bytes', async () => {
      const { usedBytes } = history.stats();
      await commit(1, ...Array.from({ length: 500 }, (_, slot) => rowAt(counterOf(slot), NOW, 1, { 0: 1n })));
      expect(history.stats().rows).toEqual({ minute: 500, hour: 0, day: 0 });
      expect(history.stats().usedBytes - usedBytes).toBeGreaterThan(500 * 20);
      expect(history.stats().fileBytes).toBeGreaterThan(0);
    });

    test('a counter that is gone leaves nothing of what is committed with it, and none that has its slot later is touched', async () => {
      const next = counterOf(5, 3, 2);
      await commit(3, rowAt(a, NOW, 1, { 0: 1n }), goneAt(a, 2), rowAt(next, NOW, 3, { 0: 2n }));
      expect(read(a)).toEqual([]);
      expect(read(next)).toEqual(['minute 0d 0:00 2']);
    });

    test('the items of a sequence may come in several commits', async () => {
      const items = [0, 1, 2, 3].map((index) => rowAt(a, NOW, 5, { [index % 2]: 10n ** BigInt(index) }, index));
      const some = { watermark: 4, items: 3 };
      await history.commit(3, some, items.slice(0, 3));
      expect(history.place(3)).toEqual(some);
      expect(read(a)).toEqual(['minute 0d 0:00 101', 'minute 0d 0:01 10']);
      // All of them again, as replay emits them.
      await history.commit(3, { watermark: 4, items: 2 }, items.slice(0, 2));
      await commit(5, ...items);
      expect(read(a)).toEqual(['minute 0d 0:00 101', 'minute 0d 0:01 1010']);
      expect(() => history.commit(3, { watermark: 5, items: 1 }, [rowAt(a, NOW, 6, { 0: 1n }, 1)])).toThrow(RangeError);
    });

    test('a partition that begins late knows nothing of what was before', async () => {
      expect(await history.begin(3, 12, NOW)).toEqual({ kind: 'flushed' });
      await commit(13, rowAt(a, NOW, 12, { 0: 1n }), rowAt(a, NOW, 13, { 1: 1n }));
      await reopen();
      expect(history.since(3)).toBe(NOW);
      expect(history.read(a, NOW, NOW + DAY)).toMatchObject({ ...upTo(13), buckets: [{ sum: 1n }] });
    });

    test('changes that are asked for at once are made one after the other', async () => {
      const commits = [3, 1, 2].map((asOf) => history.commit(3, upTo(asOf), [rowAt(a, NOW, asOf, { [asOf]: 1n })]));
      const outcomes = await Promise.all([...commits, history.commit(3, upTo(4), [])]);
      expect(outcomes).toEqual(outcomes.map(() => ({ kind: 'flushed' })));
      expect(read(a)).toEqual(['minute 0d 0:03 1']);
      expect(history.place(3).watermark).toBe(4);
    });

    describe('a roll-up', () => {
      test('makes hours of minutes and days of hours when whole days are old enough', async () => {
        const times = [-32, -31, -30, -4, -3, -2, 0].map((day) => NOW + day * DAY + 7 * HOUR);
        await commit(1, ...times.map((time) => rowAt(a, time, 1, { 10: 1n, 50: 2n })));
        await rollUpAll(NOW + DAY - 1);
        expect(read(a)).toEqual([
          ...['day -32d 0:00 3', 'day -31d 0:00 3'],
          ...['hour -30d 7:00 3', 'hour -4d 7:00 3', 'hour -3d 7:00 3'],
          ...['minute -2d 7:10 1', 'minute -2d 7:50 2', 'minute 0d 7:10 1', 'minute 0d 7:50 2'],
        ]);
      });

      test('changes no sum, at none of its steps', async () => {
        const rows = Array.from({ length: 3_000 }, (_, index) =>
          rowAt(counterOf(index % 150), NOW - (index % 90) * 13 * HOUR, 1 + index, { [index % 60]: BigInt(index) }),
        );
        await commit(3_000, ...rows);
        const sums = () =>
          Array.from({ length: 150 }, (_, slot) =>
            history.read(counterOf(slot), 0, NOW + DAY).buckets.reduce((sum, bucket) => sum + bucket.sum, 0n),
          );
        const before = sums();
        let steps = 0;
        for (
          ;
          await rollUp(history, plannerOf(tables), { partition: 3, retention: DEFAULT_RETENTION, now: NOW });
          steps++
        ) {
          if (steps % 20 === 0) expect(sums()).toEqual(before);
        }
        expect(steps).toBeGreaterThan(40);
        expect(sums()).toEqual(before);
      });

      test('takes a row that comes late', async () => {
        const [old, older] = [NOW - 10 * DAY, NOW - 100 * DAY];
        await commit(1, rowAt(a, old, 1, { 0: 1n }), rowAt(a, older, 1, { 0: 10n }));
        await rollUpAll(NOW);
        await commit(2, rowAt(a, old, 2, { 0: 2n }), rowAt(a, older, 2, { 0: 20n }));
        expect(read(a)).toEqual([
          ...['day -100d 0:00 10', 'minute -100d 0:00 20', 'hour -10d 0:00 1', 'minute -10d 0:00 2'],
        ]);
        await rollUpAll(NOW);
        expect(read(a)).toEqual(['day -100d 0:00 30', 'hour -10d 0:00 3']);
      });

      test('keeps what came to 0: something happened', async () => {
        await commit(1, rowAt(a, NOW - 10 * DAY, 1, { 0: 1n, 40: -1n }));
        await rollUpAll(NOW);
        expect(read(a)).toEqual(['hour -10d 0:00 0']);
        await rollUpAll(NOW + 60 * DAY);
        expect(read(a)).toEqual(['day -10d 0:00 0']);
      });

      test('drops days when their block of 64 is old enough, and says from when on a counter is known', async () => {
        // NOW is day 14 of its block.
        const block = (blocks: number) => NOW + (blocks * 64 - 14) * DAY;
        await commit(1, rowAt(a, block(-2) - 1, 1, { 0: 1n }), rowAt(a, block(-1) - 1, 1, { 0: 2n }, 1));
        await commit(2, rowAt(a, block(-1), 2, { 0: 4n }), rowAt(b, block(-1), 2, { 0: 8n }, 1));
        await rollUpAll(block(-1) + 100 * DAY - 1, 3, 100);
        expect([history.sinceOf(a), history.sinceOf(b)]).toEqual([block(-2), 0]);
        expect(read(a)).toEqual(['day -79d 0:00 2', 'day -78d 0:00 4']);
        await rollUpAll(block(-1) + 100 * DAY, 3, 100);
        await reopen();
        expect([history.sinceOf(a), history.sinceOf(b)]).toEqual([block(-1), 0]);
        expect(read(a)).toEqual(['day -78d 0:00 4']);
        expect(read(b)).toEqual(['day -78d 0:00 8']);
      });

      test('of what comes late for days that were dropped drops it, and knows no more than before', async () => {
        const old = (days: number) => NOW - days * DAY;
        await commit(1, rowAt(a, old(200), 1, { 0: 1n }), rowAt(a, old(100), 1, { 0: 1n }, 1));
        await rollUpAll(NOW, 3, 1);
        const since = history.sinceOf(a);
        expect(since).toBeGreaterThan(old(100));
        await commit(2, rowAt(a, old(300), 2, { 0: 1n }), rowAt(b, old(300), 2, { 0: 1n }, 1));
        await rollUpAll(NOW, 3, 1);
        expect(history.sinceOf(a)).toBe(since);
        expect(history.sinceOf(b)).toBeLessThan(old(200));
        expect([...read(a), ...read(b)]).toEqual([]);
      });

      test('that drops days is forgotten with its counter, and copied with it', async () => {
        await commit(1, rowAt(a, NOW - 200 * DAY, 1, { 0: 1n }), rowAt(b, NOW - 200 * DAY, 1, { 0: 1n }, 1));
        await rollUpAll(NOW, 3, 1);
        const since = history.sinceOf(a);
        await commit(2, goneAt(a, 2));
        expect([history.sinceOf(a), history.sinceOf(b)]).toEqual([0, since]);
        const [copied] = [...copyOf(tables, new RowCodec(), 3)];
        await history.forget(3, [b]);
        expect(history.sinceOf(b)).toBe(0);
        await history.adopt(3, copied?.rows ?? []);
        expect([history.sinceOf(a), history.sinceOf(b)]).toEqual([0, since]);
      });

      test('is of one partition', async () => {
        for (const partition of [2, 3, 4]) {
          await history.commit(partition, upTo(1), [rowAt(counterOf(5, partition), NOW - 10 * DAY, 1, { 0: 1n })]);
        }
        expect(await rollUpAll(NOW)).toBe(1);
        expect(history.stats().rows).toEqual({ minute: 2, hour: 1, day: 0 });
      });

      test('that was computed is written once', async () => {
        await commit(1, rowAt(a, NOW - 10 * DAY, 1, { 0: 1n }));
        const request = { partition: 3, retention: DEFAULT_RETENTION, now: NOW };
        const steps = await Promise.all([plannerOf(tables).next(request), plannerOf(tables).next(request)]);
        // A late row comes between computing and writing.
        await commit(2, rowAt(a, NOW - 10 * DAY, 2, { 0: 2n }));
        for (const step of steps)
          expect(await history.replace(step as NonNullable<typeof step>)).toEqual({ kind: 'flushed' });
        expect(read(a)).toEqual(['hour -10d 0:00 1', 'minute -10d 0:00 2']);
      });

      test('that was computed before its counter was forgotten brings nothing back', async () => {
        await commit(1, rowAt(a, NOW - 10 * DAY, 1, { 0: 1n }));
        const step = await plannerOf(tables).next({ partition: 3, retention: DEFAULT_RETENTION, now: NOW });
        await commit(2, goneAt(a, 2));
        await history.replace(step as NonNullable<typeof step>);
        expect(read(a)).toEqual([]);
      });

      test('has steps of bounded size', async () => {
        const rows = Array.from({ length: 9_000 }, (_, index) =>
          rowAt(counterOf(index % 3_000), NOW - 10 * DAY + (index % 24) * HOUR, 1 + index, { 0: 1n }),
        );
        await commit(9_000, ...rows, rowAt(counterOf(2 ** 32 - 1), NOW - 10 * DAY, 9_000, { 0: 1n }));
        // Late, one after the other, for the same hour of one counter
        await commit(
          13_000,
          ...Array.from({ length: 4_000 }, (_, late) => rowAt(a, NOW - 9 * DAY, 9_001 + late, { 0: 1n })),
        );
        const sizes: number[] = [];
        for (;;) {
          const now = sizes.length < 120 ? NOW : NOW + 60 * DAY;
          const step = await plannerOf(tables).next({ partition: 3, retention: DEFAULT_RETENTION, now });
          if (!step && now > NOW) break;
          if (step) await history.replace(step);
          sizes.push(step?.removals.length ?? 0);
        }
        expect(Math.max(...sizes)).toBe(3_072);
        expect(history.stats().rows).toEqual({ minute: 0, hour: 0, day: 3_001 });
      });
    });

    describe('a check', () => {
      test('reads all rows of a partition', async () => {
        await commit(1, ...Array.from({ length: 3_000 }, (_, slot) => rowAt(counterOf(slot), NOW, 1, { 0: 1n })));
        await commit(2, rowAt(a, NOW - 10 * DAY, 2, { 0: 1n }), rowAt(a, NOW - 100 * DAY, 2, { 0: 1n }));
        await history.commit(4, upTo(9), [rowAt(counterOf(5, 4), NOW, 9, { 0: 1n })]);
        await rollUpAll(NOW);
        const check = (partition: number) => checkHistory(tables, new RowCodec(), partition);
        // Two of minutes, and then one of hours.
        expect(await check(3)).toEqual({ ...upTo(2), since: 0, revision: 3, rows: 3_002 });
        expect(await check(4)).toEqual({ ...upTo(9), since: 0, revision: 0, rows: 1 });
        expect(await check(5)).toEqual({ ...upTo(0), since: 0, revision: 0, rows: 0 });
      });
    });

    describe('rows of another history', () => {
      const copied = () => [...copyOf(tables, new RowCodec(), 3)].flatMap(({ rows }) => rows);

      test('are put as they are, but for those of counters that went, and it is known where they end and begin', async () => {
        await commit(1, rowAt(a, NOW, 1, { 0: 1n }), rowAt(counterOf(400), NOW - 10 * DAY, 1, { 0: 2n }, 1));
        await rollUpAll(NOW);
        await commit(2, rowAt(b, NOW - 100 * DAY, 2, { 5: 3n }), rowAt(a, NOW, 2, { 0: 4n }, 1));
        const rows = copied();
        const expected = [a, counterOf(400)].map((counter) => read(counter));
        await history.close();
        await home.remove();
        home = makeHome();
        open();
        expect(await history.adopt(3, rows)).toEqual({ kind: 'flushed' });
        expect(await history.forget(3, [b])).toEqual({ kind: 'flushed' });
        expect(await history.begin(3, 2, 17)).toEqual({ kind: 'flushed' });
        await reopen();
        expect([a, counterOf(400)].map((counter) => read(counter))).toEqual(expected);
        expect(read(b)).toEqual([]);
        expect(await checkHistory(tables, new RowCodec(), 3)).toMatchObject({ ...upTo(2), since: 17, rows: 3 });
        await commit(2, rowAt(a, NOW, 2, { 0: 100n }));
        expect(read(a)).toEqual(expected[0]);
      });

      test('are read slot by slot, however far apart, with nothing of other partitions', async () => {
        const slots = [0, 1, 127, 128, 5_000, 2 ** 32 - 1];
        await commit(1, ...slots.map((slot, index) => rowAt(counterOf(slot), NOW, 1, { 0: 1n }, index)));
        await history.commit(2, upTo(1), [rowAt(counterOf(7, 2), NOW, 1, { 0: 1n })]);
        await history.commit(4, upTo(1), [rowAt(counterOf(7, 4), NOW, 1, { 0: 1n })]);
        expect(copied().map(({ key }) => partsOf(key).slot)).toEqual(slots);
        expect([...copyOf(tables, new RowCodec(), 9)]).toEqual([{ from: 0, place: upTo(0), since: 0, rows: [] }]);
      });
    });

    describe('damage is DATA_DAMAGED', () => {
      const flip = (value: Uint8Array) => {
        value[value.length - 1] = (value[value.length - 1] as number) ^ 1;
        return value;
      };
      const edit = async (table: Parameters<HistoryHome['edit']>[0]) => {
        await history.close();
        await home.edit(table, flip);
        open();
      };

      test.each(['minute', 'hour', 'day'] as const)('of a row by %s', async (resolution) => {
        const time = { minute: NOW, hour: NOW - 10 * DAY, day: NOW - 100 * DAY }[resolution];
        await commit(1, rowAt(a, time, 1, { 0: 1n }));
        await rollUpAll(NOW);
        await edit(resolution);
        expect(() => history.read(a, 0, NOW + DAY)).toThrow(expect.objectContaining({ code: 'DATA_DAMAGED' }));
        expect(history.read(b, 0, NOW + DAY).buckets).toEqual([]);
        expect(() => [...copyOf(tables, new RowCodec(), 3)]).toThrow(expect.objectContaining({ code: 'DATA_DAMAGED' }));
        await expect(checkHistory(tables, new RowCodec(), 3)).rejects.toMatchObject({ code: 'DATA_DAMAGED' });
        expect(await checkHistory(tables, new RowCodec(), 4)).toMatchObject({ rows: 0 });
      });

      test('of what a roll-up takes', async () => {
        await commit(1, rowAt(a, NOW - 10 * DAY, 1, { 0: 1n }));
        await edit('minute');
        await expect(rollUpAll(NOW)).rejects.toMatchObject({ code: 'DATA_DAMAGED' });
        expect(history.stats().rows).toEqual({ minute: 1, hour: 0, day: 0 });
      });

      test('of a watermark', async () => {
        await commit(1, rowAt(a, NOW, 1, { 0: 1n }));
        await edit('partitions');
        expect(() => history.place(3).watermark).toThrow(expect.objectContaining({ code: 'DATA_DAMAGED' }));
        await expect(history.commit(3, upTo(2), [])).rejects.toMatchObject({ code: 'DATA_DAMAGED' });
      });
    });
  });
}
