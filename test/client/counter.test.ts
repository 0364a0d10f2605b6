import { describe, expect, it } from 'vitest';
import type { FlushError } from '../../src/client/failures.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { decodeAdd, decodeOpen } from '../../src/protocol/request.js';
import { Harness, once } from '../support/client-harness.js';
import type { SeenRequest } from '../support/model-server.js';

const isAdd = ({ opcode }: SeenRequest) => opcode === Opcode.ADD;
const MAX = 2n ** 63n - 1n;

async function connected(
  options: Parameters<Harness['connect']>[0] = {},
  server: ConstructorParameters<typeof Harness>[0] = {},
) {
  const world = new Harness({ lanes: 1, partitions: 1, ...server });
  const client = await world.connect(options);
  const operations = () =>
    world.server.seen
      .filter(isAdd)
      .map(({ body, flags }) => decodeAdd(body, flags).operations.map((o) => [o.key, o.delta]));
  const opens = () =>
    world.server.seen.filter(({ opcode }) => opcode === Opcode.OPEN).map(({ body }) => decodeOpen(body));
  return { world, client, operations, opens };
}

describe('of a class that keeps gross sums', () => {
  const GROSS = [
    { pattern: 'stock:none', gross: false },
    { pattern: 'stock:*', gross: true },
  ];

  it('increases and decreases go out as two sums, by the first rule that matches', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    world.server.gross = GROSS;
    const client = await world.connect();
    const names = ['stock:lamp', 'stock:none', 'other'];
    for (const name of names) for (const delta of [5, -2, 0, 7n, -3]) client.counter(name).add(delta);
    const counters = client.counters(names);
    for (const i of names.keys()) for (const delta of [1, -1]) counters.add(i, delta);
    await world.until(client.flush());
    expect([...world.server.values.values()]).toEqual([7n, 7n, 7n]);
    expect(world.server.increases).toEqual(
      new Map([
        ['stock:lamp', 13n],
        ['stock:none', 7n],
        ['other', 7n],
      ]),
    );
  });

  it('that began while the client was away they do from its HELLO on', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    const add = async () => {
      for (const delta of [5, -2, -1, 4]) client.counter('stock:lamp').add(delta);
      await world.until(client.flush());
      return world.server.increases.get('stock:lamp');
    };
    expect(await add()).toBe(6n);
    world.server.gross = GROSS;
    expect(await add()).toBe(12n);
    world.server.dropConnections();
    await world.advance(1_000, 10);
    expect(await add()).toBe(21n);
    world.server.gross = undefined;
    world.server.dropConnections();
    await world.advance(1_000, 10);
    expect(await add()).toBe(27n);
  });
});

