import { describe, expect, it } from 'vitest';
import { openLoop, type Time } from '../../load/open-loop.mjs';

/** Time that stands still until it is moved. */
class HandTime implements Time {
  #now = 5_000;
  #due: { at: number; callback: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  later(milliseconds: number, callback: () => void): void {
    this.#due.push({ at: this.#now + milliseconds, callback });
  }

  /** Lets time pass in steps of a quarter of a millisecond, and what was answered be seen after each. */
  async pass(milliseconds: number): Promise<void> {
    for (const end = this.#now + milliseconds; this.#now < end; ) {
      this.#now += 0.25;
      const due = this.#due.filter(({ at }) => at <= this.#now);
      this.#due = this.#due.filter(({ at }) => at > this.#now);
      for (const { callback } of due) callback();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Time passes and nobody is called: the process was busy, or stopped. */
  stall(milliseconds: number): void {
    this.#now += milliseconds;
  }
}

describe('an open loop', () => {
  it('starts its calls when they are due, whether or not earlier ones were answered', async () => {
    const time = new HandTime();
    let begun = 0;
    const never = () => {
      begun++;
      return new Promise(() => {});
    };
    void openLoop(never, { rate: 1_000, seconds: 1, time });
    await time.pass(10);
    expect(begun).toBe(11);
  });

  it('counts a latency from the time at which the call was due, so that all calls of a pause feel it', async () => {
    const time = new HandTime();
    const waiting: (() => void)[] = [];
    let isPaused = true;
    const call = () => (isPaused ? new Promise<void>((resolve) => waiting.push(resolve)) : Promise.resolve());
    const done = openLoop(call, { rate: 1_000, seconds: 0.2, time });
    await time.pass(100); // 100 calls become due, none is answered
    isPaused = false;
    for (const answer of waiting) answer();
    await time.pass(100);
    const { calls, histogram, late } = await done;
    expect(calls).toBe(200);
    expect(late.getValueAtPercentile(100) / 1_000).toBeLessThan(1);
    // the calls of the pause waited 100, 99, 98 … ms, the others nothing
    expect(histogram.getValueAtPercentile(100) / 1_000).toBeCloseTo(100, 0);
    expect(histogram.getValueAtPercentile(75) / 1_000).toBeCloseTo(50, 0);
    expect(histogram.getValueAtPercentile(40) / 1_000).toBeLessThan(1);
  });

  it('catches up after it was held up itself, and counts that too', async () => {
    const time = new HandTime();
    const done = openLoop(() => Promise.resolve(), { rate: 1_000, seconds: 0.1, time });
    time.stall(50);
    await time.pass(60);
    const { histogram, late, rate } = await done;
    expect(histogram.totalCount).toBe(100);
    // those that became due meanwhile waited 49, 48, 47 … ms, and were begun as late
    expect(histogram.getValueAtPercentile(75) / 1_000).toBeCloseTo(25, 0);
    expect(late.getValueAtPercentile(75) / 1_000).toBeCloseTo(25, -1);
    expect(rate).toBeCloseTo(1_000, -2);
  });

  it('ends with the first call that fails', async () => {
    const failing = () => Promise.reject(new Error('refused'));
    await expect(openLoop(failing, { rate: 1_000, seconds: 1, time: new HandTime() })).rejects.toThrow('refused');
  });
});
