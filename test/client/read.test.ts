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
