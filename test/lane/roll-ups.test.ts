import { describe, expect, test } from 'vitest';
import type { History } from '../../src/history/history.js';
import { DEFAULT_RETENTION, dueBefore, type RollUp, type RollUpPlanner } from '../../src/history/roll-up.js';
import { Retentions } from '../../src/lane/retentions.js';
import { RollUps } from '../../src/lane/roll-ups.js';
import type { AppendOutcome } from '../../src/log/log.js';
import { type CounterClass, encodeClasses } from '../../src/partition/classes.js';
import type { Partition } from '../../src/partition/partition.js';
import { MILLISECONDS } from '../../src/series/bucket.js';
import { ManualClock } from '../support/manual-clock.js';

const SOME = { minute: 1, hour: 0, day: 0 };

/** What a step takes: minutes of the day that has become old enough last, less so many days. */
interface Taken {
  readonly daysBefore: number;
  /** Of each of the lane's two partitions. */
  readonly slots: number;
  /** It is due for one class alone, which keeps minutes for a day less than the server. */
  readonly some?: boolean;
}

/** The rests between steps of roll-ups, where to write each takes so long and there is always another one. */
async function restsOf(milliseconds: number, { daysBefore, slots, some = false }: Taken): Promise<number[]> {
  const clock = new ManualClock();
  const now = clock.wallMilliseconds();
  const classes: CounterClass[] = some ? [{ pattern: '*', history: { minutes: MILLISECONDS.day } }] : [];
  const retentions = new Retentions(DEFAULT_RETENTION, classes);
  const retention = some ? retentions.shortest : retentions.longest;
  const day = dueBefore(retention, 'minute', now) - 1 - daysBefore;
  const counter = { slot: 0, generation: 0 };
  const partition = {
    ...{ slots, isClassifying: false, classes: encodeClasses(classes), classOf: () => 1 },
  } as unknown as Partition;
  const begins: number[] = [];
  const ends: number[] = [];
  let done: (outcome: AppendOutcome) => void = () => {};
  const rollUps = new RollUps({
    history: {
      stats: () => ({ rows: SOME }),
      replace: () =>
        new Promise<AppendOutcome>((resolve) => {
          done = resolve;
        }),
    } as unknown as History,
    planner: {
      async next(request) {
        if (some && !request.some) return undefined;
        begins.push(clock.monotonicMilliseconds());
        return { source: 'minute', day } as RollUp;
      },
      look: async () => ({ source: 'minute', day, slot: 0, counters: [counter], next: 32 }),
    } satisfies RollUpPlanner,
    retentions,
    partitions: new Map([0, 1].map((number) => [number, partition])),
    clock,
    onFailed: (error) => {
      throw error;
    },
  });
  const turns = async () => {
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  };
  clock.advance(60_000);
  for (let step = 0; step < 3; step++) {
    await turns();
    clock.advance(milliseconds);
    ends.push(clock.monotonicMilliseconds());
    done({ kind: 'flushed' } as AppendOutcome);
    await turns();
    while (begins.length < step + 2) {
      clock.advance(1);
      await turns();
    }
  }
  const stopped = rollUps.stop();
  await turns();
  done({ kind: 'flushed' } as AppendOutcome);
  await stopped;
  return ends.map((end, step) => (begins[step + 1] as number) - end);
}

