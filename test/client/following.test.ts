import { describe, expect, it } from 'vitest';
import { type FollowEvent, Following, type FollowOptions } from '../../src/client/following.js';
import type { Session } from '../../src/client/session.js';
import { TallystickError } from '../../src/errors.js';
import { ManualClock } from '../support/manual-clock.js';

/** Readings that are followed: when they are asked for, and which are told. The answers are the test's. */

interface Reading {
  readonly name: string;
  readonly value: number;
}

class Bench {
  readonly clock = new ManualClock();
  readonly followers = new Set<(error: TallystickError) => void>();
  /** When each question was asked. */
  readonly asked: number[] = [];
  readonly values = new Map<string, number>();
  readonly told: string[] = [];
  /** Questions that wait for an answer, where the test gives them. */
  readonly open: { resolve: (readings: Reading[]) => void; reject: (error: TallystickError) => void }[] = [];
  answersAtOnce = true;
  readonly following: Following<Reading>;

  constructor(options: Partial<FollowOptions> = {}) {
    const session = { clock: this.clock, followers: this.followers, partitions: 1, limits: { name: 9 } };
    const ask = (): Promise<Reading[]> => {
      this.asked.push(this.clock.monotonicMilliseconds());
      if (this.answersAtOnce) return Promise.resolve(this.answer());
      return new Promise((resolve, reject) => this.open.push({ resolve, reject }));
    };
    const isSame = (told: Reading, found: Reading) => told.value === found.value;
    const all = { names: ['a', 'b'], interval: 100, ...options };
    this.following = new Following(session as unknown as Session, { ask, isSame }, all);
  }

  answer(): Reading[] {
    return ['a', 'b'].map((name) => ({ name, value: this.values.get(name) ?? 0 }));
  }

  /** Reads one event, without waiting for it. */
  read(): void {
    this.following.next().then(
      ({ value }) => this.told.push(value ? inShort(value) : 'end'),
      ({ code }: TallystickError) => this.told.push(code),
    );
  }

  /** Reads on and on, as a loop does. */
  async readAll(): Promise<void> {
    for await (const event of this.following) this.told.push(inShort(event));
    this.told.push('end');
  }

  async pass(milliseconds: number): Promise<void> {
    await new Promise(setImmediate);
    for (let i = 0; i < milliseconds; i += 10) {
      this.clock.advance(10);
      await new Promise(setImmediate);
    }
  }

  /** What was told since this was asked last. */
  get news(): string[] {
    return this.told.splice(0);
  }
}

const inShort = ({ kind, name, value }: FollowEvent<Reading>) => `${kind} ${name}=${value}`;

