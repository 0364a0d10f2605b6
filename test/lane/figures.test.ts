import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Acks } from '../../src/lane/acks.js';
import { distribution, histogram, LATENCY_BOUNDS, SIZE_BOUNDS } from '../../src/log/histogram.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { ManualClock } from '../support/manual-clock.js';
import { HostHarness } from './host-harness.js';
import { NAME, namesOf, type TestClient } from './lane-harness.js';

const PRODUCER = { producer: { id: new Uint8Array(16).fill(1) } };
const LARGEST = 2n ** 63n - 1n;

interface Told {
  readonly [key: string]: unknown;
  readonly acks: Record<string, number>;
  readonly ackMicroseconds: Record<string, { readonly count: number; readonly max: number }>;
  readonly queues: Record<string, number>;
  readonly memory: Record<string, number>;
  readonly log: Record<string, number>;
}

const told = async (harness: HostHarness): Promise<Told> => (await harness.stats()) as unknown as Told;

const setTo = (client: TestClient, partition: number, value: bigint) =>
  client.set(partition, { value, reason: 'test' });

describe('What a lane tells of its acknowledgements', () => {
  test('counts writes by what was promised, not reads, nor what was repeated or refused', async () => {
    const harness = await HostHarness.start();
    const client = await harness.client();
    for (let i = 0; i < 5; i++) client.add(0, {});
    for (let i = 0; i < 3; i++) client.add(1, {}, Flag.APPLIED);
    client.get(0, [NAME[0]]);
    client.send(Opcode.ADD, 0, 77, () => {});
    expect((await told(harness)).acks).toEqual({ durable: 0, applied: 3 });
    await harness.pass(50);
    const { acks, refusals, refused } = await told(harness);
    expect(acks).toEqual({ durable: 5, applied: 3 });
    expect([refusals, refused]).toEqual([{ WRONG_PARTITION: 1 }, 1]);
  });

  test('a write that was refused by its counter is told by code, once however often it comes', async () => {
    const harness = await HostHarness.start();
    const client = await harness.client(PRODUCER);
    const steps = (...deltas: bigint[]) => deltas.map((delta) => ({ key: { name: NAME[0] }, delta }));
    setTo(client, 0, LARGEST);
    client.add(0, { operations: steps(1n, -1n) });
    client.add(0, { operations: steps(2n, -1n) }, Flag.ATOMIC);
    client.set(0, { value: 1n, reason: 'test', expect: 7n });
    for (let i = 0; i < 2; i++) client.numbered(1, 1, LARGEST);
    for (let i = 0; i < 3; i++) client.numbered(1, 2, 1n);
    await harness.pass(50);
    // The first of each; a repeat is an answer and no acknowledgement more
    expect((await told(harness)).acks).toEqual({ durable: 6, applied: 0 });
    expect((await told(harness))['operationsRefused']).toEqual({
      OVERFLOW: 3,
      EXPECTATION_FAILED: 1,
      ATOMIC_ABORTED: 1,
    });
  });
});

describe('The sample of acknowledgements', () => {
  test('has about one in sixteen, and its durations', () => {
    const clock = new ManualClock();
    const acks = new Acks(clock);
    let taken = 0;
    for (let i = 0; i < 16_000; i++) {
      const began = acks.begin();
      if (began !== undefined) taken++;
      if (i % 100 === 0) clock.advance(2);
      acks.whenDurable(began)(true);
    }
    const { durable } = acks.describe().ackMicroseconds as Told['ackMicroseconds'];
    expect(durable?.count).toBe(taken);
    expect(taken).toBeGreaterThan(900);
    expect(taken).toBeLessThan(1_100);
    expect(durable?.max).toBeGreaterThanOrEqual(2_000);
    expect(durable?.max).toBeLessThan(2_040);
  });
});

describe('A distribution', () => {
  test('counts up to each bound what is no larger, to two digits', () => {
    const value = fc.integer({ min: 0, max: 10_000_000 });
    fc.assert(
      fc.property(fc.array(value), fc.constantFrom(LATENCY_BOUNDS, SIZE_BOUNDS), (values, bounds) => {
        const recorded = histogram(60_000_000);
        for (const each of values) recorded.recordValue(each);
        const { upTo, count, sum } = distribution(recorded, bounds);
        expect(count).toBe(values.length);
        expect(Object.keys(upTo)).toEqual(bounds.map(String));
        for (const bound of bounds) {
          expect(upTo[bound]).toBeGreaterThanOrEqual(values.filter((each) => each <= bound).length);
          expect(upTo[bound]).toBeLessThanOrEqual(values.filter((each) => each <= bound * 1.01).length);
        }
        const exact = values.reduce((total, each) => total + each, 0);
        expect(Math.abs(sum - exact)).toBeLessThanOrEqual(exact * 0.01 + 1);
      }),
    );
  });
});

describe('What waits on a lane', () => {
  test('is told while it waits, and not after', async () => {
    const harness = await HostHarness.start();
    const client = await harness.client();
    for (let i = 0; i < 4; i++) client.add(0, {});
    client.get(0, [NAME[0]]);
    const before = await told(harness);
    expect(before.queues).toMatchObject({ requestsInFlight: 6, waiters: 5, held: 0 });
    expect(Number(before.queues['openEntries']) + Number(before.queues['flightEntries'])).toBe(4);
    expect(before.memory['requests']).toBeGreaterThan(4 * NAME[0].length);
    await harness.pass(50);
    // The question itself is in flight
    const after = await told(harness);
    expect(after.queues).toMatchObject({ requestsInFlight: 1, waiters: 0, openEntries: 0, flightEntries: 0 });
  });

  test('and its memory by what it is for adds up to what the kernels have', async () => {
    const harness = await HostHarness.start();
    const { memory, partitions } = await told(harness);
    const kernels = (partitions as { memoryBytes: number }[]).reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
    expect((memory['values'] ?? 0) + (memory['windows'] ?? 0) + (memory['rest'] ?? 0)).toBe(kernels);
    expect(memory['groups']).toBe(4 * 1_048_576); // of one: a second one has had no entry yet
    expect(memory['heap']).toBeGreaterThan(1_000_000);
  });
});

describe('Counters with large values', () => {
  const large = async (harness: HostHarness) =>
    ((await told(harness))['partitions'] as { largeValues: number | null }[]).map(({ largeValues }) => largeValues);

  test('are found by a pass, which goes through all slots, again and again', async () => {
    const harness = await HostHarness.start();
    const client = await harness.client();
    expect(await large(harness)).toEqual([null, null]);
    const operations = namesOf(1, 3_000).map((name) => ({ key: { name }, delta: 1n }));
    client.add(1, { operations });
    const edges = [2n ** 60n - 1n, 2n ** 60n, -(2n ** 60n), 1n - 2n ** 60n, LARGEST, -LARGEST];
    const steps = edges.map((delta, i) => ({
      key: { name: operations[i * 599]?.key.name as string },
      delta: delta - 1n,
    }));
    client.add(1, { operations: steps });
    await harness.pass(100);
    expect(await large(harness)).toEqual([0, 4]);
    setTo(client, 0, -LARGEST);
    await harness.pass(50);
    expect(await large(harness)).toEqual([0, 4]);
    await harness.idle(610_000);
    await harness.pass(100);
    expect(await large(harness)).toEqual([1, 4]);
  });
});