describe('add', () => {
  it('sums what is added between two batches into one operation', async () => {
    const { world, client, operations } = await connected();
    const x = client.counter('x');
    for (let i = 1; i <= 100; i++) expect(x.add(i)).toBe(true);
    client.counter('y').add(-3n);
    client.counter('x').add();
    await world.until(client.flush());
    expect(operations()).toEqual([
      [
        [{ name: 'x' }, 5051n],
        [{ name: 'y' }, -3n],
      ],
    ]);
    expect(world.server.values.get('x')).toBe(5051n);
  });

  it('goes out at the end of the turn by itself', async () => {
    const { world, client } = await connected();
    client.counter('x').add(2);
    await world.settle();
    expect(world.server.values.get('x')).toBe(2n);
  });

  it('uses the name first and then the id that it asked for, once', async () => {
    const { world, client, operations, opens } = await connected();
    const x = client.counter('x');
    for (let i = 0; i < 3; i++) {
      x.add();
      await world.settle();
    }
    expect(operations()).toEqual([
      [[{ name: 'x' }, 1n]],
      [[{ slot: 0, generation: 1 }, 1n]],
      [[{ slot: 0, generation: 1 }, 1n]],
    ]);
    expect(opens()).toEqual([['x']]);
    expect(world.server.values.get('x')).toBe(3n);
  });

  it('asks for an id once, however long the answer takes', async () => {
    const { world, client, opens } = await connected();
    world.server.script = ({ opcode }) => (opcode === Opcode.OPEN ? { delay: 1000 } : undefined);
    for (let i = 0; i < 3; i++) {
      client.counter('x').add();
      await world.settle();
    }
    expect(opens()).toEqual([['x']]);
    expect(world.server.values.get('x')).toBe(3n);
  });

  it('holds sums beyond 2^53 exactly', async () => {
    const { world, client } = await connected();
    const x = client.counter('x');
    for (let i = 0; i < 5; i++) x.add(Number.MAX_SAFE_INTEGER);
    x.add(10n ** 18n);
    for (let i = 0; i < 3; i++) x.add(-1);
    await world.until(client.flush());
    expect(world.server.values.get('x')).toBe(5n * BigInt(Number.MAX_SAFE_INTEGER) + 10n ** 18n - 3n);
  });

  it('sends a sum before it would leave 64 bits', async () => {
    const { world, client, operations } = await connected();
    await world.until(client.increment('x', -MAX));
    const x = client.counter('x');
    x.add(MAX);
    x.add(MAX);
    x.add(-1);
    await world.until(client.flush());
    expect(
      operations()
        .flat()
        .map(([, delta]) => delta),
    ).toEqual([-MAX, MAX, MAX - 1n]);
    client.counter('x').add(MAX);
    client.counter('x').add(2);
    const error = (await world.failure(client.flush())) as FlushError;
    expect(error.failed.map(({ delta, code }) => [delta, code])).toEqual([
      [MAX, 'OVERFLOW'],
      [2n, 'OVERFLOW'],
    ]);
  });

  it('throws for what is no safe integer, and adds nothing of it', async () => {
    const { world, client } = await connected();
    const x = client.counter('x');
    for (const delta of [0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY, MAX + 1n, -MAX - 2n]) {
      expect(() => x.add(delta)).toThrow(/INVALID_ARGUMENT/);
    }
    expect(() => client.counter('')).toThrow(/NAME_INVALID/);
    expect(() => client.counter('a'.repeat(1025))).toThrow(/NAME_INVALID/);
    expect(() => client.counter('\ud800')).toThrow(/NAME_INVALID/);
    await world.until(client.flush());
    expect(world.server.values).toEqual(new Map());
  });

  it('fills batches up to the limits of the server', async () => {
    const { world, client, operations } = await connected({}, { limits: { batch: 100, frame: 8192 } });
    for (let i = 0; i < 1000; i++) client.counter(`counter ${i}`).add(i);
    for (let i = 0; i < 20; i++) client.counter(`${'long'.repeat(250)} ${i}`).add(i);
    await world.until(client.flush());
    expect(Math.max(...operations().map(({ length }) => length))).toBe(100);
    expect(world.server.values.size).toBe(1020);
    expect(world.server.values.get('counter 999')).toBe(999n);
  });
});

