import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FailedIncrement, FlushError } from '../../src/client/failures.js';
import type { TallystickError } from '../../src/errors.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { Harness } from '../support/client-harness.js';
import type { Fault } from '../support/model-server.js';

/**
 * Random calls against a server to which random things happen. Each increment has a name of its own, so that the
 * server's values tell of each whether it was applied never, once or more often; handles and counters by index are
 * checked by their sums, and by those of their increases where a class keeps gross sums.
 */

/** Counters by index: more than are taken to their lists together. */
const COUNTERS = 100;
const counterName = (i: number) => `counter ${i}`;

const GROSS = [
  { pattern: 'handle 1', gross: false },
  { pattern: 'handle *', gross: true },
  { pattern: 'counter 1*', gross: true },
];
const keepsGross = (name: string) => /^(handle [^1]|counter 1)/.test(name);

const faults = fc.oneof(
  { weight: 2, arbitrary: fc.constant(undefined) },
  fc.constantFrom<Fault>(
    { drop: 'before' },
    { drop: 'after' },
    { crash: 'before' },
    { crash: 'after' },
    { delay: 30 },
    { refuse: 'OVERLOADED' },
    { refuse: 'STORAGE_FULL' },
    { refuse: 'SHUTTING_DOWN' },
    { refuse: 'STORAGE_FULL', outcome: 'unknown', apply: true },
    { refuse: 'STORAGE_FULL', outcome: 'unknown' },
    { refuse: 'INTERNAL' },
    { refuse: 'INTERNAL', apply: true },
    { refuse: 'BAD_REQUEST' },
    { refuse: 'ID_UNKNOWN' },
  ),
);

const steps = fc.oneof(
  fc.record({
    kind: fc.constant('increment' as const),
    delta: fc.integer({ min: 1, max: 1000 }),
    ack: fc.constantFrom('durable' as const, 'applied' as const),
    timeout: fc.constantFrom(20, 200, 500_000),
  }),
  fc.record({ kind: fc.constant('batch' as const), count: fc.integer({ min: 1, max: 12 }) }),
  fc.record({
    kind: fc.constant('add' as const),
    handle: fc.integer({ min: 0, max: 5 }),
    delta: fc.integer({ min: -50, max: 50 }),
  }),
  fc.record({
    kind: fc.constant('addTo' as const),
    first: fc.nat(COUNTERS - 1),
    count: fc.constantFrom(1, 2, 70),
    delta: fc.integer({ min: -50, max: 50 }),
  }),
  fc.record({ kind: fc.constant('forget' as const), which: fc.option(fc.nat(COUNTERS - 1)) }),
  fc.record({ kind: fc.constant('time' as const), milliseconds: fc.constantFrom(0, 0, 5, 40, 300) }),
  fc.record({ kind: fc.constant('hold' as const), holds: fc.boolean() }),
  fc.record({ kind: fc.constant('epoch' as const) }),
);

interface Story {
  readonly steps: (typeof steps extends fc.Arbitrary<infer Step> ? Step : never)[];
  readonly faults: (Fault | undefined)[];
  readonly ack: 'durable' | 'applied';
  readonly window: number;
  readonly direct: boolean;
}

const stories: fc.Arbitrary<Story> = fc.record({
  steps: fc.array(steps, { minLength: 1, maxLength: 60 }),
  faults: fc.array(faults, { maxLength: 60 }),
  ack: fc.constantFrom('durable', 'applied'),
  window: fc.constantFrom(1, 3, 1024),
  direct: fc.boolean(),
});

/** What callers were told of each name: the deltas that count, and those that may. */
class Told {
  readonly counts = new Map<string, bigint>();
  readonly mayCount = new Map<string, bigint[]>();

  succeeded(name: string, delta: bigint): void {
    this.counts.set(name, (this.counts.get(name) ?? 0n) + delta);
  }

  failed(name: string, delta: bigint, { outcome }: { outcome: string }): void {
    if (outcome === 'applied') this.succeeded(name, delta);
    if (outcome === 'unknown') this.mayCount.set(name, [...(this.mayCount.get(name) ?? []), delta]);
  }

  /** A success, or a sum on its way, that a flush took back. */
  takenBack({ name, delta, outcome }: FailedIncrement): void {
    this.succeeded(name, -delta);
    this.failed(name, delta, { outcome });
  }

  allows(name: string, value: bigint): boolean {
    let sums = [this.counts.get(name) ?? 0n];
    for (const delta of this.mayCount.get(name) ?? []) sums = sums.flatMap((sum) => [sum, sum + delta]);
    return sums.includes(value);
  }
}

