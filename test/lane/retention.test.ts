import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { CounterClass } from '../../src/partition/classes.js';
import {
  decodeHistoryAnswer,
  encodeHistory,
  type HistoryFound,
  type HistoryQuestion,
} from '../../src/protocol/history.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { MILLISECONDS, type Resolution } from '../../src/series/bucket.js';
import { HostHarness } from './host-harness.js';
import { namesOf, type TestClient } from './lane-harness.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Names of each class, and how long it keeps minutes, and hours: the server keeps 48 hours and 30 days. */
const NAMES = namesOf(0, 12);
const KEPT = [
  { minutes: 48 * HOUR, hours: 30 * DAY },
  { minutes: DAY, hours: 3 * DAY },
  { minutes: 10 * DAY, hours: 90 * DAY },
  { minutes: 20 * DAY, hours: 30 * DAY },
] as const;
const GIVEN = [true, KEPT[1], KEPT[2], { minutes: KEPT[3].minutes }] as const;
const classOf = (index: number) => index % KEPT.length;
const CLASSES: readonly CounterClass[] = NAMES.map((pattern, index) => {
  return { pattern, history: GIVEN[classOf(index)] as (typeof GIVEN)[number], lateness: 'any' };
});

interface Event {
  readonly index: number;
  readonly time: number;
  readonly delta: bigint;
}

const age = fc.oneof(fc.nat(12 * HOUR), fc.nat(5 * DAY), fc.nat(40 * DAY), fc.nat(120 * DAY));

class Rolling {
  readonly harness: HostHarness;
  #client: TestClient;
  readonly events: Event[] = [];

  constructor(harness: HostHarness, client: TestClient) {
    this.harness = harness;
    this.#client = client;
  }

  static async start(classes: readonly CounterClass[] = CLASSES): Promise<Rolling> {
    const harness = await HostHarness.start(classes);
    return new Rolling(harness, await harness.client());
  }

  get now(): number {
    return this.harness.clock.wallMilliseconds();
  }

  async add(index: number, delta: bigint, time: number): Promise<void> {
    const operations = [{ key: { name: NAMES[index] as string }, delta, time }];
    this.#client.add(0, { operations });
    await this.harness.pass(20);
    this.events.push({ index, time, delta });
  }

  /** What a minute of a counter has come to. */
  sumOfMinute(index: number, time: number): bigint {
    const minuteOf = (time: number) => Math.floor(time / MINUTE);
    const events = this.events.filter((event) => event.index === index && minuteOf(event.time) === minuteOf(time));
    return events.reduce((sum, { delta }) => sum + delta, 0n);
  }

  /**
   * Lets all that can be be rolled up, in a round of the next morning: what is late is in by then, as days that were looked at are not looked at
   * again that day, and no day becomes due within the round.
   */
  async round(): Promise<void> {
    await this.#idle(3 * MINUTE);
    const nine = Math.ceil(this.now / DAY) * DAY + 9 * HOUR;
    this.harness.clock.stepWall(nine - this.now);
    // The next round begins an hour after the last one has ended; each step of a round takes a step of the clock here, or two.
    await this.#idle(2 * HOUR);
  }

