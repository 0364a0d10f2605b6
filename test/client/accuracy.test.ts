import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ConnectOptions } from '../../src/client/connect.js';
import type { IncrementOptions } from '../../src/client/write-options.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { decodeAdd } from '../../src/protocol/request.js';
import { Harness, once } from '../support/client-harness.js';

const ACCURACY = [
  { pattern: 'views:about', accuracy: 'exact' },
  { pattern: 'views:*', accuracy: 'relaxed' },
  { pattern: 'stock:*', accuracy: 'strict' },
] as const;

/** For each increment of these names whether it asks to be answered from memory. */
async function askedApplied(ack: 'durable' | 'applied' | undefined, ownAck?: 'durable' | 'applied') {
  const world = new Harness({ lanes: 1, partitions: 1 });
  world.server.accuracy = ACCURACY;
  const client = await world.connect(ack ? { ack } : {});
  const names = ['views:/', 'views:about', 'stock:1', 'other'];
  const asked: boolean[] = [];
  for (const name of names) {
    await world.until(client.increment(name, 1, ownAck ? { ack: ownAck } : {}));
    const last = world.server.seen.findLast(({ opcode }) => opcode === Opcode.ADD);
    asked.push(((last?.flags ?? 0) & Flag.APPLIED) !== 0);
  }
  return asked;
}

it('a relaxed name is answered from memory unless the caller or the client says otherwise; a strict one never', async () => {
  expect(await askedApplied(undefined)).toEqual([true, false, false, false]);
  expect(await askedApplied('durable')).toEqual([false, false, false, false]);
  expect(await askedApplied('applied')).toEqual([true, true, false, true]);
  expect(await askedApplied(undefined, 'applied')).toEqual([true, true, false, true]);
  expect(await askedApplied(undefined, 'durable')).toEqual([false, false, false, false]);
});

it('items that are seen or counted once ask as increments of their names do', async () => {
  const world = new Harness({ lanes: 1, partitions: 1 });
  world.server.accuracy = ACCURACY;
  const client = await world.connect();
  world.server.script = ({ opcode }) =>
    opcode === Opcode.SEE || opcode === Opcode.ONCE ? { refuse: 'NOT_TRACKED' } : undefined;
  const asked = async (opcode: number, name: string, call: Promise<unknown>) => {
    await world.until(call.catch(() => {}));
    const flags = world.server.seen.findLast((request) => request.opcode === opcode)?.flags ?? 0;
    return [name, (flags & Flag.APPLIED) !== 0];
  };
  for (const [name, applied] of [
    ['views:/', true],
    ['views:about', false],
    ['stock:1', false],
  ] as const) {
    expect(await asked(Opcode.SEE, name, client.see(name, 'x'))).toEqual([name, applied]);
    expect(await asked(Opcode.ONCE, name, client.incrementOnce(name, 'x'))).toEqual([name, applied]);
  }
});

it('a batch of names of each asks for each as is right for it', async () => {
  const world = new Harness({ lanes: 1, partitions: 1 });
  world.server.accuracy = ACCURACY;
  const client = await world.connect();
  const operations = ['stock:1', 'views:/', 'stock:2'].map((name) => ({ name }));
  expect(await world.until(client.batch(operations))).toMatchObject(operations);
  const flags = world.server.seen.filter(({ opcode }) => opcode === Opcode.ADD).map((request) => request.flags);
  expect(flags.map((each) => (each & Flag.APPLIED) !== 0)).toEqual([false, true, false]);
});

it('increments of a strict name are not summed up', async () => {
  const world = new Harness({ lanes: 1, partitions: 1 });
  world.server.accuracy = ACCURACY;
  const client = await world.connect();
  expect(() => client.counter('stock:1')).toThrow(/INVALID_ARGUMENT.*strict class/);
  expect(() => client.counters(['views:/', 'stock:1'])).toThrow(/strict class/);
  expect(client.counter('views:/').add(1)).toBe(true);
});

