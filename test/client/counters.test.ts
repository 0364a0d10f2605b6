import { describe, expect, it } from 'vitest';
import type { FlushError } from '../../src/client/failures.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { decodeAdd, decodeOpen } from '../../src/protocol/request.js';
import { Harness } from '../support/client-harness.js';
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

describe('counters by index', () => {
  it('are added to like handles: one operation each, that takes all of a turn', async () => {
    const { world, client, operations } = await connected();
    const counters = client.counters(['x', 'y', 'z']);
    for (let i = 1; i <= 100; i++) expect(counters.add(0, i)).toBe(true);
    counters.add(2, -3n);
    counters.add(0);
    await world.settle();
    expect(operations()).toEqual([
      [
        [{ name: 'x' }, 5051n],
        [{ name: 'z' }, -3n],
      ],
    ]);
    expect(world.server.values.get('x')).toBe(5051n);
  });

  it('may have any names: of any partition, none at all, one of them twice or in another set or handle too', async () => {
    const { world, client } = await connected({}, { lanes: 2, partitions: 5 });
    const names = Array.from({ length: 300 }, (_, i) => `counter ${i % 200}`);
    const sets = [client.counters(names), client.counters([]), client.counters([...names].reverse())];
    const expected = new Map<string, bigint>();
    const add = (name: string, delta: number, where: () => boolean) => {
      expected.set(name, (expected.get(name) ?? 0n) + BigInt(delta));
      where();
    };
    for (let i = 0; i < 5000; i++) {
      const at = (i * 7919) % 300;
      const set = sets[i % 3 === 0 ? 2 : 0];
      const name = set?.names[at] as string;
      add(name, i, () => set?.add(at, i) ?? false);
      if (i % 5 === 0) add(name, 1, () => client.counter(name).add(1));
      if (i % 1777 === 0) await world.settle();
    }
    expect(sets.map((set) => set?.names)).toEqual([names, [], [...names].reverse()]);
    expect(() => sets[1]?.add(0)).toThrow(/INVALID_ARGUMENT/);
    await world.until(client.flush());
    expect(new Map([...world.server.values].sort())).toEqual(new Map([...expected].sort()));
  });

  it('that were added to in the turn of a flush, or of the end, are in it', async () => {
    const { world, client } = await connected();
    const counters = client.counters(['x', 'y']);
    counters.add(0, 1);
    await world.until(client.flush());
    expect(world.server.values).toEqual(new Map([['x', 1n]]));
    counters.add(1, 2);
    await world.until(client.close());
    expect(world.server.values.get('y')).toBe(2n);
    expect(() => counters.add(0)).toThrow(/CLOSED/);
    expect(() => client.counters(['x'])).toThrow(/CLOSED/);
    expect(world.clock.pendingCallbacks).toBe(0);
  });

  it('hold sums beyond 2^53 exactly, and send one before it would leave 64 bits', async () => {
    const { world, client, operations } = await connected();
    const counters = client.counters(['x', 'y']);
    for (let i = 0; i < 5; i++) counters.add(0, Number.MAX_SAFE_INTEGER);
    counters.add(0, 10n ** 18n);
    counters.add(1, -MAX);
    counters.add(1, -2);
    counters.add(1, MAX);
    await world.until(client.flush().catch(() => undefined));
    expect(world.server.values.get('x')).toBe(5n * BigInt(Number.MAX_SAFE_INTEGER) + 10n ** 18n);
    expect(
      operations()
        .flat()
        .filter(([key]) => (key as { name: string }).name === 'y')
        .map(([, delta]) => delta),
    ).toEqual([-MAX, MAX - 2n]);
  });

  it('throw for what is no index or no safe integer, and add nothing of it', async () => {
    const { world, client } = await connected();
    const names = ['x', 'y'];
    const counters = client.counters(names);
    for (const index of [-1, 2, 0.5, Number.NaN, 2 ** 32, Number.POSITIVE_INFINITY, '0', undefined]) {
      expect(() => counters.add(index as number, 1), String(index)).toThrow(/INVALID_ARGUMENT/);
    }
    for (const delta of [0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY, MAX + 1n, -MAX - 2n]) {
      expect(() => counters.add(0, delta)).toThrow(/INVALID_ARGUMENT/);
    }
    for (const bad of ['', 'a'.repeat(1025), '\ud800', 5 as unknown as string]) {
      expect(() => client.counters(['x', bad])).toThrow(/NAME_INVALID/);
    }
    await world.until(client.flush());
    expect(world.server.values).toEqual(new Map());
  });

  it('keep their names, whatever becomes of the array that gave them', async () => {
    const { world, client } = await connected();
    const names = ['x', 'y'];
    const counters = client.counters(names);
    names[0] = 'other';
    names.push('z');
    expect(() => (counters.names as string[]).push('z')).toThrow(TypeError);
    expect(() => counters.add(2)).toThrow(/INVALID_ARGUMENT/);
    counters.add(0);
    await world.until(client.flush());
    expect(world.server.values).toEqual(new Map([['x', 1n]]));
  });

  it('need a producer', async () => {
    const { client } = await connected({ producer: false });
    expect(() => client.counters(['x'])).toThrow(/INVALID_ARGUMENT/);
  });
});

