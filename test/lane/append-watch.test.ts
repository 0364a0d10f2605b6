import { describe, expect, test } from 'vitest';
import { AppendGuard, appendsOf, createAppends } from '../../src/lane/append-watch.js';
import { ManualClock } from '../support/manual-clock.js';

function guarded(lanes: number) {
  const memory = createAppends(lanes);
  const clock = new ManualClock();
  const told: [lane: number, at: number][] = [];
  const guard = new AppendGuard(memory, clock, (lane) => told.push([lane, clock.monotonicMilliseconds()]));
  const appends = Array.from({ length: lanes }, (_, lane) => appendsOf(memory, lane));
  return { clock, told, guard, appends };
}

describe('AppendGuard', () => {
  test('tells once of an append that has not ended for 10 s, and of which lane it is', () => {
    const { clock, told, appends } = guarded(3);
    clock.advance(2_500);
    appends[1]?.began();
    clock.advance(10_000);
    expect(told).toEqual([]);
    clock.advance(1_000);
    expect(told).toEqual([[1, 13_000]]);
    clock.advance(60_000);
    expect(told.length).toBe(1);
  });

  test('tells of none that ends, however many there are and however long each takes', () => {
    const { clock, told, appends } = guarded(1);
    for (let append = 0; append < 100; append++) {
      appends[0]?.began();
      clock.advance(9_900);
      appends[0]?.ended();
    }
    expect(told).toEqual([]);
  });

  test('looks no more when it is closed', () => {
    const { clock, told, guard, appends } = guarded(1);
    appends[0]?.began();
    clock.advance(5_000);
    guard.close();
    clock.advance(60_000);
    expect(told).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });
});
