import { describe, expect, test } from 'vitest';
import { createQuota, Quota } from '../../src/lane/quota.js';
import { ManualClock } from '../support/manual-clock.js';

/** Takes one at a time for so long; how many were taken. */
function takenIn(milliseconds: number, clock: ManualClock, quotas: readonly Quota[]): number {
  let taken = 0;
  for (let passed = 0; passed < milliseconds; passed++) {
    for (const quota of quotas) {
      while (!quota.isSpent) {
        quota.take(1);
        taken++;
      }
    }
    clock.advance(1);
  }
  return taken;
}

describe('A quota', () => {
  test('gives what it says, in the long run, and a second of it at once', () => {
    const clock = new ManualClock();
    const quota = new Quota(createQuota(), 1_000, clock);
    expect(takenIn(1, clock, [quota])).toBe(1_001);
    expect(takenIn(10_000, clock, [quota])).toBe(10_000);
  });

  test('is one for all that share its memory', () => {
    const clock = new ManualClock();
    const memory = createQuota();
    const quotas = Array.from({ length: 4 }, () => new Quota(memory, 1_000, clock));
    expect(takenIn(10_000, clock, quotas)).toBe(1_001 + 9_999);
  });

  test('that is not used does not add up', () => {
    const clock = new ManualClock();
    const quota = new Quota(createQuota(), 1_000, clock);
    clock.advance(3_600_000);
    expect(takenIn(1, clock, [quota])).toBe(1_001);
  });

  test('that is overdrawn is paid for', () => {
    const clock = new ManualClock();
    const quota = new Quota(createQuota(), 1_000, clock);
    quota.take(10_000);
    clock.advance(8_999);
    expect(quota.isSpent).toBe(true);
    clock.advance(1);
    expect(quota.isSpent).toBe(false);
  });

  test('does not follow a clock that is set', () => {
    const clock = new ManualClock();
    const quota = new Quota(createQuota(), 1_000, clock);
    takenIn(1, clock, [quota]);
    clock.stepWall(-86_400_000);
    expect(takenIn(1_000, clock, [quota])).toBe(1_000);
    clock.stepWall(2 * 86_400_000);
    expect(takenIn(1_000, clock, [quota])).toBe(1_000);
  });
});
