import { describe, expect, it } from 'vitest';
import { operationId } from '../../src/client/operation-id.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { Harness, once } from '../support/client-harness.js';
import type { SeenRequest } from '../support/model-server.js';

const isAdd = ({ opcode }: SeenRequest) => opcode === Opcode.ADD;
const MAX = 2n ** 63n - 1n;

describe('batch', () => {
  it('answers a value or an error for each operation, in their order, over all partitions', async () => {
    const world = new Harness({ lanes: 2, partitions: 4 });
    const client = await world.connect();
    const operations = Array.from({ length: 500 }, (_, i) => ({ name: `n${i % 50}`, delta: i }));
    const bad = [
      { name: '', delta: 1 },
      { name: 'x', delta: 0.5 },
      { name: 'y'.repeat(2000), delta: 1 },
      { name: 'n0', delta: 1, max: 0 },
    ];
    const results = await world.until(client.batch([...operations, ...bad]));
    const sums = new Map<string, bigint>();
    for (const [i, { name, delta }] of operations.entries()) {
      const sum = (sums.get(name) ?? 0n) + BigInt(delta);
      sums.set(name, sum);
      expect(results[i]).toEqual({ name, value: sum });
    }
    expect(results.slice(500).map(({ error }) => error?.code)).toEqual([
      'NAME_INVALID',
      'INVALID_ARGUMENT',
      'NAME_INVALID',
      'OUT_OF_BOUNDS',
    ]);
    expect(world.server.values).toEqual(sums);
    expect(await client.batch([])).toEqual([]);
  });

  it('is split by the limits of the server', async () => {
    const world = new Harness({ lanes: 1, partitions: 1, limits: { batch: 10, frame: 4096 } });
    const client = await world.connect();
    const operations = Array.from({ length: 95 }, (_, i) => ({ name: `n${i}` }));
    const long = Array.from({ length: 20 }, (_, i) => ({ name: 'l'.repeat(1000) + i }));
    const results = await world.until(client.batch([...operations, ...long]));
    expect(results.every(({ value }) => value === 1n)).toBe(true);
    expect(world.server.values.size).toBe(115);
  });

  it('keeps the results that it has when the others time out', async () => {
    const world = new Harness({ lanes: 1, partitions: 2 });
    const client = await world.connect({ timeout: 500 });
    const names = ['a', 'b', 'c', 'd', 'e'];
    const slow = client.partitionOf('a');
    world.server.script = (request) => (isAdd(request) && request.partition === slow ? { delay: 2000 } : undefined);
    const results = await world.until(client.batch(names.map((name) => ({ name }))));
    for (const { name, value, error } of results) {
      if (client.partitionOf(name) === slow) expect(error).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' });
      else expect(value).toBe(1n);
    }
    expect(new Set(results.map(({ error }) => error?.code))).toEqual(new Set([undefined, 'TIMEOUT']));
  });

  it('applies all or nothing when atomic', async () => {
    const world = new Harness({ lanes: 2, partitions: 4 });
    const client = await world.connect();
    const transfer = (amount: number) =>
      client.batch(
        [
          { name: 'from{account}', delta: -amount, min: 0 },
          { name: 'to{account}', delta: amount },
        ],
        { atomic: true },
      );
    await world.until(client.increment('from{account}', 10));
    expect((await world.until(transfer(7))).map(({ value }) => value)).toEqual([3n, 7n]);
    const refused = await world.until(transfer(7));
    expect(refused.map(({ error }) => error?.code)).toEqual(['OUT_OF_BOUNDS', 'ATOMIC_ABORTED']);
    expect(world.server.values.get('from{account}')).toBe(3n);
  });

  it('of several partitions is never atomic, and says how it could be', async () => {
    const world = new Harness({ lanes: 1, partitions: 16 });
    const client = await world.connect();
    const operations = Array.from({ length: 20 }, (_, i) => ({ name: `n${i}` }));
    const error = await world.failure(client.batch(operations, { atomic: true }));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', outcome: 'refused' });
    expect(error.message).toContain('{tag}');
    expect(world.server.values.size).toBe(0);
  });
});