describe('ids', () => {
  it('that the server no longer knows are replaced and nothing is lost or doubled', async () => {
    for (const isWhole of [true, false]) {
      const { world, client } = await connected();
      const counters = ['x', 'y', 'z'].map((name) => client.counter(name));
      for (const counter of counters) counter.add(1);
      await world.settle();
      if (isWhole) world.server.partitions[0]?.forgetIds();
      else world.server.partitions[0]?.refuseIdOf('y');
      for (const counter of counters) counter.add(10);
      await world.until(client.flush());
      expect([...world.server.values.values()]).toEqual([11n, 11n, 11n]);
      for (const counter of counters) counter.add(100);
      await world.until(client.flush());
      expect([...world.server.values.values()]).toEqual([111n, 111n, 111n]);
    }
  });

  it('that come back with a refusal keep a flush waiting until their sums are durable', async () => {
    const { world, client } = await connected();
    const x = client.counter('x');
    x.add(1);
    await world.settle();
    world.server.partitions[0]?.refuseIdOf('x');
    world.server.script = once(({ sequence }: SeenRequest) => sequence?.sequence === 3, { delay: 1000 });
    x.add(10);
    let isFlushed = false;
    const flushed = client.flush().then(() => {
      isFlushed = true;
    });
    await world.advance(900, 10);
    expect(isFlushed).toBe(false);
    await world.until(flushed);
    expect(world.server.values.get('x')).toBe(11n);
  });

  it('are not used in another epoch, not even by batches that wait to be sent again', async () => {
    const { world, client, operations } = await connected();
    for (const name of ['a', 'b', 'c']) client.counter(name).add(1);
    await world.settle();
    world.server.script = once(isAdd, { crash: 'before' });
    client.counter('b').add(5);
    client.counter('c').add(7);
    await world.settle();
    world.server.changeEpoch();
    for (const name of ['other', 'another', 'third']) world.server.partitions[0]?.open(name);
    world.server.start();
    await world.until(client.flush());
    expect(operations().at(-1)).toEqual([
      [{ name: 'b' }, 5n],
      [{ name: 'c' }, 7n],
    ]);
    expect([...world.server.values]).toEqual([
      ['a', 1n],
      ['b', 6n],
      ['c', 8n],
    ]);
    for (const name of ['c', 'b', 'a']) client.counter(name).add(10);
    await world.until(client.flush());
    expect([...world.server.values.values()]).toEqual([11n, 16n, 18n]);
  });

  it('of another epoch count once where the batch had been applied before its end', async () => {
    const { world, client } = await connected();
    client.counter('a').add(1);
    await world.settle();
    world.server.script = once(isAdd, { drop: 'after' });
    client.counter('a').add(5);
    await world.settle();
    world.server.changeEpoch();
    await world.until(client.flush());
    expect(world.server.values.get('a')).toBe(6n);
  });
});

describe('flush', () => {
  it('reports each failed add once, and lets the others be', async () => {
    const { world, client } = await connected();
    await world.until(client.increment('full', MAX));
    client.counter('full').add(1);
    client.counter('free').add(2);
    const error = (await world.failure(client.flush())) as FlushError;
    expect(error).toMatchObject({ name: 'FlushError', code: 'FLUSH_FAILED', omitted: 0 });
    expect(error.failed).toEqual([{ name: 'full', delta: 1n, code: 'OVERFLOW', outcome: 'refused' }]);
    expect(world.server.values.get('free')).toBe(2n);
    await world.until(client.flush());
  });

  it('reports a whole refused batch, whose sequence is filled', async () => {
    const { world, client } = await connected();
    client.counter('x').add(1);
    client.counter('y').add(2);
    world.server.script = once(isAdd, { refuse: 'MEMORY_FULL' });
    const error = (await world.failure(client.flush())) as FlushError;
    expect(error.failed.map(({ name, code }) => [name, code])).toEqual([
      ['x', 'MEMORY_FULL'],
      ['y', 'MEMORY_FULL'],
    ]);
    expect(await world.until(client.increment('x'))).toBe(1n);
  });

  it('gives a position after which another client reads what was written', async () => {
    const { world, client } = await connected({}, { lanes: 2, partitions: 4 });
    for (let i = 0; i < 20; i++) client.counter(`c${i}`).add(i);
    const position = await world.until(client.flush());
    const other = await world.connect({ producer: false });
    const names = Array.from({ length: 20 }, (_, i) => `c${i}`);
    const readings = await world.until(other.read(names, { after: position, read: 'latest' }));
    expect(readings.map(({ value }) => value)).toEqual(names.map((_, i) => BigInt(i)));
  });

  it('rejects with TIMEOUT while some are on their way, which go on', async () => {
    const { world, client } = await connected({ timeout: 1000 });
    world.server.holdsFlushes = true;
    client.counter('x').add(1);
    expect(await world.failure(client.flush())).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' });
    world.server.holdsFlushes = false;
    world.server.flush();
    await world.until(client.flush());
    expect(world.server.values.get('x')).toBe(1n);
  });
});

