import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type HistoryRow, withPending } from '../../src/history/bucket.js';
import { History } from '../../src/history/history.js';
import { DEFAULT_RETENTION, type Retention } from '../../src/history/roll-up.js';
import { range, series, valueAt } from '../../src/series/series.js';
import { type SeriesQuery, stepsOf } from '../../src/series/steps.js';
import { plannerOf, rollUp } from './homes.js';
import { counterOf, DAY, HOUR, MINUTE, NOW, rowAt, upTo } from './rows.js';
import { SimHistoryDisk, SimTables } from './sim-tables.js';

/**
 * History against a list of (time, delta): rows come in any order and late, are committed, the process dies and replays, time
 * passes, steps of roll-ups are taken, days are dropped or not; and all the while every answer is what the list says, or says that it is not exact.
 */

const COUNTERS = [counterOf(5), counterOf(5, 3, 2), counterOf(200)];
const DAYS_KEPT = [Number.POSITIVE_INFINITY, 35];
const ZONES = ['UTC', 'Europe/Berlin', 'Asia/Kolkata', 'Australia/Lord_Howe', 'America/St_Johns'];

type Action =
  | { readonly kind: 'emit'; readonly counter: number; readonly age: number; readonly deltas: readonly bigint[] }
  | { readonly kind: 'commit'; readonly of: number }
  | { readonly kind: 'crash'; readonly stored: boolean; readonly rollUp: boolean; readonly from: number }
  | { readonly kind: 'full' }
  | { readonly kind: 'pass'; readonly hours: number }
  | { readonly kind: 'roll-up'; readonly steps: number }
  | { readonly kind: 'ask'; readonly counter: number; readonly query: (now: number) => SeriesQuery };

const counter = fc.nat(COUNTERS.length - 1);
const query = fc
  .record({
    age: fc.integer({ min: 0, max: 90 * DAY }),
    length: fc.integer({ min: 1, max: 20 * DAY }),
    step: fc.constantFrom(
      ...([
        { count: 1, unit: 'hour' },
        { count: 1, unit: 'day' },
        { count: 30, unit: 'minute' },
      ] as const),
    ),
    zone: fc.constantFrom(...ZONES),
  })
  .map(({ age, length, step, zone }) => (now: number): SeriesQuery => {
    return { from: now - age, to: now - age + length, step, zone };
  });
const hours = fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 0, max: 50 }) }, fc.integer({ min: 0, max: 80 * 24 }));
const deltas = fc.array(fc.oneof(fc.bigInt(-3n, 3n), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)), {
  minLength: 1,
  maxLength: 4,
});
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('emit' as const), counter, age: hours, deltas }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('commit' as const), of: fc.integer({ min: 1, max: 6 }) }) },
  fc.record({ kind: fc.constant('crash' as const), stored: fc.boolean(), rollUp: fc.boolean(), from: fc.nat() }),
  fc.record({ kind: fc.constant('full' as const) }),
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('pass' as const), hours: fc.integer({ min: 1, max: 20 * 24 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('roll-up' as const), steps: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('ask' as const), counter, query }) },
);

class World {
  readonly events: { readonly counter: number; readonly time: number; readonly delta: bigint }[] = [];
  /** All rows that were ever emitted, which the log gives again. */
  readonly #log: HistoryRow[] = [];
  readonly #disk = new SimHistoryDisk();
  #tables = new SimTables(this.#disk, queueMicrotask);
  #history = new History(this.#tables);
  /** Up to where this life of the process has committed. */
  #committed = 0;
  #now = NOW + 120 * DAY;
  readonly #retention: Retention;

  constructor(dayDays: number) {
    this.#retention = { ...DEFAULT_RETENTION, dayDays };
  }

