import { beforeEach, describe, expect, test } from 'vitest';
import type { Client } from '../../src/client/index.js';
import { clientOfTest } from './clients.js';
import { startProgram } from './ingest-programs.js';
import { serverOfTest, sharedServer } from './server-process.js';

const MAXIMUM = 2n ** 63n - 1n;
const MINIMUM = -(2n ** 63n);

const server = sharedServer({ lanes: 2, partitions: 8 });
let client: Client;
let names = 0;
/** A name that no other test has. */
const fresh = (tag = '') => `counter-${names++}${tag}`;

beforeEach(async () => {
  client = await clientOfTest(server());
});

describe('bounds', () => {
  test('a step below `min` or above `max` is refused and changes nothing', async () => {
    const stock = fresh();
    expect(await client.increment(stock, 5, { min: 0, max: 10 })).toBe(5n);
    await expect(client.decrement(stock, 6, { min: 0 })).rejects.toMatchObject({
      code: 'OUT_OF_BOUNDS',
      outcome: 'refused',
    });
    await expect(client.increment(stock, 6, { max: 10 })).rejects.toMatchObject({ code: 'OUT_OF_BOUNDS' });
    expect(await client.get(stock)).toBe(5n);
  });

  test('a step onto a bound is taken', async () => {
    const stock = fresh();
    expect(await client.increment(stock, 10, { min: 0, max: 10 })).toBe(10n);
    expect(await client.decrement(stock, 10, { min: 0, max: 10 })).toBe(0n);
  });

  test('many clients that take from a stock of 100 get exactly 100', async () => {
    const stock = fresh();
    await client.increment(stock, 100);
    const others = await Promise.all([1, 2, 3].map(() => clientOfTest(server())));
    const taken = await Promise.allSettled(
      others.flatMap((other) => Array.from({ length: 50 }, () => other.decrement(stock, 1, { min: 0 }))),
    );
    expect(taken.filter(({ status }) => status === 'fulfilled')).toHaveLength(100);
    expect(await client.get(stock)).toBe(0n);
  });
});

describe('overflow', () => {
  test('a step beyond 64 bits is refused and changes nothing', async () => {
    const high = fresh();
    const low = fresh();
    await client.increment(high, MAXIMUM);
    await client.increment(low, MINIMUM);
    await expect(client.increment(high, 1)).rejects.toMatchObject({ code: 'OVERFLOW', outcome: 'refused' });
    await expect(client.decrement(low, 1)).rejects.toMatchObject({ code: 'OVERFLOW' });
    expect(await client.get(high)).toBe(MAXIMUM);
    expect(await client.get(low)).toBe(MINIMUM);
    expect(await client.increment(high, -1)).toBe(MAXIMUM - 1n);
  });

  test('the refused step stays refused when the log is replayed', async () => {
    const high = fresh();
    await client.increment(high, MAXIMUM);
    await expect(client.increment(high, 1)).rejects.toMatchObject({ code: 'OVERFLOW' });
    await server().crash();
    expect(await client.get(high)).toBe(MAXIMUM);
  });
});

describe('atomic batches', () => {
  test('one refused operation refuses all', async () => {
    const tag = `{${fresh()}}`;
    await client.increment(`from${tag}`, 10);
    const move = (amount: number) =>
      client.batch(
        [
          { name: `to${tag}`, delta: amount },
          { name: `from${tag}`, delta: -amount, min: 0 },
        ],
        { atomic: true },
      );
    const refused = await move(11);
    expect(refused.map(({ error }) => error?.code)).toEqual(['ATOMIC_ABORTED', 'OUT_OF_BOUNDS']);
    expect(await client.read(`to${tag}`)).toMatchObject({ value: 0n, exists: false });
    expect(await client.get(`from${tag}`)).toBe(10n);

    const moved = await move(4);
    expect(moved.map(({ value }) => value)).toEqual([4n, 6n]);
  });

  test('without `atomic` the others are applied', async () => {
    const tag = `{${fresh()}}`;
    const results = await client.batch([
      { name: `a${tag}`, delta: 1 },
      { name: `b${tag}`, delta: -1, min: 0 },
    ]);
    expect(results.map(({ error }) => error?.code)).toEqual([undefined, 'OUT_OF_BOUNDS']);
    expect(await client.get(`a${tag}`)).toBe(1n);
  });
});