  async #idle(milliseconds: number): Promise<void> {
    // So short that what is committed behind a roll-up is answered within its ten seconds.
    for (let passed = 0; passed < milliseconds; passed += 3_000) {
      this.harness.clock.advance(3_000);
      await this.harness.pass(0);
    }
  }

  async restart(classes: readonly CounterClass[]): Promise<void> {
    const drained = this.harness.host.drain();
    await this.harness.pass(2_000);
    await drained;
    this.harness.crash(true);
    this.harness.classes = classes;
    await this.harness.open();
    this.#client = await this.harness.client();
  }

  async #ask(index: number, question: HistoryQuestion): Promise<HistoryFound | 'NOT_TRACKED'> {
    const key = { name: NAMES[index] as string };
    const id = this.#client.send(Opcode.HISTORY, 0, 0, (writer) => encodeHistory(writer, { question, key }));
    await this.harness.pass(50);
    if (this.#client.refusal(id) === 'NOT_TRACKED refused') return 'NOT_TRACKED';
    return decodeHistoryAnswer(this.#client.answerOf(id).body).found;
  }

  async buckets(index: number, from = 0) {
    const found = await this.#ask(index, { kind: 'buckets', from, to: this.now + DAY });
    return found === 'NOT_TRACKED' || found.kind !== 'buckets' ? undefined : found.buckets;
  }

  async valueAt(index: number, at: number) {
    const found = await this.#ask(index, { kind: 'value', at });
    return found === 'NOT_TRACKED' || found.kind !== 'value' ? undefined : found;
  }

  /** What a class that keeps so much has of its counter, by the list of events. */
  expected(index: number, { minutes, hours }: { readonly minutes: number; readonly hours: number }) {
    const dayOf = (time: number) => Math.floor(time / DAY);
    const sums = new Map<string, bigint>();
    for (const { time, delta } of this.events.filter((event) => event.index === index)) {
      let resolution: Resolution = 'minute';
      if (dayOf(time) < dayOf(this.now - minutes)) resolution = 'hour';
      if (resolution === 'hour' && dayOf(time) < dayOf(this.now - hours)) resolution = 'day';
      const place = `${resolution} ${Math.floor(time / MILLISECONDS[resolution])}`;
      sums.set(place, (sums.get(place) ?? 0n) + delta);
    }
    return sums;
  }

  async found(index: number) {
    return new Map(
      ((await this.buckets(index)) ?? []).map(({ resolution, start, sum }) => [
        `${resolution} ${start / MILLISECONDS[resolution]}`,
        sum,
      ]),
    );
  }
}

test('minutes and hours are kept as long as the class of a counter says, and no sum is lost by that', async () => {
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ index: fc.nat(NAMES.length - 1), age, delta: fc.bigInt(1n, 99n) }), {
        minLength: 10,
        maxLength: 40,
        size: 'max',
      }),
      fc.array(fc.nat(15 * DAY), { maxLength: 3 }),
      async (adds, passes) => {
        const rolling = await Rolling.start();
        for (const { index, age, delta } of adds) await rolling.add(index, delta, rolling.now - age);
        for (const milliseconds of [0, ...passes]) {
          rolling.harness.clock.stepWall(milliseconds);
          await rolling.round();
          for (const index of NAMES.keys()) {
            const expected = rolling.expected(index, KEPT[classOf(index)] as (typeof KEPT)[number]);
            expect([index, await rolling.found(index)]).toEqual([index, expected]);
            for (const place of expected.keys()) seen.add(`${classOf(index)} ${place.split(' ')[0]}`);
          }
        }
        expect(rolling.harness.failures).toEqual([]);
      },
    ),
    { numRuns: 50, endOnFailure: true },
  );
  expect(seen.size).toBe(3 * KEPT.length);
});

test('a class that comes to keep less is rolled up, one that comes to keep more keeps what is still there', async () => {
  const rolling = await Rolling.start(NAMES.map((pattern) => ({ pattern, history: true, lateness: 'any' })));
  for (const index of [0, 1, 2]) {
    for (const days of [1, 5, 40]) await rolling.add(index, 1n, rolling.now - days * DAY);
  }
  await rolling.round();
  const server = KEPT[0];
  for (const index of [0, 1, 2]) expect(await rolling.found(index)).toEqual(rolling.expected(index, server));
  const before = await rolling.found(2);
  expect([...before.keys()].map((place) => place.split(' ')[0])).toEqual(['day', 'hour', 'minute']);
  await rolling.restart(CLASSES);
  await rolling.harness.idle(3 * MINUTE);
  await rolling.round();
  expect(await rolling.found(0)).toEqual(rolling.expected(0, server));
  expect(await rolling.found(1)).toEqual(rolling.expected(1, KEPT[1]));
  expect(await rolling.found(2)).toEqual(before);
});