describe('The steps of roll-ups', () => {
  test('are spread over twenty hours, as many as a day of the counters there are takes', async () => {
    // 1,000 × 128 slots of minutes and 250 × 512 of hours, of each partition
    expect(await restsOf(2, { daysBefore: 0, slots: 128_000 })).toEqual([28_800, 28_800, 28_800]);
    // Ten times as many
    expect(await restsOf(2, { daysBefore: 0, slots: 1_280_000 })).toEqual([2_880, 2_880, 2_880]);
  });

  test('come once a minute at least, however few there are', async () => {
    expect(await restsOf(2, { daysBefore: 0, slots: 1 })).toEqual([60_000, 60_000, 60_000]);
    expect(await restsOf(2, { daysBefore: 0, slots: 0 })).toEqual([60_000, 60_000, 60_000]);
  });

  test('that were due a day ago come four times as fast, and every two seconds at least', async () => {
    expect(await restsOf(2, { daysBefore: 1, slots: 1_280_000 })).toEqual([720, 720, 720]);
    expect(await restsOf(2, { daysBefore: 9, slots: 128_000 })).toEqual([2_000, 2_000, 2_000]);
    expect(await restsOf(2, { daysBefore: 1, slots: 1 })).toEqual([2_000, 2_000, 2_000]);
  });

  test('leave a slow disk to others for 19 times as long as they took of it, and for a minute at most', async () => {
    expect(await restsOf(100, { daysBefore: 1, slots: 1_280_000 })).toEqual([1_900, 1_900, 1_900]);
    expect(await restsOf(200, { daysBefore: 0, slots: 1_280_000 })).toEqual([3_800, 3_800, 3_800]);
    expect(await restsOf(9_000, { daysBefore: 0, slots: 128_000 })).toEqual([60_000, 60_000, 60_000]);
  });

  test('are late as the class says of whose counters they are', async () => {
    expect(await restsOf(2, { daysBefore: 0, slots: 128_000, some: true })).toEqual([28_800, 28_800, 28_800]);
    expect(await restsOf(2, { daysBefore: 1, slots: 128_000, some: true })).toEqual([2_000, 2_000, 2_000]);
  });

  test('of a day end before the next one is due, each partition after the other', async () => {
    const clock = new ManualClock();
    const begun = clock.monotonicMilliseconds();
    // What 256,000 counters of each make due in a day
    const left = [2_500, 2_500];
    const taken: number[] = [];
    let last = 0;
    const partition = { slots: 256_000, isClassifying: true } as unknown as Partition;
    const rollUps = new RollUps({
      history: { stats: () => ({ rows: SOME }), replace: async () => ({ kind: 'flushed' }) } as unknown as History,
      planner: {
        async next({ partition, now }) {
          const steps = left[partition] as number;
          if (steps === 0) return undefined;
          left[partition] = steps - 1;
          taken.push(partition);
          last = clock.monotonicMilliseconds() - begun;
          return { source: 'minute', day: dueBefore(DEFAULT_RETENTION, 'minute', now) - 1 } as RollUp;
        },
        look: async () => undefined,
      } satisfies RollUpPlanner,
      retentions: new Retentions(DEFAULT_RETENTION, []),
      partitions: new Map([0, 1].map((number) => [number, partition])),
      clock,
      onFailed: (error) => {
        throw error;
      },
    });
    for (let time = 0; time < 23 * MILLISECONDS.hour; time += 14_400) {
      clock.advance(14_400);
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    }
    await rollUps.stop();
    expect(left).toEqual([0, 0]);
    expect(taken).toEqual([...new Array(2_500).fill(0), ...new Array(2_500).fill(1)]);
    expect(last).toBeGreaterThan(19 * MILLISECONDS.hour);
    expect(last).toBeLessThan(21 * MILLISECONDS.hour);
  });

  test('ask nobody while there is no history, and look again with the next round', async () => {
    const clock = new ManualClock();
    let rows = { minute: 0, hour: 0, day: 0 };
    let asked = 0;
    const rollUps = new RollUps({
      history: { stats: () => ({ rows }) } as unknown as History,
      planner: {
        async next() {
          asked++;
          return undefined;
        },
        look: async () => undefined,
      } satisfies RollUpPlanner,
      retentions: new Retentions(DEFAULT_RETENTION, []),
      partitions: new Map([0, 1].map((number) => [number, { isClassifying: true } as unknown as Partition])),
      clock,
      onFailed: (error) => {
        throw error;
      },
    });
    const pass = async (milliseconds: number) => {
      for (let passed = 0; passed < milliseconds; passed += 1_000) {
        clock.advance(1_000);
        for (let turn = 0; turn < 10; turn++) await Promise.resolve();
      }
    };
    await pass(3 * MILLISECONDS.hour);
    expect(asked).toBe(0);
    for (const resolution of ['minute', 'hour', 'day'] as const) {
      rows = { minute: 0, hour: 0, day: 0, [resolution]: 1 };
      asked = 0;
      await pass(MILLISECONDS.hour + 2_000);
      expect(asked).toBe(2);
    }
    await rollUps.stop();
  });
});
