import { describe, expect, test } from 'vitest';
import { History } from '../../src/history/history.js';
import type { Retention } from '../../src/history/roll-up.js';
import type { AppendOutcome } from '../../src/log/log.js';
import { plannerOf, rollUp } from './homes.js';
import { counterOf, DAY, HOUR, NOW, rowAt, upTo } from './rows.js';
import { SimHistoryDisk, SimTables } from './sim-tables.js';

/** Rows of six weeks, in two days for more counters than a step takes, and rows that come late for hours that were rolled up. */
const RETENTION: Retention = { minuteHours: 48, hourDays: 14, dayDays: 14 };
/** Two weeks before a block of 64 days ends, which is dropped in the fifth of them. */
const START = NOW + 36 * DAY;
const LAST = 700;
const LATE = 120;
const log = Array.from({ length: LAST }, (_, index) => {
  const hours = index < LAST - LATE ? hoursAt(index) : (index * 31) % 700;
  return rowAt(counterOf(index % 70), START + hours * HOUR, index + 1, { [index % 60]: BigInt(index - 300) });
});
const END = START + hoursAt(LAST) * HOUR;

/** 160 rows in the first two days, then one in two hours. */
function hoursAt(index: number): number {
  return Math.floor(index < 160 ? index * 0.3 : 48 + (index - 160) * 2);
}

class Dead extends Error {}

/** The life of a process: it replays its log, and rolls up meanwhile. Throws Dead where it dies, in transaction `dies`. */
async function live(disk: SimHistoryDisk, dies = -1, stored = false): Promise<SimTables> {
  let died: (error: Dead) => void = () => {};
  const death = new Promise<never>((_, reject) => {
    died = reject;
  });
  let begun = 0;
  const tables = new SimTables(disk, (commit) => {
    if (begun++ !== dies) return void queueMicrotask(commit);
    tables.crash(stored);
    died(new Dead());
  });
  const history = new History(tables);
  const flushed = async (outcome: Promise<AppendOutcome | undefined>) =>
    expect((await Promise.race([outcome, death]))?.kind ?? 'flushed').toBe('flushed');
  for (let asOf = 0; asOf < LAST; ) {
    const next = Math.min(asOf + 100, LAST);
    await flushed(history.commit(3, upTo(next), log.slice(asOf, next)));
    asOf = next;
    const now = START + hoursAt(asOf) * HOUR;
    for (let steps = 0; steps < 4; steps++) {
      await flushed(rollUp(history, plannerOf(tables), { partition: 3, retention: RETENTION, now }));
    }
  }
  for (let due = true; due; ) {
    const outcome = rollUp(history, plannerOf(tables), { partition: 3, retention: RETENTION, now: END });
    await flushed(outcome);
    due = (await outcome) !== undefined;
  }
  return tables;
}

const contents = (disk: SimHistoryDisk) =>
  Object.values(disk.rows).map((rows) =>
    [...rows].map(([key, value]) => `${key} ${Buffer.from(value).toString('hex')}`).sort(),
  );

describe('a process that dies', () => {
  test('at any transaction of commits and roll-ups, with it or without, has the same history in the end', async () => {
    const whole = new SimHistoryDisk();
    const { transactions } = await live(whole);
    expect(transactions).toBeGreaterThan(60);
    expect(new History(new SimTables(whole)).sinceOf(counterOf(1))).toBe(START + 14 * DAY);
    const expected = contents(whole);
    for (let dies = 0; dies < transactions; dies++) {
      for (const stored of [true, false]) {
        const disk = new SimHistoryDisk();
        await expect(live(disk, dies, stored)).rejects.toThrow(Dead);
        await live(disk);
        expect(contents(disk), `died in transaction ${dies}, stored: ${stored}`).toEqual(expected);
      }
    }
  });

  test('again and again has the same history in the end', async () => {
    const whole = new SimHistoryDisk();
    await live(whole);
    const disk = new SimHistoryDisk();
    for (let life = 0; life < 40; life++) {
      try {
        await live(disk, (life * 7) % 11, life % 3 === 0);
      } catch (error) {
        if (!(error instanceof Dead)) throw error;
      }
    }
    await live(disk);
    expect(contents(disk)).toEqual(contents(whole));
  });
});

describe('storage', () => {
  const row = rowAt(counterOf(1), NOW, 1, { 0: 1n });
  const opened = () => {
    const disk = new SimHistoryDisk();
    const tables = new SimTables(disk);
    return { disk, tables, history: new History(tables) };
  };

  test('without room changes nothing, and the same commit may be repeated', async () => {
    const { tables, history } = opened();
    tables.script.push({ kind: 'full' });
    expect(await history.commit(3, upTo(1), [row])).toMatchObject({
      kind: 'not-written',
      error: { code: 'STORAGE_FULL' },
    });
    expect(history.place(3).watermark).toBe(0);
    expect(await history.commit(3, upTo(1), [row])).toEqual({ kind: 'flushed' });
    expect(history.read(counterOf(1), NOW, NOW + 1).buckets).toHaveLength(1);
  });

  test.each([true, false])('that failed (stored: %s) is not trusted again', async (stored) => {
    const { disk, tables, history } = opened();
    tables.script.push({ kind: 'failed', stored });
    for (const asOf of [1, 2]) {
      expect(await history.commit(3, upTo(asOf), [row])).toMatchObject({
        kind: 'unknown',
        error: { code: 'STORAGE_FAILED' },
      });
    }
    const next = new History(new SimTables(disk));
    expect(await next.commit(3, upTo(1), [row])).toEqual({ kind: 'flushed' });
    expect(next.read(counterOf(1), NOW, NOW + 1).buckets).toMatchObject([{ sum: 1n }]);
  });
});