describe('operation ids', () => {
  test('a repeat under another client gives the first answer and changes nothing, also after a crash', async () => {
    const name = fresh();
    const id = `order ${name}`;
    expect(await client.increment(name, 3, { id })).toBe(3n);
    expect(await client.increment(name, 4)).toBe(7n);
    const other = await clientOfTest(server());
    expect(await other.increment(name, 3, { id })).toBe(3n);
    await server().crash();
    expect(await other.increment(name, 3, { id })).toBe(3n);
    expect(await other.get(name)).toBe(7n);
  });

  test('another delta or name under the id is a conflict, also after a crash', async () => {
    const tag = `{${fresh()}}`;
    const id = `order ${tag}`;
    await client.increment(`a${tag}`, 3, { id });
    const conflicts = async () => {
      await expect(client.increment(`a${tag}`, 4, { id })).rejects.toMatchObject({ code: 'OPERATION_CONFLICT' });
      await expect(client.increment(`b${tag}`, 3, { id })).rejects.toMatchObject({ code: 'OPERATION_CONFLICT' });
    };
    await conflicts();
    await server().crash();
    await conflicts();
    expect(await client.get(`a${tag}`)).toBe(3n);
    expect(await client.get(`b${tag}`)).toBe(0n);
  });
});

test('the counters that take the most operations are told by STATS and by `hot`, of every lane', async () => {
  const hotServer = await serverOfTest({ lanes: 2, partitions: 4 });
  const client = await clientOfTest(hotServer);
  const hot = ['hot:1', 'hot:2', 'hot:3', 'hot:4'];
  let found = 0;
  let top: string[] = [];
  // Anew where the machine took so long that the server has forgotten what it took: windows are ten seconds long, and two are kept
  for (let tries = 0; tries < 5 && (found === 0 || top.join() !== 'hot:1,hot:3'); tries++) {
    for (let round = 0; round < 10; round++) {
      await client.batch(
        Array.from({ length: 2_000 }, (_, i) => ({ name: i % 2 === 0 ? (hot[i % 4] as string) : `cold:${i}` })),
      );
    }
    const lanes = await client.stats({ hot: 5 });
    const names = lanes.flatMap((lane) => lane['hot'] as readonly { name: string; perSecond: number }[]);
    found = names.slice(0, 20).filter(({ name }) => hot.includes(name)).length;
    const { out, status } = await startProgram(['hot', '--json', '--top', '2', '--server', hotServer.url]).outcome;
    expect(status).toBe(0);
    top = (JSON.parse(out) as { name: string }[]).map(({ name }) => name).sort();
  }
  expect(found).toBeGreaterThan(0);
  expect(top).toEqual(['hot:1', 'hot:3']);
  expect((await client.stats())[0]).not.toHaveProperty('hot');
});

test('beyond the quota, which all lanes share, batches are refused, and the SDK sends them again until each has counted once', async () => {
  const quota = 2_000;
  const bounded = await serverOfTest({
    lanes: 2,
    partitions: 4,
    environment: { TALLYSTICK_QUOTA_PER_SECOND: String(quota) },
  });
  const client = await clientOfTest(bounded);
  const batch = (round: number) => client.batch(Array.from({ length: 500 }, (_, i) => ({ name: `${round % 2}:${i}` })));
  const refused = async () => (await client.stats()).reduce((sum, lane) => sum + Number(lane['refused']), 0);
  let value = 0n;
  do {
    const outcomes = await Promise.all(Array.from({ length: 10 }, (_, round) => batch(round)));
    expect(outcomes.flat().every(({ error }) => error === undefined)).toBe(true);
    value += 5n;
    // None is where they took the server longer than the quota needs for them
  } while ((await refused()) === 0);
  const counted = await client.read(Array.from({ length: 1_000 }, (_, i) => `${i % 2}:${i >> 1}`));
  expect(counted.every((reading) => reading.value === value)).toBe(true);
});
