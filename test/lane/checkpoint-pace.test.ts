import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CheckpointPace } from '../../src/lane/checkpoint-pace.js';

/** A pace that knows what a commit takes when nothing is written beside it. */
function paceAt(quietMilliseconds: number): CheckpointPace {
  const pace = new CheckpointPace();
  for (let commit = 0; commit < 10; commit++) pace.committed(quietMilliseconds, false);
  return pace;
}

function write(pace: CheckpointPace, ...commits: number[]): void {
  for (const milliseconds of commits) pace.committed(milliseconds, true);
  pace.written();
}

describe('The pace of a checkpoint', () => {
  test('rises by the same step with each transaction that no commit noticed, up to a bound', () => {
    const pace = paceAt(1);
    const rates = [pace.rate];
    for (let transaction = 0; transaction < 300; transaction++) {
      write(pace, 1, 2);
      rates.push(pace.rate);
    }
    const [first = 0, second = 0, third = 0] = rates;
    expect(second).toBeGreaterThan(first);
    expect(third - second).toBe(second - first);
    expect(rates.at(-1)).toBe(512);
  });

  test('is halved by one that made commits slow, down to a bound', () => {
    const pace = paceAt(1);
    const { rate } = pace;
    write(pace, 2, 9);
    expect(pace.rate).toBe(rate / 2);
    for (let transaction = 0; transaction < 20; transaction++) write(pace, 9);
    expect(pace.rate).toBe(4);
  });

  test('does not call slow what was as slow before: a slow disk is no reason to wait', () => {
    const pace = paceAt(50);
    const { rate } = pace;
    write(pace, 60, 90);
    expect(pace.rate).toBeGreaterThan(rate);
  });

  test('rises where there are no commits at all', () => {
    const pace = new CheckpointPace();
    const { rate } = pace;
    write(pace);
    expect(pace.rate).toBeGreaterThan(rate);
  });

  test('settles about the fastest that the commits bear', () => {
    // A disk on which a commit takes so much longer as there are more transactions a second beside it.
    const pace = paceAt(1);
    const rates: number[] = [];
    for (let transaction = 0; transaction < 500; transaction++) {
      write(pace, 1 + pace.rate / 50);
      rates.push(pace.rate);
    }
    const settled = rates.slice(100);
    // 1 + rate / 50 = 2 * 1 + 0.5
    expect(Math.max(...settled)).toBeLessThanOrEqual(75 + 4);
    expect(Math.min(...settled)).toBeGreaterThanOrEqual(75 / 2);
  });

  test('waits the less the nearer the tail is to its bound, and not at all from three quarters on', () => {
    const pace = paceAt(1);
    expect(pace.pause(0)).toBe(1_000 / pace.rate);
    expect(pace.pause(0.5)).toBe(pace.pause(0));
    expect(pace.pause(0.625)).toBeCloseTo(pace.pause(0) / 2);
    fc.assert(
      fc.property(fc.double({ min: 0, max: 2, noNaN: true }), fc.double({ min: 0, max: 2, noNaN: true }), (a, b) => {
        expect(pace.pause(Math.max(a, b))).toBeLessThanOrEqual(pace.pause(Math.min(a, b)));
        if (a >= 0.75) expect(pace.pause(a)).toBe(0);
      }),
    );
  });
});