async function play(story: Story): Promise<void> {
  const world = new Harness({
    lanes: 2,
    partitions: 3,
    limits: { batch: 4, window: story.window, inFlight: 5 },
    backlog: { high: 2000, low: 1000, full: 4000 },
  });
  world.server.gross = GROSS;
  let chance = 1;
  world.random = () => {
    chance = (chance * 48271) % 2147483647;
    return chance / 2147483647;
  };
  const client = await world.connect({ ack: story.ack, direct: story.direct });
  const counters = client.counters(Array.from({ length: COUNTERS }, (_, i) => counterName(i)));
  const told = new Told();
  /** Of increases alone. */
  const increased = new Told();
  const added = (name: string, delta: bigint) => {
    told.succeeded(name, delta);
    if (delta > 0n) increased.succeeded(name, delta);
  };
  const calls: Promise<void>[] = [];
  let names = 0;

  let next = 0;
  world.server.script = ({ opcode }) => {
    if (opcode === Opcode.HELLO || opcode === Opcode.PING) return undefined;
    const fault = story.faults[next++];
    if (fault && 'crash' in fault) {
      world.clock.setTimer(60, () => {
        world.server.start();
      });
    }
    // nothing but ADD and OPEN is refused for good
    if (fault && 'refuse' in fault && opcode === Opcode.SYNC) return undefined;
    return fault;
  };

  for (const step of story.steps) {
    switch (step.kind) {
      case 'increment': {
        const name = `increment ${names++}`;
        const { ack, timeout } = step;
        const delta = BigInt(step.delta);
        const call = client.increment(name, delta, { ack, timeout });
        calls.push(
          call.then(() => told.succeeded(name, delta)).catch((e: TallystickError) => told.failed(name, delta, e)),
        );
        break;
      }
      case 'batch': {
        const operations = Array.from({ length: step.count }, () => ({ name: `batch ${names++}`, delta: 7 }));
        const call = client.batch(operations, { timeout: 500_000 });
        const tell = (results: Awaited<typeof call>) => {
          for (const { name, error } of results) {
            if (error) told.failed(name, 7n, error);
            else told.succeeded(name, 7n);
          }
        };
        calls.push(call.then(tell));
        break;
      }
      case 'add':
        client.counter(`handle ${step.handle}`).add(step.delta);
        added(`handle ${step.handle}`, BigInt(step.delta));
        break;
      case 'addTo':
        for (let i = step.first; i < step.first + step.count; i++) {
          counters.add(i % COUNTERS, step.delta);
          added(counterName(i % COUNTERS), BigInt(step.delta));
        }
        break;
      case 'forget':
        for (const partition of world.server.partitions) {
          if (step.which === null) partition.forgetIds();
          else partition.refuseIdOf(counterName(step.which));
        }
        break;
      case 'time':
        await world.advance(step.milliseconds, 5);
        break;
      case 'hold':
        world.server.holdsFlushes = step.holds;
        break;
      case 'epoch':
        world.server.flush();
        world.server.dropConnections();
        world.server.changeEpoch();
        break;
    }
  }
  world.server.holdsFlushes = false;
  world.server.scheduleFlush();
  await world.until(Promise.all(calls));
  const flushed = client.close({ timeout: 500_000 }).catch((error: FlushError) => {
    expect(error).toMatchObject({ name: 'FlushError', omitted: 0 });
    for (const failed of error.failed) {
      told.takenBack(failed);
      if (failed.delta > 0n) increased.takenBack(failed);
    }
  });
  await world.until(flushed);

  for (const name of new Set([...told.counts.keys(), ...told.mayCount.keys(), ...world.server.values.keys()])) {
    const value = world.server.values.get(name) ?? 0n;
    const detail = `${name} is ${value}; told ${told.counts.get(name)} and perhaps ${told.mayCount.get(name)}`;
    expect(told.allows(name, value), detail).toBe(true);
    const increases = world.server.increases.get(name) ?? 0n;
    if (keepsGross(name)) expect(increased.allows(name, increases), `${name} was increased by ${increases}`).toBe(true);
  }
  // those of the server have run by then
  await world.advance(100);
  expect(world.clock.pendingTimers).toBe(0);
}

describe('whatever happens to the server and the network', () => {
  it('a batch that was replaced in vain is kept until what has its sequence is flushed', async () => {
    await play({
      steps: [
        { kind: 'hold', holds: true },
        { kind: 'increment', delta: 808, ack: 'durable', timeout: 20 },
        { kind: 'increment', delta: 244, ack: 'durable', timeout: 500_000 },
        { kind: 'add', handle: 0, delta: 39 },
        { kind: 'add', handle: 4, delta: -24 },
        { kind: 'batch', count: 10 },
        { kind: 'batch', count: 1 },
        { kind: 'time', milliseconds: 300 },
        { kind: 'addTo', first: 92, count: 1, delta: -14 },
        { kind: 'forget', which: 26 },
        { kind: 'increment', delta: 929, ack: 'durable', timeout: 500_000 },
      ],
      faults: [
        { refuse: 'INTERNAL', apply: true },
        ...[undefined, undefined, undefined, undefined],
        { drop: 'before' },
        ...[undefined, undefined],
        { crash: 'after' },
        { refuse: 'STORAGE_FULL', outcome: 'unknown', apply: true },
      ],
      ack: 'applied',
      window: 1,
      direct: false,
    });
  });

  it('each increment counts as often as its caller was told', async () => {
    await fc.assert(fc.asyncProperty(stories, play), { numRuns: 500, endOnFailure: false });
  });
});
