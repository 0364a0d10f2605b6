import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DeadlineList, Deadlines, type Timed } from '../../src/client/deadlines.js';
import { ManualClock } from '../support/manual-clock.js';

class Waiting implements Timed {
  due = 0;
  previous: Timed | undefined;
  next: Timed | undefined;
  list: DeadlineList | undefined;
  readonly #tell: (milliseconds: number) => void;

  constructor(tell: (milliseconds: number) => void) {
    this.#tell = tell;
  }

  expired(milliseconds: number): void {
    this.#tell(milliseconds);
  }
}

describe('Deadlines', () => {
  it('need one timer for all who wait as long, and none where nobody waits', () => {
    const clock = new ManualClock();
    const deadlines = new Deadlines(clock);
    const all = Array.from({ length: 1_000 }, () => new Waiting(() => expect.unreachable()));
    for (const one of all) deadlines.add(one, 10_000);
    const hasty = new Waiting(() => expect.unreachable());
    deadlines.add(hasty, 1);
    expect(clock.pendingTimers).toBe(2);
    for (const one of all) one.list?.remove(one);
    expect(clock.pendingTimers).toBe(1);
    hasty.list?.remove(hasty);
    expect(clock.pendingTimers).toBe(0);
  });

  it('end in their order, none early and none late, for those who still wait', () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ add: fc.constantFrom(1, 5, 10) }) },
      { weight: 2, arbitrary: fc.record({ leave: fc.nat(20) }) },
      { weight: 3, arbitrary: fc.record({ pass: fc.nat(7) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, again) => {
        const clock = new ManualClock();
        const deadlines = new Deadlines(clock);
        const now = () => clock.monotonicMilliseconds();
        const told: string[] = [];
        const known: { readonly id: number; readonly due: number; readonly timed: Waiting; over: boolean }[] = [];
        const expected: string[] = [];
        const add = (milliseconds: number) => {
          const id = known.length;
          const timed = new Waiting((passed) => {
            told.push(`${id} after ${passed} at ${now()}`);
            // Whoever is told may begin to wait at once.
            if (again && id % 4 === 0) add(milliseconds);
          });
          known.push({ id, due: now() + milliseconds, timed, over: false });
          deadlines.add(timed, milliseconds);
          expected.push(`${id} after ${milliseconds} at ${now() + milliseconds}`);
        };
        for (const next of steps) {
          if ('add' in next) add(next.add);
          else if ('pass' in next) clock.advance(next.pass);
          else {
            const one = known[next.leave];
            if (!one || one.over || one.due <= now()) continue;
            one.over = true;
            one.timed.list?.remove(one.timed);
          }
        }
        const until = now();
        const due = known.filter(({ over, due: at }) => !over && at <= until).map(({ id }) => expected[id]);
        expect([...told].sort()).toEqual(due.sort());
        const times = told.map((line) => Number(line.split(' at ')[1]));
        expect(times).toEqual([...times].sort((a, b) => a - b));
        for (const { timed } of known) timed.list?.remove(timed);
        expect(clock.pendingTimers).toBe(0);
      }),
      { numRuns: 500 },
    );
  });
});