describe('their ids', () => {
  it('are asked for with the first addition to each, once, and used from then on', async () => {
    const { world, client, operations, opens } = await connected();
    const counters = client.counters(['x', 'y', 'z']);
    for (let i = 0; i < 3; i++) {
      counters.add(0);
      if (i > 0) counters.add(1);
      await world.settle();
    }
    expect(operations()).toEqual([
      [[{ name: 'x' }, 1n]],
      [
        [{ slot: 0, generation: 1 }, 1n],
        [{ name: 'y' }, 1n],
      ],
      [
        [{ slot: 0, generation: 1 }, 1n],
        [{ slot: 1, generation: 1 }, 1n],
      ],
    ]);
    expect(opens()).toEqual([['x'], ['y']]);
  });

  it('that the server no longer knows are replaced and nothing is lost or doubled', async () => {
    for (const isWhole of [true, false]) {
      const { world, client } = await connected();
      const counters = client.counters(['x', 'y', 'z']);
      const addAll = (delta: number) => {
        for (let i = 0; i < 3; i++) counters.add(i, delta);
      };
      addAll(1);
      await world.settle();
      if (isWhole) world.server.partitions[0]?.forgetIds();
      else world.server.partitions[0]?.refuseIdOf('y');
      addAll(10);
      await world.until(client.flush());
      expect([...world.server.values.values()]).toEqual([11n, 11n, 11n]);
      addAll(100);
      await world.until(client.flush());
      expect([...world.server.values.values()]).toEqual([111n, 111n, 111n]);
    }
  });

  it('that were refused are not used by what was added meanwhile', async () => {
    const { world, client, operations } = await connected();
    const counters = client.counters(['x']);
    counters.add(0, 1);
    await world.settle();
    world.server.partitions[0]?.forgetIds();
    world.server.holdsFlushes = true;
    // as many batches on their way as may be, and one addition that waits for them, with the id
    for (const delta of [10, 100, 1000]) {
      counters.add(0, delta);
      await world.settle();
    }
    world.server.holdsFlushes = false;
    world.server.flush();
    await world.until(client.flush());
    expect(world.server.values.get('x')).toBe(1111n);
    expect(operations().flat().slice(-1)).toEqual([[{ name: 'x' }, 1000n]]);
  });

  it('are not used in another epoch: not by additions that wait for their batch, nor by batches sent again', async () => {
    const { world, client } = await connected();
    const counters = client.counters(['a', 'b', 'c']);
    const addAll = (delta: number) => {
      for (let i = 0; i < 3; i++) counters.add(i, delta * (i + 1));
    };
    addAll(1);
    await world.settle();
    world.server.holdsFlushes = true;
    for (const delta of [10, 100, 1000]) {
      addAll(delta);
      await world.settle();
    }
    world.server.flush();
    world.server.dropConnections();
    world.server.changeEpoch();
    for (const name of ['other', 'c', 'another', 'b']) world.server.partitions[0]?.open(name);
    world.server.holdsFlushes = false;
    await world.until(client.flush());
    const expected = ['a', 'b', 'c'].map((name, i) => [name, 1111n * BigInt(i + 1)]);
    expect([...world.server.values]).toEqual(expected);
    addAll(10_000);
    await world.until(client.flush());
    expect([...world.server.values]).toEqual(['a', 'b', 'c'].map((name, i) => [name, 11111n * BigInt(i + 1)]));
  });

  it('are asked for in as many requests as the limits of the server take', async () => {
    const { world, client, opens, operations } = await connected({}, { limits: { batch: 100, frame: 8192 } });
    const names = Array.from({ length: 1000 }, (_, i) => (i < 20 ? `${'long'.repeat(250)} ${i}` : `counter ${i}`));
    const counters = client.counters(names);
    for (let i = 0; i < 1000; i++) counters.add(i, i);
    await world.until(client.flush());
    await world.settle();
    expect(Math.max(...opens().map(({ length }) => length))).toBeLessThanOrEqual(100);
    expect(opens().flat().sort()).toEqual([...names].sort());
    for (let i = 0; i < 1000; i++) counters.add(i, i);
    await world.until(client.flush());
    expect(
      operations()
        .flat()
        .slice(-1000)
        .filter(([key]) => 'name' in (key as object)),
    ).toEqual([]);
    expect(names.map((name) => world.server.values.get(name))).toEqual(names.map((_, i) => BigInt(2 * i)));
  });
});

