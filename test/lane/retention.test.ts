import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { CounterClass } from '../../src/partition/classes.js';
import { decodeHistoryAnswer, encodeHistory } from '../../src/protocol/history.js';
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
    for (let passed = 0; passed < milliseconds; passed += 5_000) {
      this.harness.clock.advance(5_000);
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

  async buckets(index: number) {
    const question = { kind: 'buckets', from: 0, to: this.now + DAY } as const;
    const key = { name: NAMES[index] as string };
    const id = this.#client.send(Opcode.HISTORY, 0, 0, (writer) => encodeHistory(writer, { question, key }));
    await this.harness.pass(50);
    const { found } = decodeHistoryAnswer(this.#client.answerOf(id).body);
    if (found.kind !== 'buckets') throw new Error('No buckets.');
    return found.buckets;
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
      (await this.buckets(index)).map(({ resolution, start, sum }) => [
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
}, 120_000);

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
