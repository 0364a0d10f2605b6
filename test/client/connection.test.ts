import { describe, expect, it } from 'vitest';
import { laneAddress, parseAddress } from '../../src/client/transport.js';
import { decodeHelloRequest } from '../../src/protocol/control.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { Harness, once } from '../support/client-harness.js';
import type { SeenRequest } from '../support/model-server.js';

const isAdd = ({ opcode }: SeenRequest) => opcode === Opcode.ADD;
const isHello = ({ opcode }: SeenRequest) => opcode === Opcode.HELLO;

describe('connect', () => {
  it('reaches all lanes from any of them', async () => {
    for (const port of [7400, 7402]) {
      const world = new Harness({ lanes: 3, partitions: 6 });
      const client = await world.until(world.connecting({}, `tallystick://somewhere:${port}`));
      expect(client.partitions).toBe(6);
      const names = Array.from({ length: 30 }, (_, i) => `n${i}`);
      await world.until(client.batch(names.map((name) => ({ name }))));
      expect(new Set(world.server.seen.filter(isAdd).map(({ lane }) => lane))).toEqual(new Set([0, 1, 2]));
      expect(world.network.opened).toBe(3);
      await world.until(client.close());
    }
  });

  it('tries the addresses in turn', async () => {
    const world = new Harness();
    const client = await world.until(world.connecting({}, ['nobody:1', 'nobody:2', 'model:7401']));
    expect(await world.until(client.increment('x'))).toBe(1n);
  });

  it('waits for a server that starts, up to its timeout', async () => {
    const world = new Harness();
    world.server.isUp = false;
    const early = world.connecting({});
    await world.advance(3000, 10);
    world.server.start();
    expect(await world.until((await world.until(early)).increment('x'))).toBe(1n);
    world.server.crash();
    const error = await world.failure(world.connecting({ timeout: 500 }));
    expect(error).toMatchObject({ code: 'TIMEOUT', outcome: 'refused' });
    expect(error.message).toContain('ECONNREFUSED');
  });

  it('gives up at once where the server says no, and leaves nothing behind', async () => {
    const world = new Harness();
    world.server.script = (request) => (isHello(request) ? { refuse: 'UNAUTHORIZED' } : undefined);
    expect(await world.failure(world.connecting({}))).toMatchObject({ code: 'UNAUTHORIZED' });
    world.server.script = (request) =>
      isHello(request) && request.lane === 1 ? { refuse: 'UNAUTHORIZED' } : undefined;
    expect(await world.failure(world.connecting({}))).toMatchObject({ code: 'UNAUTHORIZED' });
    await world.settle();
    expect(world.server.connections.size).toBe(0);
    expect(world.clock.pendingTimers).toBe(0);
  });

  it('tries again where the server says later', async () => {
    const world = new Harness();
    world.server.script = once(isHello, { refuse: 'PRODUCERS_FULL' });
    await world.connect();
    world.server.script = once((request: SeenRequest) => isHello(request) && request.lane === 1, { drop: 'after' });
    const client = await world.connect();
    await world.until(client.batch(Array.from({ length: 20 }, (_, i) => ({ name: `n${i}` }))));
    expect(world.server.values.size).toBe(20);
  });

  it('can be aborted', async () => {
    const world = new Harness();
    world.server.isUp = false;
    const abort = new AbortController();
    const connecting = world.failure(world.connecting({ signal: abort.signal }));
    await world.settle();
    abort.abort();
    expect(await connecting).toMatchObject({ code: 'ABORTED' });
    expect(world.clock.pendingTimers).toBe(0);
  });

  it('says who it is', async () => {
    const world = new Harness({ lanes: 1 });
    await world.connect({ token: 'secret', producer: 'me' });
    const hello = decodeHelloRequest((world.server.seen[0] as SeenRequest).body);
    expect(hello).toMatchObject({ version: 1, token: 'secret', producer: { name: 'me' } });
    expect(hello.resume).toBeUndefined();
    world.server.dropConnections();
    await world.advance(1000, 10);
    const again = decodeHelloRequest((world.server.seen.at(-1) as SeenRequest).body);
    expect(again.resume).toHaveLength(4);
    expect(again.producer).toEqual({ name: 'me' });
  });

  it('rejects what is no address or no timeout', async () => {
    const world = new Harness();
    for (const url of [
      '',
      'host',
      'host:0',
      'host:65536',
      'http://host:1',
      'host:1/x',
      'a b:1',
      '::1:1',
      'ws://host',
      'wss://h:1',
      'ws://tallystick://h:1',
    ]) {
      expect(await world.failure(world.connecting({}, url)), url).toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
    expect(await world.failure(world.connecting({}, []))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await world.failure(world.connecting({ timeout: 0 }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(parseAddress('tallystick://[::1]:7400/')).toEqual({ scheme: 'tallystick', host: '::1', port: 7400 });
    expect(parseAddress('example.org:7400')).toEqual({ scheme: 'tallystick', host: 'example.org', port: 7400 });
    expect(parseAddress('ws://[::1]:7400')).toEqual({ scheme: 'ws', host: '::1', port: 7400 });
    expect(parseAddress('ws://example.org:7400/')).toEqual({ scheme: 'ws', host: 'example.org', port: 7400 });
  });

  it('takes a wildcard for the host by which the server was reached', () => {
    for (const scheme of ['tallystick', 'ws'] as const) {
      const seed = { scheme, host: 'db.example', port: 1 };
      for (const host of ['0.0.0.0', '::', '']) {
        expect(laneAddress({ host, port: 2 }, seed)).toEqual({ scheme, host: 'db.example', port: 2 });
      }
      expect(laneAddress({ host: '10.0.0.1', port: 2 }, seed)).toEqual({ scheme, host: '10.0.0.1', port: 2 });
    }
  });
});

describe('a connection', () => {
  it('comes back after a delay that grows and is drawn by chance', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    await world.connect();
    world.random = () => 0.999;
    world.server.crash();
    const attempts: number[] = [];
    for (let passed = 0; passed < 30_000; passed += 10) {
      const before = world.network.opened;
      await world.advance(10);
      if (world.network.opened > before) attempts.push(passed);
    }
    const gaps = attempts.slice(1).map((at, i) => at - (attempts[i] as number));
    expect(gaps.slice(0, 6)).toEqual([100, 200, 400, 800, 1000, 1000].map((gap) => expect.closeTo(gap, -1.7)));
    expect(Math.max(...gaps)).toBeLessThan(1_100);
  });

  it('finds a lane that has moved to another port', async () => {
    const world = new Harness({ lanes: 2, partitions: 2 });
    const client = await world.connect();
    world.server.crash();
    await world.advance(1000, 10);
    world.server.addresses = [world.server.addresses[0] as never, { host: '::', port: 9999 }];
    world.server.start();
    const names = Array.from({ length: 10 }, (_, i) => ({ name: `n${i}` }));
    const results = await world.until(client.batch(names));
    expect(results.every(({ value }) => value === 1n)).toBe(true);
  });

  it('finds lanes that have changed places', async () => {
    const world = new Harness({ lanes: 2, partitions: 2 });
    const client = await world.connect();
    world.server.crash();
    world.server.addresses = [...world.server.addresses].reverse();
    world.server.start();
    const names = Array.from({ length: 10 }, (_, i) => ({ name: `n${i}` }));
    const results = await world.until(client.batch(names));
    expect(results.every(({ value }) => value === 1n)).toBe(true);
  });

  it('that says nothing while something is awaited is given up', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    world.network.isBlackHole = true;
    const call = client.increment('x', 1, { timeout: 60_000 });
    await world.advance(16_000, 100);
    expect(world.network.opened).toBeGreaterThan(1);
    world.network.isBlackHole = false;
    expect(await world.until(call)).toBe(1n);
  });

  it('that waits long for an answer is kept as long as it answers PING', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    world.server.holdsFlushes = true;
    const call = client.increment('x', 1, { timeout: 60_000 });
    await world.advance(50_000, 100);
    world.server.flush();
    expect(await world.until(call)).toBe(1n);
    expect(world.network.opened).toBe(1);
    expect(world.server.seen.some(({ opcode }) => opcode === Opcode.PING)).toBe(true);
  });

  it('that is idle is left in peace', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    await world.connect();
    await world.advance(120_000, 1000);
    expect(world.server.seen).toHaveLength(1);
    expect(world.clock.pendingTimers).toBe(0);
  });

  it('takes answers in pieces of any size', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    world.network.chunkBytes = 1;
    const client = await world.connect();
    const results = await world.until(client.batch(Array.from({ length: 50 }, (_, i) => ({ name: `n${i % 7}` }))));
    expect(results.every(({ error }) => error === undefined)).toBe(true);
  });

  it('over which nonsense comes is dropped, and nothing is lost by it', async () => {
    const nonsense = [
      Uint8Array.of(1, 0, 0, 0, 1),
      Uint8Array.of(255, 255, 255, 255),
      Uint8Array.of(8, 0, 0, 0, 132, 0, 0, 0, 77, 0, 0, 0),
      Uint8Array.of(9, 0, 0, 0, 132, 0, 0, 0, 2, 0, 0, 0, 255),
      Uint8Array.of(8, 0, 0, 0, 255, 0, 255, 255, 0, 0, 0, 0),
    ];
    for (const bytes of nonsense) {
      const world = new Harness({ lanes: 1, partitions: 1 });
      const client = await world.connect();
      world.server.script = once(isAdd, { delay: 1000 });
      const call = client.increment('x');
      await world.settle();
      for (const connection of world.server.connections) connection.send(bytes);
      expect(await world.until(call)).toBe(1n);
      expect(client.statistics).toMatchObject({ reconnections: 1, repeated: 1 });
    }
  });
});