  async run(one: Action): Promise<void> {
    switch (one.kind) {
      case 'emit':
        return this.#emit(one);
      case 'commit':
        return this.#commit(Math.min(this.#log.length, this.#committed + one.of));
      case 'full':
        this.#tables.script.push({ kind: 'full' });
        return;
      case 'crash':
        return this.#crash(one);
      case 'pass':
        this.#now += one.hours * HOUR;
        return;
      case 'roll-up':
        for (let step = 0; step < one.steps; step++) await this.#rollUp();
        return;
      case 'ask':
        return this.ask(one.counter, one.query(this.#now));
    }
  }

  #emit({ counter: index, age, deltas: emitted }: Action & { kind: 'emit' }): void {
    const start = Math.floor(this.#now / HOUR - age) * HOUR;
    const minutes: Record<number, bigint> = {};
    for (const [at, delta] of emitted.entries()) {
      const minute = (at * 17 + age) % 60;
      minutes[minute] = (minutes[minute] ?? 0n) + delta;
      this.events.push({ counter: index, time: start + minute * MINUTE + at, delta });
    }
    this.#log.push(rowAt(COUNTERS[index] as (typeof COUNTERS)[0], start, this.#log.length + 1, minutes));
  }

  async #commit(asOf: number): Promise<void> {
    const rows = this.#log.slice(this.#committed, asOf);
    const { kind } = await this.#history.commit(3, upTo(asOf), rows);
    if (kind === 'flushed') this.#committed = asOf;
    else expect(kind).toBe('not-written');
  }

  async #rollUp(): Promise<void> {
    await rollUp(this.#history, plannerOf(this.#tables), this.#request);
  }

  get #request() {
    return { partition: 3, retention: this.#retention, now: this.#now };
  }

  /** Dies within a transaction; the next life replays from somewhere at or before the watermark. */
  async #crash({ stored, rollUp: rolls, from }: Action & { kind: 'crash' }): Promise<void> {
    const dying = new SimTables(this.#disk, () => dying.crash(stored));
    const history = new History(dying);
    // Neither is answered.
    if (rolls) void rollUp(history, plannerOf(dying), this.#request);
    else void history.commit(3, upTo(this.#log.length), this.#log.slice(this.#committed));
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    this.#tables = new SimTables(this.#disk, queueMicrotask);
    this.#history = new History(this.#tables);
    this.#committed = from % (this.#history.place(3).watermark + 1);
  }

  ask(index: number, asked: SeriesQuery): void {
    const key = COUNTERS[index] as (typeof COUNTERS)[0];
    const events = this.events.filter((event) => event.counter === index);
    const sumIn = (from: number, to: number) =>
      events.reduce((sum, { time, delta }) => (time >= from && time < to ? sum + delta : sum), 0n);
    const rows = this.#log.filter(({ slot, generation }) => slot === key.slot && generation === key.generation);
    // One that the log has and this life has not emitted is as good as open: the kernel has it in memory.
    const [emitted, open] = [rows.filter(({ asOf }) => asOf % 3 > 0), rows.filter(({ asOf }) => asOf % 3 === 0)];
    const read = (from: number, to: number) => {
      const kept = this.#history.read(key, from, to);
      return withPending(
        kept,
        emitted,
        open.filter(({ asOf }) => asOf > kept.watermark),
      );
    };
    const steps = stepsOf(asked);
    const since = this.#sinceOf(index);
    if ((steps.edges[0] as number) < since) return; // NOT_TRACKED
    const points = series(read(steps.edges[0] as number, steps.edges.at(-1) as number), steps);
    for (const { start, end, sum, exact } of points) if (exact) expect(sum).toBe(sumIn(start, end));
    if (asked.zone === 'UTC' && asked.step.unit === 'day') {
      expect(points.map(({ start }) => start)).toEqual(steps.edges.slice(0, -1));
      expect(points.every(({ exact }) => exact)).toBe(true);
    }
    // Minutes are kept for two days, hours for 30: also hours in a zone of whole hours.
    const recent = (steps.edges[0] as number) >= this.#now - (asked.step.unit === 'minute' ? 2 : 30) * DAY;
    if (recent && ['UTC', 'Europe/Berlin'].includes(asked.zone)) expect(points.every(({ exact }) => exact)).toBe(true);
    const whole = range(read(asked.from, asked.to), asked.from, asked.to);
    expect(whole.sum).toBe(sumIn(whole.start, whole.end));
    const present = sumIn(0, Number.POSITIVE_INFINITY);
    const was = valueAt(present, read(asked.from, Date.UTC(2100)), asked.from);
    expect(was.value).toBe(sumIn(0, was.at));
    if (asked.from >= this.#now - 30 * DAY) expect(was.at - asked.from).toBeLessThan(HOUR);
    if (asked.from >= this.#now - 2 * DAY) expect(was.at - asked.from).toBeLessThan(MINUTE);
  }

  /** From when on a counter is known: no later than days are dropped, and nothing is dropped that it had not. */
  #sinceOf(index: number): number {
    const since = this.#history.sinceOf(COUNTERS[index] as (typeof COUNTERS)[0]);
    if (since === 0) return 0;
    expect(since).toBeLessThanOrEqual(this.#now - this.#retention.dayDays * DAY);
    const dropped = this.events.filter(({ counter, time }) => counter === index && time < since);
    expect(Math.max(...dropped.map(({ time }) => time))).toBeGreaterThanOrEqual(since - 64 * DAY);
    return since;
  }

  /** The whole history, when all has been rolled up. */
  async end(): Promise<void> {
    this.#tables.script.length = 0;
    await this.#commit(this.#log.length);
    while (await rollUp(this.#history, plannerOf(this.#tables), this.#request));
    for (const index of COUNTERS.keys()) {
      const { buckets } = this.#history.read(COUNTERS[index] as (typeof COUNTERS)[0], 0, Date.UTC(2100));
      const since = this.#sinceOf(index);
      const events = this.events.filter((event) => event.counter === index && event.time >= since);
      expect(buckets.reduce((sum, bucket) => sum + bucket.sum, 0n)).toBe(
        events.reduce((sum, { delta }) => sum + delta, 0n),
      );
    }
  }
}

test('every answer is what a list of deltas says, through commits, deaths, replays and roll-ups', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...DAYS_KEPT), fc.array(action, { maxLength: 60 }), async (dayDays, actions) => {
      const world = new World(dayDays);
      for (const one of actions) await world.run(one);
      await world.end();
    }),
    { numRuns: 1_000 },
  );
});
