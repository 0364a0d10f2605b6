import { describe, expect, it } from 'vitest';
import { Position } from '../../src/client/position.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { Harness, once } from '../support/client-harness.js';
import type { SeenRequest } from '../support/model-server.js';

const isGet = ({ opcode }: SeenRequest) => opcode === Opcode.GET;

describe('get and read', () => {
  it('answer the value, 0 for what was never written, and what the reading is worth', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    await world.until(client.increment('a', 5));
    expect(await world.until(client.get('a'))).toBe(5n);
    expect(await world.until(client.get('b'))).toBe(0n);
    const [a, b] = await world.until(client.read(['a', 'b']));
    expect(a).toMatchObject({ name: 'a', value: 5n, exists: true, exact: true, durable: true });
    expect(b).toMatchObject({ name: 'b', value: 0n, exists: false });
    expect(a?.position.toString()).toBe('7-0.1');
    expect(await world.until(client.read('a'))).toEqual(a);
    expect(await world.until(client.read([]))).toEqual([]);
    expect(await world.failure(client.get(''))).toMatchObject({ code: 'NAME_INVALID' });
  });

  it('show what is flushed, or with `latest` what is applied, and say which', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    world.server.holdsFlushes = true;
    await world.until(client.increment('a', 5, { ack: 'applied' }));
    const durable = client.read('a');
    expect(await world.until(client.read('a', { read: 'latest' }))).toMatchObject({ value: 5n, durable: false });
    world.server.flush();
    expect(await world.until(durable)).toMatchObject({ value: 5n, durable: true });
    world.server.holdsFlushes = false;
  });

  it('of one turn go out together', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    await world.until(Promise.all(Array.from({ length: 50 }, (_, i) => client.get(`n${i}`))));
    expect(world.server.seen.filter(isGet)).toHaveLength(1);
    const names = Array.from({ length: 25_000 }, (_, i) => `n${i}`);
    expect(await world.until(client.read(names))).toHaveLength(25_000);
    expect(world.server.seen.filter(isGet)).toHaveLength(4);
  });

  it('that are shed are asked again after delays that grow, or told at once to who has callers of its own', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const patient = await world.connect();
    const refused: number[] = [];
    world.server.script = (request) => {
      if (!isGet(request)) return undefined;
      refused.push(world.clock.monotonicMilliseconds());
      return { refuse: 'OVERLOADED' };
    };
    expect(await world.failure(patient.get('a', { timeout: 60_000 }))).toMatchObject({ code: 'TIMEOUT' });
    // Half of a second is the mean of the longest delay
    expect(refused.length).toBeGreaterThan(60);
    expect(refused.length).toBeLessThan(240);
    const relay = await world.connect({ resend: false });
    refused.length = 0;
    expect(await world.failure(relay.get('a'))).toMatchObject({ code: 'OVERLOADED', outcome: 'refused' });
    expect(refused.length).toBe(1);
  });

  it('are asked again after a lost connection and after a refusal that may pass', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    await world.until(client.increment('a', 5));
    world.server.script = once(isGet, { drop: 'before' });
    expect(await world.until(client.get('a'))).toBe(5n);
    world.server.script = once(isGet, { refuse: 'OVERLOADED' });
    expect(await world.until(client.get('a'))).toBe(5n);
    world.server.script = once(isGet, { refuse: 'BAD_REQUEST' });
    expect(await world.failure(client.get('a'))).toMatchObject({ code: 'BAD_REQUEST' });
    world.server.script = (request) => (isGet(request) ? { refuse: 'OVERLOADED' } : undefined);
    expect(await world.failure(client.get('a', { timeout: 700 }))).toMatchObject({
      code: 'TIMEOUT',
      outcome: 'refused',
    });
  });

  it('wait for a position, within their timeout', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    const after = new Position(7, new Map([[0, 2]]));
    await world.until(client.increment('a'));
    const now = client.read('a');
    const late = client.read('a', { after });
    expect(await world.until(now)).toMatchObject({ value: 1n });
    await world.advance(300, 10);
    await world.until(client.increment('a'));
    expect(await world.until(late)).toMatchObject({ value: 2n });
    const never = client.get('a', { after: new Position(7, new Map([[0, 99]])), timeout: 500 });
    expect(await world.failure(never)).toMatchObject({ code: 'TIMEOUT' });
    const elsewhere = client.get('a', { after: new Position(8, new Map([[0, 1]])) });
    expect(await world.failure(elsewhere)).toMatchObject({ code: 'EPOCH_MISMATCH' });
  });
});

