import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CommitDelay } from '../../src/log/commit-delay.js';
import { ManualClock } from '../support/manual-clock.js';
import { FLUSH_MILLISECONDS, LaneBench } from './lane-bench.js';
import { replayAll } from './writer.js';

/** Callers that come back so many milliseconds after each answer, as long as they want to. */
class Callers {
  readonly bench: LaneBench;
  readonly returnMilliseconds: number;
  isOver = false;
  answered = 0;

  constructor(bench: LaneBench, returnMilliseconds: number) {
    this.bench = bench;
    this.returnMilliseconds = returnMilliseconds;
  }

  call(): void {
    const { bench } = this;
    const flushed = () => {
      this.answered++;
      if (!this.isOver) bench.clock.setTimer(this.returnMilliseconds, () => this.call());
    };
    bench.commit.waitFlushed(2, bench.append(2), { flushed, unknown: () => expect.unreachable() });
  }
}

/** Two cohorts of callers: the second one comes while the first one's group is in flight. */
async function twoCohorts(each: number, returnMilliseconds: number): Promise<Callers> {
  const callers = new Callers(new LaneBench(), returnMilliseconds);
  for (let i = 0; i < each; i++) callers.call();
  await callers.bench.pass(1);
  for (let i = 0; i < each; i++) callers.call();
  return callers;
}

/** Groups and callers of a while. */
async function flow({ bench, ...callers }: Callers, milliseconds: number) {
  const before = { groups: bench.commit.stats().groups, entries: bench.commit.stats().entries };
  await bench.pass(milliseconds);
  const { groups, entries } = bench.commit.stats();
  return { ...callers, groups: groups - before.groups, entries: entries - before.entries };
}

describe('Two cohorts of callers', () => {
  test('become one where they come back sooner than a flush takes, and each waits for one flush', async () => {
    const callers = await twoCohorts(5, 1);
    await callers.bench.pass(100);
    const cycle = FLUSH_MILLISECONDS + 1;
    const { groups, entries } = await flow(callers, 25 * cycle);
    expect([groups, entries]).toEqual([25, 250]);
  });

  test('stay two where they come back too late for it', async () => {
    const callers = await twoCohorts(5, 2 * FLUSH_MILLISECONDS);
    await callers.bench.pass(1_000);
    expect(callers.bench.commit.stats().delayed).toBe(0);
  });

  test('when half of them leave, a group is held for them once, no longer than one and a half flushes, and then for the rest', async () => {
    const callers = await twoCohorts(8, 1);
    const { bench } = callers;
    await bench.pass(200);
    const late = new Callers(bench, 10_000);
    callers.isOver = true;
    await bench.pass(2);
    late.call();
    await bench.pass(10 * FLUSH_MILLISECONDS);
    expect(late.answered).toBe(1);
    expect(bench.commit.stats().openEntries).toBe(0);
  });
});

test('Two cohorts become one also where writing their answers takes longer than a flush', async () => {
  const bench = new LaneBench();
  let told = 0;
  const write = () => {
    bench.clock.advance(2 * FLUSH_MILLISECONDS);
    for (; told > 0; told--) bench.clock.setTimer(1, call);
  };
  const flushed = () => {
    if (told++ === 0) bench.clock.endOfTurn(write);
  };
  const call = () => bench.commit.waitFlushed(2, bench.append(2), { flushed, unknown: () => expect.unreachable() });
  for (let i = 0; i < 5; i++) call();
  await bench.pass(1);
  for (let i = 0; i < 5; i++) call();
  await bench.pass(500);
  const before = bench.commit.stats();
  await bench.pass(500);
  const { groups, entries } = bench.commit.stats();
  expect((entries - before.entries) / (groups - before.groups)).toBe(10);
});