describe('Awaited increments of a relaxed name', () => {
  /** The operations of each ADD, as they were sent. */
  const sent = (world: Harness) =>
    world.server.seen
      .filter(({ opcode }) => opcode === Opcode.ADD)
      .map(({ flags, body }) => decodeAdd(body, flags).operations.map(({ key, delta }) => ({ ...key, delta })));

  const start = async (options: ConnectOptions = {}) => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    world.server.accuracy = ACCURACY;
    return { world, client: await world.connect(options) };
  };

  it('of one flush go out as one operation, and each is told the value that it made', async () => {
    const { world, client } = await start();
    const deltas = [1, 1n, 5, 1];
    const values = Promise.all([
      ...deltas.map((delta) => client.increment('views:/', delta)),
      client.increment('views:about'),
      client.increment('views:other', 7),
    ]);
    expect(await world.until(values)).toEqual([1n, 2n, 7n, 8n, 1n, 7n]);
    const [exact, relaxed, ...more] = sent(world);
    expect(exact).toEqual([{ name: 'views:about', delta: 1n }]);
    expect(relaxed).toEqual([
      { name: 'views:/', delta: 8n },
      { name: 'views:other', delta: 7n },
    ]);
    expect(more).toEqual([]);
    expect(world.server.seen.at(-1)?.flags).toBe(Flag.VALUES | Flag.SEQUENCED | Flag.APPLIED);
  });

  it('are summed while answers are awaited, and go out by themselves where a call says more', async () => {
    const { world, client } = await start({ ack: 'durable' });
    const calls = [
      client.increment('views:/'),
      client.increment('views:/', 2),
      client.increment('views:/', 3, { max: 100 }),
      client.increment('views:/', 4, { ack: 'applied' }),
      client.increment('views:/', 5, { id: 'x' }),
      client.increment('views:/', 6),
      client.increment('views:/', -1),
      client.increment('views:/', 2n ** 60n),
    ];
    const expected = [1n, 3n, 6n, 10n, 15n, 21n, 20n, 20n + 2n ** 60n];
    expect(await world.until(Promise.all(calls))).toEqual(expected);
    expect(sent(world).flat()).toEqual(
      [3n, 3n, 4n, 5n, 6n, -1n, 2n ** 60n].map((delta) => ({ name: 'views:/', delta })),
    );
  });

  it('that leave 64 bits together are tried one by one', async () => {
    const { world, client } = await start();
    await world.until(client.set('views:/', 2n ** 63n - 4n, { reason: 'test' }));
    const calls = [1, 1, 5, 1, 1].map((delta) => client.increment('views:/', delta).catch(({ code }) => code));
    const most = 2n ** 63n - 1n;
    expect(await world.until(Promise.all(calls))).toEqual([most - 2n, most - 1n, 'OVERFLOW', most, 'OVERFLOW']);
    expect(await world.until(client.get('views:/'))).toBe(most);
  });

  it('that are refused together are each told why; one that is aborted leaves the others', async () => {
    const { world, client } = await start();
    const aborted = new AbortController();
    const calls = [client.increment('views:/'), client.increment('views:/', 2, { signal: aborted.signal })];
    aborted.abort();
    const outcomes = await world.until(Promise.allSettled(calls));
    expect(outcomes).toMatchObject([{ value: 1n }, { reason: { code: 'ABORTED', outcome: 'unknown' } }]);
    world.server.script = ({ opcode }) => (opcode === Opcode.ADD ? { refuse: 'BAD_REQUEST' } : undefined);
    const refused = await world.until(Promise.allSettled([client.increment('views:/'), client.increment('views:/')]));
    expect(refused).toMatchObject([{ reason: { code: 'BAD_REQUEST' } }, { reason: { code: 'BAD_REQUEST' } }]);
  });

  it('of any kind and order each count once and are told the value at their place, over lost connections', async () => {
    const call = fc.record({
      name: fc.constantFrom('views:/', 'views:1', 'views:about', 'other'),
      delta: fc.oneof({ weight: 5, arbitrary: fc.integer({ min: -3, max: 9 }) }, fc.constant(2 ** 53 - 1)),
      says: fc.constantFrom<IncrementOptions>({}, {}, {}, { ack: 'applied' }, { ack: 'durable' }, { max: 2n ** 62n }),
      waits: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, fc.constant(true)),
      drops: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, fc.constant(true)),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(call, { maxLength: 60, size: 'max' }), async (calls) => {
        const { world, client } = await start();
        const values = new Map<string, bigint>();
        const told: Promise<bigint>[] = [];
        const expected: bigint[] = [];
        for (const { name, delta, says, waits, drops } of calls) {
          values.set(name, (values.get(name) ?? 0n) + BigInt(delta));
          expected.push(values.get(name) as bigint);
          told.push(client.increment(name, delta, says));
          if (drops) world.server.script = once(({ opcode }) => opcode === Opcode.ADD, { drop: 'after' as const });
          if (waits) await world.until(Promise.allSettled(told));
        }
        expect(await world.until(Promise.all(told))).toEqual(expected);
      }),
      { numRuns: 100 },
    );
  });
});