describe('backpressure', () => {
  const backlog = { high: 4_000, low: 2_000, full: 20_000 };

  it('of add is a false, which ends with drain', async () => {
    const { world, client } = await connected({}, { backlog, limits: { batch: 10 } });
    world.server.holdsFlushes = true;
    const names = Array.from({ length: 2000 }, (_, i) => `name ${i}`);
    const firstRefused = names.findIndex((name) => !client.counter(name).add(1));
    expect(firstRefused).toBeGreaterThan(5);
    let isDrained = false;
    const drained = client.drain().then(() => {
      isDrained = true;
    });
    await world.settle();
    expect(isDrained).toBe(false);
    world.server.holdsFlushes = false;
    world.server.flush();
    await world.until(drained);
    expect(client.counter('one more').add(1)).toBe(true);
    await world.until(client.flush());
    expect(world.server.values.size).toBe(firstRefused + 2);
  });

  it('of increments is their promise: they wait for room, in order, and were surely not sent if they time out', async () => {
    const { world, client } = await connected({ timeout: 2000 }, { backlog, limits: { batch: 10 } });
    world.server.holdsFlushes = true;
    const calls = Array.from({ length: 3000 }, (_, i) => client.increment('x', 1, i === 2999 ? { timeout: 100 } : {}));
    const last = world.failure(calls[2999] as Promise<bigint>);
    await world.advance(200, 10);
    expect(await last).toMatchObject({ code: 'TIMEOUT', outcome: 'refused' });
    expect(world.server.values.get('x')).toBeLessThan(2000n);
    world.server.holdsFlushes = false;
    world.server.flush();
    await world.settle();
    expect(await Promise.all(calls.slice(0, 2999))).toEqual(Array.from({ length: 2999 }, (_, i) => BigInt(i + 1)));
  });
});

describe('close', () => {
  it('flushes first; later calls reject CLOSED', async () => {
    const { world, client } = await connected();
    const x = client.counter('x');
    x.add(3);
    const y = client.increment('y');
    const closed = client.close();
    expect(client.close()).toBe(closed);
    expect(() => x.add(1)).toThrow(/CLOSED/);
    await world.until(closed);
    expect(await y).toBe(1n);
    expect(world.server.values.get('x')).toBe(3n);
    const writes = [client.increment('x'), client.batch([{ name: 'x' }]), client.set('x', 1, { reason: 'r' })];
    const others = [client.flush(), client.drain(), client.get('x'), client.sync(), client.stats()];
    for (const failure of [...writes, ...others].map((call) => world.failure(call))) {
      expect(await failure).toMatchObject({ code: 'CLOSED', outcome: 'refused' });
    }
    expect(world.server.connections.size).toBe(0);
    expect(world.clock.pendingTimers).toBe(0);
  });

  it('reports what it could not flush in its time, and closes all the same', async () => {
    const { world, client } = await connected({ timeout: 1000 });
    world.server.holdsFlushes = true;
    client.counter('x').add(3);
    const increment = world.failure(client.increment('y', 1, { timeout: 60_000 }));
    const error = await world.failure(client.close());
    expect(error).toMatchObject({ failed: [{ name: 'x', delta: 3n, code: 'CLOSED', outcome: 'unknown' }] });
    expect(await increment).toMatchObject({ code: 'CLOSED', outcome: 'unknown' });
    expect(world.clock.pendingTimers).toBe(0);
  });

  it('comes with `await using`', async () => {
    const { world, client } = await connected();
    client.counter('x').add(1);
    await world.until(client[Symbol.asyncDispose]());
    expect(world.server.values.get('x')).toBe(1n);
  });
});