describe('the conditions of an increment', () => {
  it('reject it alone where they fail', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    const calls = [
      client.increment('x', 5, { max: 10n }),
      client.increment('x', 6, { max: 10 }),
      client.increment('x', 5, { max: 10 }),
      client.decrement('x', 11, { min: 0 }),
      client.increment('x', MAX),
    ];
    const settled = calls.map((call) => call.catch((error: unknown) => error));
    expect(await world.until(Promise.all(settled))).toMatchObject([
      5n,
      { code: 'OUT_OF_BOUNDS', outcome: 'refused' },
      10n,
      { code: 'OUT_OF_BOUNDS' },
      { code: 'OVERFLOW' },
    ]);
    expect(world.server.seen.filter(isAdd)).toHaveLength(1);
  });

  it('make one with an id happen once', async () => {
    const world = new Harness();
    const client = await world.connect();
    const other = await world.connect();
    expect(await world.until(client.increment('x', 5, { id: 'webhook 1' }))).toBe(5n);
    expect(await world.until(other.increment('x', 5, { id: operationId('webhook 1') }))).toBe(5n);
    const conflict = await world.failure(other.increment('x', 6, { id: 'webhook 1' }));
    expect(conflict).toMatchObject({ code: 'OPERATION_CONFLICT' });
    expect(world.server.values.get('x')).toBe(5n);
    const wrongId = world.failure(client.increment('x', 1, { id: new Uint8Array(5) }));
    expect(await wrongId).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('are checked before anything is sent', async () => {
    const world = new Harness();
    const client = await world.connect();
    for (const delta of [0.1, 2 ** 53, Number.NaN, 2n ** 63n]) {
      expect(await world.failure(client.increment('x', delta))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
    expect(await world.failure(client.decrement('x', -(2n ** 63n)))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await world.failure(client.increment('x', 1, { max: 0.5 }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await world.failure(client.increment('\udc00'))).toMatchObject({ code: 'NAME_INVALID' });
    expect(world.server.seen.filter(isAdd)).toEqual([]);
  });
});

describe('a batch without values', () => {
  const plain = { values: false } as const;

  it('answers what failed, in the order of its operations, and nothing else', async () => {
    const world = new Harness({ lanes: 2, partitions: 4 });
    const client = await world.connect();
    const operations = Array.from({ length: 500 }, (_, i) => ({ name: `n${i % 50}`, delta: i }));
    const bad = [
      { name: 'n0', delta: 1, max: 0 },
      { name: '', delta: 1 },
      { name: 'x', delta: 0.5 },
    ];
    const failed = await world.until(client.batch([...operations, ...bad], plain));
    expect(failed.map(({ index, name, error }) => [index, name, error.code])).toEqual([
      [500, 'n0', 'OUT_OF_BOUNDS'],
      [501, '', 'NAME_INVALID'],
      [502, 'x', 'INVALID_ARGUMENT'],
    ]);
    expect(await world.until(client.batch(operations, plain))).toEqual([]);
    const sums = new Map<string, bigint>();
    for (const { name, delta } of operations) sums.set(name, (sums.get(name) ?? 0n) + BigInt(2 * delta));
    expect(world.server.values).toEqual(sums);
    expect(world.server.seen.filter(isAdd).some(({ flags }) => flags & Flag.VALUES)).toBe(false);
    expect(await client.batch([], plain)).toEqual([]);
  });

  it('goes apart from those with values, in the order of the calls', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    const calls = [
      client.batch([{ name: 'x' }], plain),
      client.batch([{ name: 'x' }, { name: 'x' }]),
      client.batch([{ name: 'x', delta: 4 }], plain),
      client.increment('x'),
    ];
    expect(await world.until(Promise.all(calls))).toEqual([
      [],
      [
        { name: 'x', value: 2n },
        { name: 'x', value: 3n },
      ],
      [],
      8n,
    ]);
    expect(world.server.seen.filter(isAdd).map(({ flags }) => (flags & Flag.VALUES) !== 0)).toEqual([
      false,
      true,
      false,
      true,
    ]);
  });

  it('lists what has no answer when the time is over, with an unknown outcome', async () => {
    const world = new Harness({ lanes: 1, partitions: 2 });
    const client = await world.connect({ timeout: 500 });
    const names = ['a', 'b', 'c', 'd', 'e'];
    const slow = client.partitionOf('a');
    world.server.script = (request) => (isAdd(request) && request.partition === slow ? { delay: 2000 } : undefined);
    const operations = names.map((name) => ({ name }));
    const failed = await world.until(client.batch(operations, plain));
    expect(failed.map(({ name }) => name)).toEqual(names.filter((name) => client.partitionOf(name) === slow));
    for (const { error } of failed) expect(error).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' });
  });

  it('says so where it was applied, but nobody knows any more whether a part was refused', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    for (const partition of world.server.partitions) partition.keepsAnswers = false;
    world.server.script = once(isAdd, { drop: 'after' });
    const failed = await world.until(client.batchTo(0, [{ name: 'x' }, { name: 'y' }], plain));
    expect(failed.map(({ index, error }) => [index, error.code, error.outcome])).toEqual([
      [0, 'ALREADY_APPLIED', 'applied'],
      [1, 'ALREADY_APPLIED', 'applied'],
    ]);
    expect(world.server.values.get('y')).toBe(1n);
  });
});

describe('batchTo', () => {
  it('moves the cursor with the operations, and a later session of the producer finds it', async () => {
    const world = new Harness({ lanes: 2, partitions: 4 });
    const client = await world.connect({ producer: 'ingest' });
    expect(client.cursors).toEqual(new Map());
    const partition = client.partitionOf('x');
    world.server.script = once(isAdd, { drop: 'after' });
    await world.until(client.batchTo(partition, [{ name: 'x', delta: 3 }], { cursor: Uint8Array.of(1, 2) }));
    expect(await world.until(client.batchTo(2, [], { cursor: Uint8Array.of(9) }))).toEqual([]);
    await world.until(client.close());
    const next = await world.connect({ producer: 'ingest' });
    const expected = new Map([[2, Uint8Array.of(9)]]).set(partition, Uint8Array.of(1, 2));
    if (partition === 2) expected.set(2, Uint8Array.of(9));
    expect(new Map(next.cursors)).toEqual(expected);
    expect(world.server.values.get('x')).toBe(3n);
  });

  it('leaves the cursor where it was when the batch is refused', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect({ producer: 'ingest' });
    world.server.script = once(isAdd, { refuse: 'BAD_REQUEST' });
    const moved = client.batchTo(0, [], { cursor: Uint8Array.of(1) });
    expect(await world.failure(moved)).toMatchObject({ code: 'BAD_REQUEST', outcome: 'refused' });
    await world.until(client.increment('x'));
    expect((await world.connect({ producer: 'ingest' })).cursors.size).toBe(0);
  });

  it('is refused where a name belongs elsewhere', async () => {
    const world = new Harness({ lanes: 1, partitions: 2 });
    const client = await world.connect();
    const other = 1 - client.partitionOf('x');
    const [result] = await world.until(client.batchTo(other, [{ name: 'x' }]));
    expect(result?.error).toMatchObject({ code: 'WRONG_PARTITION', outcome: 'refused' });
    expect(await world.until(client.increment('x'))).toBe(1n);
  });

  it('rejects what no frame can hold', async () => {
    const world = new Harness({ lanes: 1, partitions: 1, limits: { batch: 10, frame: 2048 } });
    const client = await world.connect();
    const many = Array.from({ length: 11 }, () => ({ name: 'x' }));
    const long = Array.from({ length: 3 }, (_, i) => ({ name: 'x'.repeat(900) + i }));
    const cursor = new Uint8Array(65);
    expect(await world.failure(client.batchTo(0, many))).toMatchObject({ code: 'TOO_MANY_OPERATIONS' });
    expect(await world.failure(client.batchTo(0, long))).toMatchObject({ code: 'FRAME_TOO_LARGE' });
    expect(await world.failure(client.batchTo(0, [], { cursor }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await world.failure(client.batchTo(1, []))).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe("values: 'number'", () => {
  it('answers numbers, and VALUE_UNSAFE for what was applied but is none', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect({ values: 'number' });
    expect(await world.until(client.increment('x', 2 ** 53 - 1))).toBe(2 ** 53 - 1);
    expect(await world.failure(client.increment('x'))).toMatchObject({ code: 'VALUE_UNSAFE', outcome: 'applied' });
    expect(await world.failure(client.get('x'))).toMatchObject({ code: 'VALUE_UNSAFE' });
    const results = await world.until(client.batch([{ name: 'x' }, { name: 'y' }]));
    expect(results).toMatchObject([{ error: { code: 'VALUE_UNSAFE' } }, { name: 'y', value: 1 }]);
    expect(world.server.values.get('x')).toBe(2n ** 53n + 1n);
    expect(await world.until(client.set('x', 3, { reason: 'r', expect: 2n ** 53n + 1n }).catch((e) => e.code))).toBe(
      'VALUE_UNSAFE',
    );
    expect(await world.until(client.get('x'))).toBe(3);
  });
});

describe('batching', () => {
  it('sends a lone call at the end of its turn, and collects while two batches are on their way', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    const adds = () => world.server.seen.filter(isAdd).length;
    world.server.holdsFlushes = true;
    const calls: Promise<bigint>[] = [];
    for (let turn = 0; turn < 10; turn++) {
      calls.push(client.increment('x'));
      await world.settle();
    }
    expect(adds()).toBe(2);
    world.server.flush();
    await world.settle();
    expect(adds()).toBe(3);
    world.server.flush();
    await world.until(Promise.all(calls));
    expect(world.server.values.get('x')).toBe(10n);
  });

  it('sends a full batch at once', async () => {
    const world = new Harness({ lanes: 1, partitions: 1, limits: { batch: 10 } });
    const client = await world.connect();
    world.server.holdsFlushes = true;
    const calls = Array.from({ length: 95 }, () => client.increment('x'));
    await world.settle();
    expect(world.server.seen.filter(isAdd)).toHaveLength(9);
    world.server.holdsFlushes = false;
    world.server.flush();
    await world.until(Promise.all(calls));
  });
});

describe('an abort', () => {
  it('ends the wait and leaves the sequence whole', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    world.server.holdsFlushes = true;
    const abort = new AbortController();
    const aborted = world.failure(client.increment('x', 1, { signal: abort.signal }));
    await world.settle();
    abort.abort();
    expect(await aborted).toMatchObject({ code: 'ABORTED', outcome: 'unknown' });
    const late = client.increment('x', 1, { signal: abort.signal });
    expect(await world.failure(late)).toMatchObject({ code: 'ABORTED', outcome: 'refused' });
    world.server.holdsFlushes = false;
    world.server.flush();
    expect(await world.until(client.increment('x'))).toBe(2n);
  });
});