describe('set', () => {
  it('answers the value before, and sets on condition', async () => {
    const world = new Harness();
    const client = await world.connect();
    expect(await world.until(client.set('a', -5, { reason: 'start' }))).toEqual({ previous: 0n });
    expect(await world.until(client.set('a', 9, { reason: 'fix', expect: -5 }))).toEqual({ previous: -5n });
    const refused = await world.failure(client.set('a', 1, { reason: 'fix', expect: 1n }));
    expect(refused).toMatchObject({ code: 'EXPECTATION_FAILED', outcome: 'refused' });
    expect(refused.message).toContain('9');
    expect(world.server.partitions.flatMap(({ audit }) => audit)).toEqual([
      { name: 'a', reason: 'start' },
      { name: 'a', reason: 'fix' },
    ]);
  });

  it('happens once, after what was called before it', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    world.server.script = once(({ opcode }: SeenRequest) => opcode === Opcode.SET, { drop: 'after' });
    const before = client.increment('a', 3);
    const set = client.set('a', 10, { reason: 'r', expect: 3 });
    const after = client.increment('a', 1);
    expect(await world.until(Promise.all([before, set, after]))).toEqual([3n, { previous: 3n }, 11n]);
  });

  it('needs a reason and a whole number', async () => {
    const world = new Harness();
    const client = await world.connect();
    expect(await world.failure(client.set('a', 1, { reason: '' }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await world.failure(client.set('a', 1.5, { reason: 'r' }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await world.until(client.increment('a'))).toBe(1n);
  });
});

describe('delete', () => {
  it('answers the value that it had and whether it existed, and minds what is expected', async () => {
    const world = new Harness();
    const client = await world.connect();
    await world.until(client.increment('a', 7));
    const refused = await world.failure(client.delete('a', { reason: 'r', expect: 6 }));
    expect(refused).toMatchObject({ code: 'EXPECTATION_FAILED', outcome: 'refused', detail: 'It is 7.' });
    expect(await world.until(client.delete('a', { reason: 'closed', expect: 7n }))).toEqual({
      previous: 7n,
      existed: true,
    });
    expect(await world.until(client.delete('a', { reason: 'again' }))).toEqual({ previous: 0n, existed: false });
    expect(await world.until(client.read('a'))).toMatchObject({ value: 0n, exists: false });
    const numbers = await world.until(world.connecting({ values: 'number' }));
    await world.until(numbers.increment('a', 2));
    expect(await world.until(numbers.delete('a', { reason: 'r' }))).toEqual({ previous: 2, existed: true });
    expect(await world.failure(client.delete('a', { reason: '' }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await world.failure(client.delete('', { reason: 'r' }))).toMatchObject({ code: 'NAME_INVALID' });
  });

  it('happens once, after what was called before it, whatever becomes of its answer', async () => {
    for (const fault of [{ drop: 'after' }, { drop: 'before' }, { crash: 'after' }] as const) {
      const world = new Harness({ lanes: 1, partitions: 1 });
      const client = await world.connect();
      world.server.script = once(({ opcode }: SeenRequest) => opcode === Opcode.DELETE, fault);
      const before = client.increment('a', 3);
      const gone = client.delete('a', { reason: 'r', expect: 3 });
      const after = client.increment('a', 1);
      await world.settle();
      world.server.start();
      expect(await world.until(Promise.all([before, gone, after]))).toEqual([3n, { previous: 3n, existed: true }, 1n]);
      expect(world.server.values.get('a')).toBe(1n);
    }
  });

  it('lets a counter go on that is added to by its old id: it begins anew, and nothing is lost', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    const counter = client.counter('a');
    for (const sum of [5, 6]) {
      counter.add(sum);
      await world.until(client.flush());
    }
    const other = await world.connect();
    expect(await world.until(other.delete('a', { reason: 'r' }))).toEqual({ previous: 11n, existed: true });
    for (const sum of [20, 2]) {
      counter.add(sum);
      await world.until(client.flush());
    }
    expect(world.server.values.get('a')).toBe(22n);
  });
});

describe('list', () => {
  const taken = async <T>(iterable: AsyncIterable<T>) => {
    const all: T[] = [];
    for await (const item of iterable) all.push(item);
    return all;
  };
  const filled = async (count: number) => {
    const world = new Harness({ lanes: 2, partitions: 4 });
    const client = await world.connect();
    const names = Array.from({ length: count }, (_, i) => `${i % 2 ? 'odd' : 'even'}:${i}`);
    await world.until(client.batch(names.map((name, i) => ({ name, delta: i }))));
    return { world, client, names };
  };

  it('gives each counter of all partitions that begins with the prefix, once', async () => {
    const { world, client, names } = await filled(60);
    const all = await world.until(taken(client.list()));
    expect(new Map(all.map(({ name, value }) => [name, value]))).toEqual(world.server.values);
    expect(all).toHaveLength(60);
    const odd = await world.until(taken(client.list('odd')));
    expect(odd.map(({ name }) => name).sort()).toEqual(names.filter((name) => name.startsWith('odd')).sort());
    expect(await world.until(taken(client.list('nobody')))).toEqual([]);
    const numbers = await world.until(world.connecting({ values: 'number' }));
    expect((await world.until(taken(numbers.list('even:4', { limit: 1 }))))[0]?.value).toBeTypeOf('number');
  });

  it('stops at the limit, and asks for no more than a page ahead of who takes it', async () => {
    const { world, client } = await filled(60);
    const lists = () => world.server.seen.filter(({ opcode }) => opcode === Opcode.LIST).length;
    expect(await world.until(taken(client.list('', { limit: 7 })))).toHaveLength(7);
    for (const limit of [0, -1, 1.5, Number.NaN]) {
      expect(await world.failure(taken(client.list('', { limit })))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
    const alone = new Harness({ lanes: 1, partitions: 1 });
    const only = await alone.connect();
    await alone.until(only.batch(Array.from({ length: 9 }, (_, i) => ({ name: `${i}` }))));
    expect(await alone.until(taken(only.list('', { limit: 3 })))).toHaveLength(3);
    expect(alone.server.seen.filter(({ opcode }) => opcode === Opcode.LIST)).toHaveLength(1);
    const before = lists();
    const iterator = client.list()[Symbol.asyncIterator]();
    await world.until(iterator.next());
    await world.advance(1000);
    expect(lists() - before).toBeLessThanOrEqual(5);
    await iterator.return?.();
    await world.advance(1000);
    expect(lists() - before).toBeLessThanOrEqual(5);
  });

  it('shows what is flushed, or with `latest` what is applied', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    world.server.holdsFlushes = true;
    await world.until(client.increment('a', 4, { ack: 'applied' }));
    expect(await world.until(taken(client.list('', { read: 'latest' })))).toEqual([{ name: 'a', value: 4n }]);
    const durable = taken(client.list());
    let isDone = false;
    durable.then(() => {
      isDone = true;
    });
    await world.advance(1000);
    expect(isDone).toBe(false);
    world.server.flush();
    expect(await world.until(durable)).toEqual([{ name: 'a', value: 4n }]);
  });

  it('goes on over a lost connection, and fails where the directory was replaced or the client closed', async () => {
    const { world, client } = await filled(60);
    world.server.script = once(({ opcode }: SeenRequest) => opcode === Opcode.LIST, { drop: 'before' });
    expect(await world.until(taken(client.list()))).toHaveLength(60);
    const iterator = client.list()[Symbol.asyncIterator]();
    await world.until(iterator.next());
    world.server.changeEpoch();
    world.server.dropConnections();
    const rest = async () => {
      while (!(await iterator.next()).done);
    };
    expect(await world.failure(rest())).toMatchObject({ code: 'EPOCH_MISMATCH' });
    const closing = client.list()[Symbol.asyncIterator]();
    await world.until(closing.next());
    await world.until(client.close());
    const more = async () => {
      while (!(await closing.next()).done);
    };
    expect(await world.failure(more())).toMatchObject({ code: 'CLOSED' });
    expect(await world.failure(taken(client.list()))).toMatchObject({ code: 'CLOSED' });
  });

  it('waits no longer than its timeout, and ends with its signal', async () => {
    const { world, client } = await filled(8);
    world.server.script = ({ opcode }) => (opcode === Opcode.LIST ? { delay: 60_000 } : undefined);
    expect(await world.failure(taken(client.list('', { timeout: 500 })))).toMatchObject({ code: 'TIMEOUT' });
    const signal = AbortSignal.abort();
    expect(await world.failure(taken(client.list('', { signal })))).toMatchObject({ code: 'ABORTED' });
    expect(await world.failure(taken(client.list('x'.repeat(1025))))).toMatchObject({ code: 'NAME_INVALID' });
    expect(await world.failure(taken(client.list('a\ud800')))).toMatchObject({ code: 'NAME_INVALID' });
  });
});

describe('sync and stats', () => {
  it('ask all lanes', async () => {
    const world = new Harness({ lanes: 3, partitions: 6 });
    const client = await world.connect();
    world.server.holdsFlushes = true;
    await world.until(client.increment('a', 1, { ack: 'applied' }));
    const synced = client.sync();
    await world.settle();
    world.server.flush();
    const position = await world.until(synced);
    expect(position.sequenceOf(client.partitionOf('a'))).toBe(1);
    expect((await world.until(client.stats())).map(({ lane }) => lane)).toEqual([0, 1, 2]);
  });
});

describe('a client without a producer', () => {
  it('reads and never writes', async () => {
    const world = new Harness();
    const client = await world.connect({ producer: false });
    expect(await world.until(client.get('a'))).toBe(0n);
    expect(await world.failure(client.increment('a'))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(() => client.counter('a')).toThrow(/INVALID_ARGUMENT/);
    await world.until(client.flush());
    await world.until(client.close());
    expect(world.server.partitions.every((partition) => partition.position === 0)).toBe(true);
  });
});

describe('a position', () => {
  it('is written and read without loss, and merged to the later of two', () => {
    const sequences = new Map([
      [0, 12],
      [15, 2 ** 50],
    ]);
    const position = new Position(0xdeadbeef, sequences);
    expect(Position.parse(position.toString())).toEqual(position);
    expect(JSON.parse(JSON.stringify(position))).toBe(position.toString());
    const merged = position.merge(
      new Position(
        0xdeadbeef,
        new Map([
          [0, 11],
          [3, 4],
        ]),
      ),
    );
    expect([merged.sequenceOf(0), merged.sequenceOf(3), merged.sequenceOf(15)]).toEqual([12, 4, 2 ** 50]);
    expect(() => position.merge(new Position(1, sequences))).toThrow(/EPOCH_MISMATCH/);
    for (const text of [
      '',
      'x',
      '7-',
      '7-1',
      '7-1.',
      '7-1.2.3',
      '7-99999.1',
      '123456789',
      '7 -1.2',
      '7-1.99999999999999999',
    ]) {
      expect(() => Position.parse(text), text).toThrow(/INVALID_ARGUMENT/);
    }
  });
});