describe('A group is held', () => {
  /** So many are answered in time, over and over, and the last time one comes alone while the others are expected. */
  async function expecting(told: number): Promise<LaneBench> {
    const bench = new LaneBench();
    await bench.trust(told);
    const { delayed } = bench.commit.stats();
    bench.write(2);
    await bench.pass(0);
    expect(bench.commit.stats().delayed).toBe(delayed + 1);
    expect(bench.log.busy).toBe(false);
    return bench;
  }

  test('for one and a half times what the last flush took', async () => {
    const bench = await expecting(8);
    await bench.pass(FLUSH_MILLISECONDS);
    expect(bench.log.busy).toBe(false);
    await bench.pass(2);
    expect(bench.log.busy).toBe(true);
    await bench.pass(FLUSH_MILLISECONDS);
    expect(bench.answers.length).toBe(1);
  });

  test('until all are back', async () => {
    const bench = await expecting(8);
    for (let i = 0; i < 7; i++) bench.write(2);
    bench.clock.endTurn();
    expect(bench.log.busy).toBe(true);
  });

  test('until a part is back, and nobody comes in a turn', async () => {
    const bench = await expecting(8);
    bench.write(2);
    bench.clock.endTurn();
    expect(bench.log.busy).toBe(false);
    bench.write(2);
    bench.clock.endTurn();
    expect(bench.log.busy).toBe(false);
    bench.clock.endTurn();
    expect(bench.log.busy).toBe(true);
  });

  test('not for whoever is alone, nor for one who waits for room', async () => {
    const alone = new LaneBench();
    await alone.trust(1);
    alone.write(2);
    alone.clock.endTurn();
    expect(alone.log.busy).toBe(true);
    const bench = await expecting(8);
    bench.commit.whenRoom(() => {});
    bench.clock.endTurn();
    expect(bench.log.busy).toBe(true);
  });

  test('and sent when everything is to be flushed; a failure meanwhile is the end of it', async () => {
    const drained = await expecting(8);
    let isDrained = false;
    void drained.commit.drain().then(() => {
      isDrained = true;
    });
    await drained.pass(3 * FLUSH_MILLISECONDS);
    expect(isDrained).toBe(true);
    const bench = await expecting(8);
    bench.poisoned = true;
    bench.wait(2, 1);
    expect(bench.answers.map((answer) => answer.split(' ')[1])).toEqual(['STORAGE_FAILED', 'STORAGE_FAILED']);
    expect(bench.clock.pendingTimers).toBe(0);
    await bench.pass(20_000);
    expect([bench.log.busy, bench.clock.pendingTimers]).toEqual([false, 0]);
  });
});

test('any callers: each is told once it is stored and never before, and nothing is held for longer than one and a half flushes', async () => {
  const caller = fc.record({
    first: fc.nat(12),
    back: fc.constantFrom(0, 1, 1, 2, 5, 40),
    calls: fc.integer({ min: 1, max: 40 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(caller, { minLength: 1, maxLength: 8 }), async (callers) => {
      const bench = new LaneBench();
      let [asked, held] = [0, 0];
      const call = ({ back, calls }: (typeof callers)[number], left = calls) => {
        if (left === 0) return;
        asked++;
        const sequence = bench.append(2);
        bench.wait(2, sequence);
        bench.commit.waitFlushed(2, sequence, {
          flushed: () => bench.clock.setTimer(back, () => call({ first: 0, back, calls }, left - 1)),
          unknown: () => expect.unreachable(),
        });
      };
      for (const one of callers) bench.clock.setTimer(one.first, () => call(one));
      for (let idle = 0; idle < 50; ) {
        await bench.pass(1);
        const { openEntries, flightEntries } = bench.commit.stats();
        held = openEntries > 0 && flightEntries === 0 ? held + 1 : 0;
        // The bench sees a flush that ends within a millisecond at the end of it.
        expect(held).toBeLessThanOrEqual(1.5 * (FLUSH_MILLISECONDS + 1));
        idle = openEntries + flightEntries === 0 ? idle + 1 : 0;
      }
      expect(bench.told.length).toBe(asked);
      expect(bench.told.every(({ answer, stored }) => answer === 'flushed' && stored)).toBe(true);
      expect((await replayAll(bench.log, bench.mark.mark)).entries.length).toBe(asked);
    }),
    { numRuns: 25 },
  );
});

test('those who come at a rate of their own are held for little: a part of a group', () => {
  const clock = new ManualClock();
  const delay = new CommitDelay(clock);
  for (let group = 0; group < 50; group++) {
    delay.flushed(clock.monotonicMilliseconds(), FLUSH_MILLISECONDS, 12);
    let held = 0;
    for (; delay.left() > 0; held++) {
      clock.advance(0.25);
      if (held % 2 === 0) delay.came();
    }
    expect(held * 0.25).toBeLessThanOrEqual(FLUSH_MILLISECONDS / 2);
    for (let rest = 12; rest > 3; rest--) delay.came();
    clock.advance(FLUSH_MILLISECONDS);
  }
});

test('what it takes to write the answers is not the time of those who were answered', () => {
  const clock = new ManualClock();
  const delay = new CommitDelay(clock);
  const isHeld = (writing: number, back: number) => {
    for (let group = 0; group < 20; group++) {
      delay.flushed(clock.monotonicMilliseconds(), FLUSH_MILLISECONDS, 4);
      clock.advance(writing);
      delay.answered();
      clock.advance(back);
      for (let i = 0; i < 4; i++) delay.came();
    }
    delay.flushed(clock.monotonicMilliseconds(), FLUSH_MILLISECONDS, 4);
    delay.answered();
    return delay.left() > 0;
  };
  expect(isHeld(4 * FLUSH_MILLISECONDS, 1)).toBe(true);
  expect(isHeld(1, 4 * FLUSH_MILLISECONDS)).toBe(false);
});