describe('Readings that are followed', () => {
  it('are all told first, and then those whose number is another one', async () => {
    const bench = new Bench();
    void bench.readAll();
    await bench.pass(250);
    expect(bench.news).toEqual(['value a=0', 'value b=0']);
    bench.values.set('b', 3);
    await bench.pass(100);
    expect(bench.news).toEqual(['change b=3']);
    expect(bench.asked).toEqual([0, 100, 200, 300]);
    bench.following.close();
    await bench.pass(500);
    expect([bench.news, bench.asked.length, bench.clock.pendingTimers]).toEqual([['end'], 4, 0]);
  });

  it('are not asked for where nobody reads, and then told as they are', async () => {
    const bench = new Bench();
    await bench.pass(1_000);
    expect([bench.asked, bench.clock.pendingTimers]).toEqual([[], 0]);
    bench.read();
    await bench.pass(0);
    expect(bench.news).toEqual(['value a=0']);
    bench.values.set('b', 1);
    await bench.pass(50);
    bench.values.set('b', 2);
    await bench.pass(1_000);
    bench.read();
    await bench.pass(0);
    expect(bench.news).toEqual(['value b=2']);
    expect(bench.asked).toEqual([1_000, 2_050]);
  });

  it('that have changed back before they were read are not told', async () => {
    const bench = new Bench();
    for (let i = 0; i < 2; i++) bench.read();
    await bench.pass(100);
    bench.values.set('a', 5);
    bench.values.set('b', 5);
    bench.read();
    await bench.pass(100);
    bench.values.set('b', 0);
    bench.read();
    await bench.pass(300);
    expect(bench.news).toEqual(['value a=0', 'value b=0', 'change a=5']);
    bench.values.set('b', 6);
    await bench.pass(100);
    expect(bench.news).toEqual(['change b=6']);
  });

  it('are asked for one question after the other, and told though each takes longer than the interval', async () => {
    const bench = new Bench();
    bench.answersAtOnce = false;
    void bench.readAll();
    await bench.pass(1_000);
    expect(bench.open).toHaveLength(1);
    bench.open.pop()?.resolve(bench.answer());
    await bench.pass(0);
    expect(bench.news).toEqual(['value a=0', 'value b=0']);
    await bench.pass(1_000);
    expect([bench.open.length, bench.asked.length]).toEqual([1, 2]);
  });

  it('are told one after the other to who is slower than the interval, each as it is then', async () => {
    const bench = new Bench();
    for (let round = 1; round <= 6; round++) {
      bench.values.set('a', round);
      bench.values.set('b', round);
      bench.read();
      await bench.pass(150);
    }
    expect(bench.news).toEqual(['value a=1', 'value b=2', 'change a=3', 'change b=4', 'change a=5', 'change b=6']);
  });

  it('go on over what passes, and end with what does not', async () => {
    const bench = new Bench();
    bench.answersAtOnce = false;
    void bench.readAll().catch(({ code }) => bench.told.push(code));
    await bench.pass(0);
    for (const code of ['TIMEOUT', 'CONNECTION_LOST', 'OVERLOADED'] as const) {
      bench.open.pop()?.reject(new TallystickError(code));
      await bench.pass(100);
      expect(bench.open).toHaveLength(1);
    }
    bench.open.pop()?.resolve(bench.answer());
    await bench.pass(100);
    expect(bench.news).toEqual(['value a=0', 'value b=0']);
    bench.open.pop()?.reject(new TallystickError('NOT_TRACKED'));
    await bench.pass(500);
    expect([bench.news, bench.open.length, bench.followers.size]).toEqual([['NOT_TRACKED'], 0, 0]);
    bench.read();
    await bench.pass(0);
    expect(bench.news).toEqual(['end']);
  });

  it('end with their client, also while they wait', async () => {
    const bench = new Bench();
    for (let i = 0; i < 3; i++) bench.read();
    await bench.pass(50);
    for (const tell of bench.followers) tell(new TallystickError('CLOSED'));
    await bench.pass(0);
    expect([bench.news, bench.clock.pendingTimers]).toEqual([['value a=0', 'value b=0', 'CLOSED'], 0]);
  });

  it('end by a signal, and leave nothing with it', async () => {
    const listeners = new Set<() => void>();
    const signal = {
      aborted: false,
      addEventListener: (_: string, listener: () => void) => listeners.add(listener),
      removeEventListener: (_: string, listener: () => void) => listeners.delete(listener),
    };
    const bench = new Bench({ signal: signal as unknown as AbortSignal });
    bench.read();
    for (const listener of listeners) listener();
    await bench.pass(0);
    expect([bench.news, listeners.size]).toEqual([['ABORTED'], 0]);
    const late = new Bench({ signal: AbortSignal.abort() });
    late.read();
    await late.pass(0);
    expect([late.news, late.asked]).toEqual([['ABORTED'], []]);
  });

  it('are handed to a function, one at a time', async () => {
    const bench = new Bench();
    const events: string[] = [];
    const run = bench.following.run({
      onChange: async (event) => {
        events.push(inShort(event));
        if (events.length === 2) throw new Error('enough');
      },
    });
    run.catch((error: Error) => bench.told.push(error.message));
    await bench.pass(0);
    expect([events, bench.news]).toEqual([['value a=0', 'value b=0'], ['enough']]);
    expect(bench.followers.size).toBe(0);
  });

  it('are of names that can be', () => {
    expect(() => new Bench({ names: ['a', 'x'.repeat(10)] })).toThrow(/^NAME_INVALID/);
  });

  it.each([{ interval: 0 }, { interval: 9 }, { interval: 60_001 }, { interval: 10.5 }, { names: [] }, { prefix: 'a' }])(
    'are not %j',
    (options) => {
      expect(() => new Bench(options as never)).toThrow(/^INVALID_ARGUMENT/);
    },
  );
});
