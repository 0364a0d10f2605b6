import { describe, expect, it } from 'vitest';
import { HindsightQueue } from '../../src/lane/hindsight-queue.js';
import type { FromReplayer, ReplayOrder } from '../../src/lane/replay-messages.js';
import { firstPlace } from '../../src/log/replay.js';
import type { Then, Wanted } from '../../src/pubsub/hindsight.js';
import { ManualClock } from '../support/manual-clock.js';
import { SHAPE } from './lane-harness.js';

/** Who waits for what was, and what the lane does about it. */

const THEN: Then = { kind: 'names', values: [1n] };
const PATIENCE = 10_000;

class Bench {
  readonly clock = new ManualClock();
  /** What replayers were started for, and those that were stopped. */
  readonly orders: ReplayOrder[] = [];
  readonly stopped: number[] = [];
  readonly answers: [position: number, then: Then | undefined][] = [];
  readonly queue: HindsightQueue;
  #hear: (message: FromReplayer) => void = () => {};

  constructor() {
    const start = (order: ReplayOrder, hear: (message: FromReplayer) => void) => {
      const index = this.orders.push(order) - 1;
      this.#hear = hear;
      return () => this.stopped.push(index);
    };
    this.queue = new HindsightQueue({ commit: { flushedPlace: firstPlace(SHAPE) }, clock: this.clock, start });
  }

  look(partition: number, position: number, followed: Wanted['followed'] = { kind: 'names', names: ['a'] }) {
    return this.queue.look({ partition, position, followed }, (then) => this.answers.push([position, then]));
  }

  /** The replayer at work says something. */
  says(message: FromReplayer): void {
    this.#hear(message);
    this.clock.endTurn();
  }

  finds(position: number): void {
    const wish = this.orders.at(-1)?.wanted.find((each) => each.position === position);
    this.says({ kind: 'found', id: wish?.id ?? 0, past: THEN });
  }

  /** The positions of each order. */
  get asked(): number[][] {
    return this.orders.map(({ wanted }) => wanted.map(({ position }) => position));
  }
}

describe('Who waits for what was', () => {
  it('is served by one replayer at a time, with all others of the partition', () => {
    const bench = new Bench();
    bench.look(0, 1);
    bench.look(1, 2);
    bench.look(0, 3);
    expect(bench.orders).toEqual([]);
    bench.clock.endTurn();
    bench.look(0, 4);
    bench.clock.endTurn();
    expect(bench.asked).toEqual([[1, 3]]);
    bench.finds(3);
    bench.finds(1);
    expect(bench.answers).toEqual([
      [3, THEN],
      [1, THEN],
    ]);
    // its memory is not free before it has ended
    expect(bench.asked).toEqual([[1, 3]]);
    bench.says({ kind: 'ended' });
    expect(bench.asked).toEqual([[1, 3], [2]]);
    bench.says({ kind: 'ended' });
    expect(bench.asked).toEqual([[1, 3], [2], [4]]);
    expect(bench.answers.slice(2)).toEqual([[2, undefined]]);
    expect(bench.queue.describe()).toMatchObject({ waiting: 1, found: 2, notFound: 1 });
  });

  it('is answered in time, whatever the replayer does, which then is stopped', () => {
    const bench = new Bench();
    bench.look(0, 1);
    bench.look(1, 2);
    bench.clock.endTurn();
    bench.clock.advance(PATIENCE - 1);
    expect(bench.answers).toEqual([]);
    bench.clock.advance(1);
    expect(bench.answers).toEqual([
      [1, undefined],
      [2, undefined],
    ]);
    expect(bench.stopped).toEqual([0]);
    bench.says({ kind: 'found', id: 1, past: THEN });
    bench.says({ kind: 'ended' });
    expect([bench.answers.length, bench.orders.length]).toEqual([2, 1]);
    expect(bench.queue.describe()).toMatchObject({ waiting: 0, late: 2, found: 0 });
  });

  it('may go: nothing is answered, and the last one stops the replayer', () => {
    const bench = new Bench();
    const first = bench.look(0, 1);
    const second = bench.look(0, 2);
    bench.look(1, 3)?.();
    bench.clock.endTurn();
    first?.();
    expect(bench.stopped).toEqual([]);
    second?.();
    second?.();
    expect(bench.stopped).toEqual([0]);
    bench.says({ kind: 'ended' });
    expect([bench.answers, bench.orders.length]).toEqual([[], 1]);
    expect(bench.clock.pendingTimers).toBe(0);
  });

  it('is refused where too many wait, or they want too much', () => {
    const bench = new Bench();
    for (let i = 0; i < 1_024; i++) expect(bench.look(0, i)).toBeDefined();
    expect(bench.look(0, 9_999)).toBe(undefined);
    const wide = new Bench();
    const leave = Array.from({ length: 8 }, (_, i) => wide.look(i, 1, { kind: 'prefix', prefix: '' }));
    expect(wide.look(0, 2)).toBe(undefined);
    expect(wide.queue.describe()).toMatchObject({ waiting: 8, refused: 1 });
    leave[0]?.();
    expect(wide.look(0, 2)).toBeDefined();
  });

  it('is told nothing by a replayer that failed, and the next one begins', () => {
    const bench = new Bench();
    bench.look(0, 1);
    bench.look(1, 2);
    bench.clock.endTurn();
    bench.says({ kind: 'failed', code: 'LOG_CORRUPT', detail: '' });
    expect(bench.answers).toEqual([[1, undefined]]);
    bench.says({ kind: 'ended' });
    expect(bench.asked).toEqual([[1], [2]]);
    expect(bench.queue.describe()).toMatchObject({ failed: 1, notFound: 1, waiting: 1 });
  });

  it('is waited for at the end no longer than its replayer is at work', async () => {
    const bench = new Bench();
    bench.look(0, 1);
    bench.look(1, 2);
    bench.clock.endTurn();
    let isStopped = false;
    const stopping = bench.queue.stop().then(() => {
      isStopped = true;
    });
    await Promise.resolve();
    expect([bench.stopped, isStopped]).toEqual([[0], false]);
    bench.says({ kind: 'ended' });
    await stopping;
    expect([bench.answers, bench.orders.length]).toEqual([[], 1]);
    expect(bench.look(0, 3)).toBe(undefined);
  });
});
