import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Pulses } from '../../src/pubsub/pulses.js';
import { ManualClock } from '../support/manual-clock.js';

interface Turn {
  readonly at: number;
  readonly members: readonly number[];
}

class Bench {
  readonly clock = new ManualClock();
  readonly turns: Turn[] = [];
  readonly pulses: Pulses<number>;

  constructor(phases: number) {
    this.pulses = new Pulses(this.clock, phases, (members) => {
      this.turns.push({ at: this.clock.monotonicMilliseconds(), members: [...members] });
    });
  }

  /** When a member had its turns. */
  of(member: number): number[] {
    return this.turns.flatMap(({ at, members }) => (members.includes(member) ? [at] : []));
  }
}

describe('Members of an interval', () => {
  it('have a turn each in it, the first one within it, and are spread evenly', () => {
    const runs = fc.tuple(fc.integer({ min: 10, max: 3_000 }), fc.integer({ min: 1, max: 200 }));
    fc.assert(
      fc.property(runs, ([interval, count]) => {
        const bench = new Bench(16);
        const phases = Math.max(1, Math.min(16, Math.floor(interval / 10)));
        for (let member = 0; member < count; member++) bench.pulses.join(interval, member);
        for (let passed = 0; passed < 4 * interval; passed++) bench.clock.advance(1);
        for (let member = 0; member < count; member++) {
          const times = bench.of(member);
          expect(times).toHaveLength(4);
          expect(times[0]).toBeLessThanOrEqual(interval);
          // a timer fires at whole milliseconds
          for (let i = 1; i < times.length; i++)
            expect(Math.abs((times[i] as number) - (times[i - 1] as number) - interval)).toBeLessThanOrEqual(1);
        }
        const most = Math.max(...bench.turns.map(({ members }) => members.length));
        expect(most).toBe(Math.ceil(count / phases));
        bench.pulses.close();
        expect(bench.clock.pendingTimers).toBe(0);
      }),
      { numRuns: 25, examples: [[[91, 1]]] },
    );
  });

  it('have none when they have left, and the last one leaves no timer', () => {
    const bench = new Bench(4);
    for (const member of [1, 2, 3]) bench.pulses.join(100, member);
    bench.clock.advance(100);
    bench.pulses.leave(100, 2);
    bench.clock.advance(100);
    expect([1, 2, 3].map((member) => bench.of(member).length)).toEqual([2, 1, 2]);
    bench.pulses.leave(100, 1);
    bench.pulses.leave(100, 1);
    bench.pulses.leave(100, 3);
    expect(bench.clock.pendingTimers).toBe(0);
    bench.pulses.join(100, 4);
    bench.clock.advance(99);
    expect(bench.of(4)).toEqual([]);
    bench.clock.advance(1);
    expect(bench.of(4)).toEqual([300]);
  });
});