/** Of the names, in turn: how long days are kept. The last class says nothing, and the server keeps them for ever. */
const DAYS_KEPT = [1, 100, 400, Number.POSITIVE_INFINITY];
const BLOCK = 64 * DAY;
const DAYS_CLASSES: readonly CounterClass[] = NAMES.map((pattern, index) => {
  const days = DAYS_KEPT[index % 4] as number;
  const history = days === Number.POSITIVE_INFINITY ? true : { hours: DAY, days: days * DAY };
  return { pattern, history, lateness: 'any' };
});

test('days are kept as long as the class of a counter says, and what was before is unknown and never 0', async () => {
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.array(
          fc.record({
            index: fc.nat(NAMES.length - 1),
            age: fc.nat(700 * DAY),
            delta: fc.oneof(fc.bigInt(-9n, -1n), fc.bigInt(1n, 99n)),
          }),
          {
            minLength: 5,
            maxLength: 25,
          },
        ),
        { minLength: 1, maxLength: 3 },
      ),
      fc.boolean(),
      async (adds, restarts) => {
        const rolling = await Rolling.start(DAYS_CLASSES);
        const known = NAMES.map(() => 0);
        for (const [turn, some] of adds.entries()) {
          for (const { index, age, delta } of some) {
            const time = rolling.now - age;
            // Of a minute that came to 0 before it was emitted there is nothing that could be dropped: it stays known.
            if (rolling.sumOfMinute(index, time) + delta !== 0n) await rolling.add(index, delta, time);
          }
          rolling.harness.clock.stepWall(turn * 50 * DAY);
          await rolling.round();
          if (restarts) await rolling.restart(DAYS_CLASSES);
          for (const index of NAMES.keys()) {
            const events = rolling.events.filter((event) => event.index === index);
            const end = (time: number) => (Math.floor(time / BLOCK) + 1) * BLOCK;
            const due = rolling.now - (DAYS_KEPT[index % 4] as number) * DAY;
            const dropped = events.map(({ time }) => end(time)).filter((blockEnd) => blockEnd <= due);
            const since = Math.max(known[index] as number, ...dropped);
            known[index] = since;
            if (since > 0) {
              seen.add(`${index % 4}`);
              expect(await rolling.buckets(index, since - 1)).toBeUndefined();
              expect(await rolling.valueAt(index, since - 1)).toBeUndefined();
            }
            const kept = await rolling.buckets(index, since);
            const sums = (from: number) =>
              events.reduce((sum, { time, delta }) => (time >= from ? sum + delta : sum), 0n);
            expect(kept?.reduce((sum, bucket) => sum + bucket.sum, 0n)).toBe(sums(since));
            expect(await rolling.valueAt(index, since)).toMatchObject({ value: sums(0) - sums(since), at: since });
          }
        }
        expect(rolling.harness.failures).toEqual([]);
      },
    ),
    { numRuns: 40, endOnFailure: true },
  );
  expect([...seen].sort()).toEqual(['0', '1', '2']);
});

test('a class that comes to keep days for longer does not know those that were dropped', async () => {
  const rolling = await Rolling.start(NAMES.map((pattern) => ({ pattern, history: { days: DAY }, lateness: 'any' })));
  for (const days of [300, 1]) await rolling.add(0, 5n, rolling.now - days * DAY);
  await rolling.round();
  expect(await rolling.buckets(0)).toBeUndefined();
  await rolling.restart(NAMES.map((pattern) => ({ pattern, history: true, lateness: 'any' })));
  await rolling.round();
  expect(await rolling.buckets(0)).toBeUndefined();
  expect(await rolling.valueAt(0, rolling.now - 300 * DAY)).toBeUndefined();
  expect(await rolling.valueAt(0, rolling.now - 100 * DAY)).toMatchObject({ value: 5n });
});
