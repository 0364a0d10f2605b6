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

/** What a step takes: minutes of the day that has become old enough last, less so many days. */
interface Taken {
  readonly daysBefore: number;
  /** It is due for one class alone, which keeps minutes for a day less than the server. */
  readonly some?: boolean;
}

/** When the steps of roll-ups begin, where each takes so long and there is always another one. */
async function beginsOf(milliseconds: number, { daysBefore, some = false }: Taken): Promise<number[]> {
  const clock = new ManualClock();
  const now = clock.wallMilliseconds();
  const classes: CounterClass[] = some ? [{ pattern: '*', history: { minutes: MILLISECONDS.day } }] : [];
  const retentions = new Retentions(DEFAULT_RETENTION, classes);
  const retention = some ? retentions.shortest : retentions.longest;
  const day = dueBefore(retention, 'minute', now) - 1 - daysBefore;
  const counter = { slot: 0, generation: 0 };
  const begins: number[] = [];
  let done: (outcome: AppendOutcome) => void = () => {};
  const rollUps = new RollUps({
    history: {
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
    partitions: new Map([
      [0, { isClassifying: false, classes: encodeClasses(classes), classOf: () => 1 } as unknown as Partition],
    ]),
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
  return begins.map((begin) => begin - 60_000);
}

describe('The steps of roll-ups', () => {
  test('rest 499 times as long as they took, so that few increments meet one', async () => {
    expect(await beginsOf(2, { daysBefore: 0 })).toEqual([0, 1_000, 2_000, 3_000]);
  });

  test('rest two seconds and a half at most, so that what comes is rolled up, and a moment at least', async () => {
    expect(await beginsOf(40, { daysBefore: 0 })).toEqual([0, 2_540, 5_080, 7_620]);
    expect(await beginsOf(0, { daysBefore: 0 })).toEqual([0, 10, 20, 30]);
  });

  test('rest 99 times as long as they took, and half a second at most, where they were due a day ago', async () => {
    expect(await beginsOf(2, { daysBefore: 1 })).toEqual([0, 200, 400, 600]);
    expect(await beginsOf(40, { daysBefore: 9 })).toEqual([0, 540, 1_080, 1_620]);
  });

  test('are late as the class says of whose counters they are', async () => {
    expect(await beginsOf(2, { daysBefore: 0, some: true })).toEqual([0, 1_000, 2_000, 3_000]);
    expect(await beginsOf(2, { daysBefore: 1, some: true })).toEqual([0, 200, 400, 600]);
  });
});
