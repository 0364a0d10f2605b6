import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ABSENT, codeOfStatus, OK } from '../../src/errors.js';
import type { CounterClass } from '../../src/partition/classes.js';
import { decodeExpiryAnswer } from '../../src/protocol/expiry.js';
import { decodeHistoryAnswer, encodeHistory, type HistoryQuestion } from '../../src/protocol/history.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { decodeGetAnswer } from '../../src/protocol/response.js';
import { decodeWindowAnswer, encodeWindow, oldestBucket } from '../../src/protocol/window.js';
import { range, series } from '../../src/series/series.js';
import { stepsOf } from '../../src/series/steps.js';
import { Zone } from '../../src/series/zone.js';
import { HostHarness } from '../lane/host-harness.js';
import { namesOf, type TestClient } from '../lane/lane-harness.js';

/**
 * A whole lane over simulated clock, log and history, held against lists of (time, delta): values, windows, rates, series, past values, times to
 * live and days, under clocks that are set, late events and restarts.
 */

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const CASES = 5_000;
const STEPS = 14;

const [PLAIN, WINDOWED, LIVING, DAILY] = namesOf(0, 4) as [string, string, string, string];
const NAMES = [PLAIN, WINDOWED, LIVING, DAILY] as const;
const LIFE = 2 * HOUR;
const ZONE = 'Europe/Berlin';
const CLASSES: readonly CounterClass[] = [
  { pattern: WINDOWED, windows: '1d', seconds: true, gross: true, history: true, lateness: 'any' },
  { pattern: LIVING, windows: '1h', history: true, lateness: 'any', ttl: LIFE },
  { pattern: DAILY, windows: '1h', history: true, lateness: 'any', rollover: 'daily', zone: ZONE },
];
const zone = new Zone(ZONE);

type Step =
  | { readonly kind: 'add'; readonly name: string; readonly delta: bigint; readonly age: number }
  | { readonly kind: 'pass'; readonly milliseconds: number }
  | { readonly kind: 'restart'; readonly stored: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('add' as const),
      name: fc.constantFrom(...NAMES),
      delta: fc.bigInt(-50n, 900n),
      age: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(MINUTE), fc.nat(10 * MINUTE), fc.nat(50 * HOUR)),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('pass' as const),
      milliseconds: fc.oneof(
        fc.nat(20 * SECOND),
        fc.nat(2 * MINUTE),
        fc.nat(3 * HOUR),
        fc.nat(2 * DAY),
        fc.constantFrom(-DAY, DAY, -5 * SECOND, -HOUR),
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), stored: fc.boolean() }) },
);

interface Event {
  readonly time: number;
  readonly delta: bigint;
}

/** What a counter is: everything that was ever added to it, and when it was. */
interface Counter {
  readonly events: Event[];
  value: bigint;
  /** When it ends, or goes on from 0; infinite where it does not. */
  ends: number;
}

const sumOf = (events: readonly Event[], from: number, to: number): bigint =>
  events.reduce((sum, { time, delta }) => (time >= from && time < to ? sum + delta : sum), 0n);
const floor = (time: number, unit: number): number => Math.floor(time / unit) * unit;
const dayOf = (time: number) => {
  const day = zone.dayOf(time);
  return { begin: zone.startOfDay(day), end: zone.startOfDay(day + 1) };
};

class Model {
  readonly #counters = new Map<string, Counter>();
  #day: { readonly begin: number; readonly end: number };
  /** The latest that the clock has shown. */
  latest: number;

  constructor(now: number) {
    this.#day = dayOf(now);
    this.latest = now;
  }

  counter(name: string): Counter | undefined {
    return this.#counters.get(name);
  }