describe('what fails of them', () => {
  it('is reported by the next flush, each once, by name', async () => {
    const { world, client } = await connected();
    await world.until(client.increment('full', MAX));
    const counters = client.counters(['free', 'full']);
    for (let round = 1; round <= 2; round++) {
      counters.add(1, round);
      counters.add(0, 2);
      const error = (await world.failure(client.flush())) as FlushError;
      expect(error.failed).toEqual([{ name: 'full', delta: BigInt(round), code: 'OVERFLOW', outcome: 'refused' }]);
      await world.until(client.flush());
    }
    expect(world.server.values.get('free')).toBe(4n);
  });

  it('includes what was added in the turn in which the client ended', async () => {
    const { world, client } = await connected();
    const counters = client.counters(['x', 'y']);
    counters.add(0, 1);
    world.server.script = (request) => {
      if (!isAdd(request)) return undefined;
      // in the turn of the answer, and before it
      world.clock.endOfTurn(() => counters.add(1, 5));
      return { refuse: 'PRODUCER_FENCED' };
    };
    const error = (await world.failure(client.flush())) as FlushError;
    expect(error.failed).toEqual([
      { name: 'y', delta: 5n, code: 'PRODUCER_FENCED', outcome: 'refused' },
      { name: 'x', delta: 1n, code: 'PRODUCER_FENCED', outcome: 'unknown' },
    ]);
  });
});

describe('backpressure', () => {
  const backlog = { high: 4_000, low: 2_000, full: 8_000 };

  it('of add is a false, which ends with drain', async () => {
    const { world, client } = await connected({}, { backlog, limits: { batch: 10 } });
    world.server.holdsFlushes = true;
    const counters = client.counters(Array.from({ length: 2000 }, (_, i) => `name ${i}`));
    let added = 0;
    while (counters.add(added++)) if (added === 2000) throw new Error('It never asks for patience.');
    let isDrained = false;
    const drained = client.drain().then(() => {
      isDrained = true;
    });
    await world.settle();
    expect(isDrained).toBe(false);
    world.server.holdsFlushes = false;
    world.server.flush();
    await world.until(drained);
    expect(counters.add(1999)).toBe(true);
    await world.until(client.flush());
    expect(world.server.values.size).toBe(added + 1);
  });

  it('that is not heeded takes memory by the counter, not by the addition', async () => {
    const { world, client, operations } = await connected({}, { backlog, limits: { batch: 10 } });
    world.server.holdsFlushes = true;
    const names = Array.from({ length: 500 }, (_, i) => `name ${i}`);
    const counters = client.counters(names);
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 500; i++) counters.add(i, round);
      await world.settle();
    }
    world.server.holdsFlushes = false;
    world.server.flush();
    await world.until(client.flush());
    expect(operations().flat().length).toBeLessThan(2000);
    expect(names.map((name) => world.server.values.get(name))).toEqual(names.map(() => 780n));
  });
});
