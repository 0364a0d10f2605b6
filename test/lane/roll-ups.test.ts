import { describe, expect, test } from 'vitest';
import type { History } from '../../src/history/history.js';
import { DEFAULT_RETENTION, type RollUpPlanner } from '../../src/history/roll-up.js';
import { Retentions } from '../../src/lane/retentions.js';
import { RollUps } from '../../src/lane/roll-ups.js';
import type { AppendOutcome } from '../../src/log/log.js';
import { ManualClock } from '../support/manual-clock.js';

/** When the steps of roll-ups begin, where each takes so long and there is always another one. */
async function beginsOf(milliseconds: number): Promise<number[]> {
  const clock = new ManualClock();
  const begins: number[] = [];
  let done: (outcome: AppendOutcome) => void = () => {};
  const rollUp = () => {
    begins.push(clock.monotonicMilliseconds());
    return new Promise<AppendOutcome>((resolve) => {
      done = resolve;
    });
  };
  const rollUps = new RollUps({
    history: { rollUp } as unknown as History,
    planner: {} as RollUpPlanner,
    retentions: new Retentions(DEFAULT_RETENTION, []),
    partitions: new Map([[0, undefined as never]]),
    clock,
    onFailed: (error) => {
      throw error;
    },
  });
  clock.advance(60_000);
  for (let step = 0; step < 3; step++) {
    clock.advance(milliseconds);
    done({ kind: 'flushed' } as AppendOutcome);
    for (let turn = 0; turn < 5; turn++) await Promise.resolve();
    while (begins.length < step + 2) clock.advance(1);
  }
  const stopped = rollUps.stop();
  done({ kind: 'flushed' } as AppendOutcome);
  await stopped;
  return begins.map((begin) => begin - 60_000);
}

describe('The steps of roll-ups', () => {
  test('rest 99 times as long as they took, so that few increments meet one', async () => {
    expect(await beginsOf(2)).toEqual([0, 200, 400, 600]);
  });

  test('rest half a second at most, so that what comes is rolled up, and a moment at least', async () => {
    expect(await beginsOf(40)).toEqual([0, 540, 1_080, 1_620]);
    expect(await beginsOf(0)).toEqual([0, 10, 20, 30]);
  });
});