  /** A request comes: what is past its time is over before it. */
  settle(now: number): void {
    this.latest = Math.max(this.latest, now);
    if (now >= this.#day.end) this.#day = dayOf(now);
    for (const [name, counter] of this.#counters) {
      if (counter.ends > now) continue;
      if (name === LIVING) this.#counters.delete(name);
      else Object.assign(counter, { value: 0n, ends: Number.POSITIVE_INFINITY });
    }
  }

  /** @param time of its own; without one it is now, whatever day the clock was in before */
  add(name: string, delta: bigint, now: number, time: number | undefined): void {
    const counter = this.#counters.get(name) ?? { events: [], value: 0n, ends: Number.POSITIVE_INFINITY };
    this.#counters.set(name, counter);
    counter.events.push({ time: time ?? now, delta });
    if (name !== DAILY || time === undefined || time >= this.#day.begin) counter.value += delta;
    if (name === LIVING && counter.ends === Number.POSITIVE_INFINITY) counter.ends = now + LIFE;
    if (name === DAILY) counter.ends = this.#day.end;
  }
}

/** The lane, and a client that asks. */
class Subject {
  readonly harness: HostHarness;
  #client!: TestClient;

  private constructor(harness: HostHarness) {
    this.harness = harness;
  }

  static async start(): Promise<Subject> {
    const subject = new Subject(await HostHarness.start(CLASSES));
    subject.#client = await subject.harness.client();
    return subject;
  }

  get now(): number {
    return this.harness.clock.wallMilliseconds();
  }

  /** When all is flushed. */
  async restart(stored: boolean): Promise<void> {
    await this.harness.pass(20);
    this.harness.crash(stored);
    await this.harness.open();
    this.#client = await this.harness.client();
  }

  async add(name: string, delta: bigint, time: number | undefined): Promise<void> {
    const operations = [{ key: { name }, delta, ...(time !== undefined && { time }) }];
    const id = this.#client.add(0, { operations }, Flag.APPLIED);
    await this.harness.pass(0);
    expect(this.#client.added(id).refused).toEqual([]);
  }

  async values(): Promise<(bigint | undefined)[]> {
    const id = this.#client.get(0, NAMES, Flag.LATEST);
    await this.harness.pass(0);
    return decodeGetAnswer(this.#client.answerOf(id).body).values.map(({ value }) => value);
  }

  async expiries() {
    const id = this.#client.expiry(0, NAMES, Flag.LATEST);
    await this.harness.pass(0);
    return decodeExpiryAnswer(this.#client.answerOf(id).body).found;
  }

  /** The sum of an aligned window with where it begins, or the code of what refuses it. */
  async window(name: string, milliseconds: number) {
    const window = { mode: 'aligned', milliseconds, ...(name === WINDOWED && { gross: true as const }) } as const;
    const id = this.#client.send(Opcode.WINDOW, Flag.LATEST, 0, (writer) =>
      encodeWindow(writer, { ...window, keys: [{ name }] }),
    );
    await this.harness.pass(0);
    const { now, sums } = decodeWindowAnswer(this.#client.answerOf(id).body);
    const [found] = sums;
    if (found?.sum === undefined) return codeOfStatus(found?.status ?? OK);
    const { bucket, sum, decreases } = found;
    return { from: oldestBucket(window, now, bucket), bucket, sum, decreases: decreases?.sum };
  }

  async history(name: string, question: HistoryQuestion) {
    const id = this.#client.send(Opcode.HISTORY, Flag.LATEST, 0, (writer) =>
      encodeHistory(writer, { question, key: { name } }),
    );
    await this.harness.pass(0);
    return decodeHistoryAnswer(this.#client.answerOf(id).body).found;
  }
}

/** How often a window was told, and how often it was not known. */
const windows = { told: 0, unknown: 0 };

async function compare(subject: Subject, model: Model, at: number): Promise<void> {
  const { now } = subject;
  model.settle(now);
  expect(await subject.values()).toEqual(NAMES.map((name) => model.counter(name)?.value));
  const living = model.counter(LIVING);
  const [, , expiry] = await subject.expiries();
  expect(expiry).toEqual(living ? { status: OK, expires: living.ends } : { status: ABSENT });
  for (const name of [WINDOWED, LIVING, DAILY]) {
    const events = model.counter(name)?.events ?? [];
    for (const length of name === WINDOWED ? [10 * SECOND, MINUTE, 5 * MINUTE, HOUR, DAY] : [MINUTE, HOUR]) {
      const found = await subject.window(name, length);
      if (typeof found === 'string') {
        expect(found).toBe('NOT_TRACKED');
        windows.unknown++;
      } else if (now >= model.latest) {
        // After a clock was set back it has minutes that are to come.
        windows.told++;
        if (name === WINDOWED) {
          const lost = events.filter(({ delta }) => delta < 0n);
          expect([length, found.decreases]).toEqual([length, sumOf(lost, found.from, now + 1)]);
          expect(found.bucket === SECOND).toBe(length <= MINUTE);
        }
        expect([name, length, found.sum]).toEqual([name, length, sumOf(events, found.from, now + 1)]);
      }
    }
    const [from, to] = [floor(now - 60 * HOUR, HOUR), floor(now, HOUR) + 2 * DAY];
    const found = await subject.history(name, { kind: 'buckets', from, to });
    if (found.kind !== 'buckets') throw new Error('No buckets.');
    const points = series(found.buckets, stepsOf({ from, to, step: { count: 1, unit: 'hour' }, zone: 'UTC' }));
    expect(points.map(({ sum, exact }) => [sum, exact])).toEqual(
      points.map(({ start, end }) => [sumOf(events, start, end), true]),
    );
    const added = await subject.history(name, { kind: 'hours', from, to });
    if (added.kind !== 'hours') throw new Error('No hours.');
    const byHour = added.buckets.map((bucket) => ({ ...bucket, span: 'hour' as const }));
    expect(series(byHour, stepsOf({ from, to, step: { count: 1, unit: 'hour' }, zone: 'UTC' }))).toEqual(points);
    expect(range(found.buckets, from, to).sum).toBe(sumOf(events, from, to));
    const past = await subject.history(name, { kind: 'value', at });
    if (past.kind !== 'value') throw new Error('No value.');
    const present = model.counter(name)?.value ?? 0n;
    const expected =
      name === DAILY ? sumOf(events, dayOf(at).begin, past.at) : present - sumOf(events, past.at, to * 2);
    expect([name, past.at >= at && past.at - at < MINUTE, past.value]).toEqual([name, true, expected]);
  }
}

test('values, windows, series, past values, ends and days are what lists of (time, delta) say', async () => {
  const property = fc.asyncProperty(
    fc.array(step, { minLength: STEPS / 2, maxLength: STEPS, size: 'max' }),
    fc.nat(50 * HOUR),
    async (steps, age) => {
      const subject = await Subject.start();
      const model = new Model(subject.now);
      for (const one of steps) {
        if (one.kind === 'pass') subject.harness.clock.stepWall(one.milliseconds);
        else if (one.kind === 'restart') await subject.restart(one.stored);
        else {
          const { now } = subject;
          const time = one.age > 0 && one.name !== PLAIN ? now - one.age : undefined;
          model.settle(now);
          model.add(one.name, one.delta, now, time);
          await subject.add(one.name, one.delta, time);
        }
      }
      await compare(subject, model, subject.now - age);
      expect(subject.harness.failures).toEqual([]);
    },
  );
  await fc.assert(property, { numRuns: Number(process.env['TALLYSTICK_CASES'] ?? CASES) });
  expect(windows.told).toBeGreaterThan(5 * windows.unknown);
}, 600_000);
