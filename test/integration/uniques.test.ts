import { expect, test } from 'vitest';
import { clientOfTest } from './clients.js';
import { serverOfTest } from './server-process.js';

const CLASSES = JSON.stringify([
  { pattern: 'exact:*', uniques: 10_000_000 },
  { pattern: 'visitors:*', uniques: 256 },
  { pattern: 'daily:*', uniques: 256, uniquesWindows: '30d' },
]);
const environment = { TALLYSTICK_CLASSES: CLASSES };

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `visitor ${from + i}`);

test('what was seen is counted once, told new once, and survives kill -9', async () => {
  const server = await serverOfTest({ lanes: 2, partitions: 4, environment });
  const client = await clientOfTest(server);
  expect(await client.see('visitors:/', 'ann')).toEqual({ isNew: true, exact: true });
  expect(await client.see('visitors:/', ['ann', 'bob', 'bob'])).toEqual([
    { isNew: false, exact: true },
    { isNew: true, exact: true },
    { isNew: false, exact: true },
  ]);
  expect(await client.see('visitors:/', new TextEncoder().encode('ann'))).toMatchObject({ isNew: false });
  await client.see('visitors:/big', range(0, 30_000));
  await client.see('exact:big', range(0, 30_000), { ack: 'applied' });
  await client.increment('visitors:/', 5);
  await client.flush();
  const before = await client.uniques(['visitors:/', 'visitors:/big', 'exact:big', 'visitors:none']);
  expect(before.map(({ count, exact }) => (exact ? count : 'about'))).toEqual([2, 'about', 30_000, 0]);
  const [, big] = before;
  expect(Math.abs((big?.count ?? 0) / 30_000 - 1)).toBeLessThan(0.04);
  expect(big?.standardError).toBeCloseTo(0.00812, 5);
  expect(before.every(({ durable }) => durable)).toBe(true);

  await server.kill('SIGKILL');
  await server.start();
  const again = await clientOfTest(server);
  const after = await again.uniques(['visitors:/', 'visitors:/big', 'exact:big', 'visitors:none']);
  expect(after.map(({ count }) => count)).toEqual(before.map(({ count }) => count));
  expect(await again.get('visitors:/')).toBe(5n);
  expect((await again.see('exact:big', range(29_990, 30_010))).filter(({ isNew }) => isNew)).toHaveLength(10);
});

test('what was seen in the last hours and days is told as such, over partitions and kill -9', async () => {
  const server = await serverOfTest({ lanes: 2, partitions: 4, environment });
  const client = await clientOfTest(server);
  const names = Array.from({ length: 40 }, (_, i) => `daily:${i}`);
  await Promise.all(names.map((name, i) => client.see(name, range(i * 10, i * 10 + 20))));
  await client.see('daily:big', range(0, 10_000));
  await client.flush();
  await server.kill('SIGKILL');
  await server.start();
  const again = await clientOfTest(server);
  for (const window of ['24h', '2d', '30d']) {
    const each = await again.uniques(names, { window });
    expect(each.every(({ count, exact }) => exact && count === 20)).toBe(true);
    expect(await again.uniques(names, { window, union: true })).toMatchObject({ count: 410, exact: true });
    const { count, exact, standardError } = await again.uniques('daily:big', { window });
    expect(exact).toBe(false);
    expect(Math.abs(count / 10_000 - 1)).toBeLessThan(0.04);
    expect(standardError).toBeCloseTo(0.00812, 5);
    expect(await again.uniques('daily:none', { window })).toMatchObject({ count: 0, exact: true });
  }
  const codeOf = (window: string, name = 'daily:1') => again.uniques(name, { window }).catch(({ code }) => code);
  expect(await codeOf('31d')).toBe('NOT_TRACKED');
  expect(await codeOf('1d', 'visitors:/')).toBe('NOT_TRACKED');
  for (const window of ['25h', '0d', '90m', '']) expect(await codeOf(window)).toBe('INVALID_ARGUMENT');
});

test('a union over partitions is that of the items, whichever lane is asked, and changes nothing', async () => {
  const server = await serverOfTest({ lanes: 2, partitions: 4, environment });
  for (const direct of [true, false]) {
    const client = await clientOfTest(server, { direct });
    const small = Array.from({ length: 20 }, (_, i) => `visitors:${direct}:${i}`);
    expect(new Set(small.map((name) => client.partitionOf(name))).size).toBe(4);
    for (const [i, name] of small.entries()) await client.see(name, range(i * 50, i * 50 + 100));
    expect(await client.uniques(small, { union: true })).toMatchObject({ count: 1050, exact: true, standardError: 0 });

    const large = Array.from({ length: 5 }, (_, i) => `visitors:${direct}:large ${i}`);
    for (const [i, name] of large.entries()) await client.see(name, range(i * 5000, i * 5000 + 10_000));
    const union = await client.uniques([...large, ...small], { union: true });
    expect(union.exact).toBe(false);
    expect(Math.abs(union.count / 30_000 - 1)).toBeLessThan(0.04);
    expect(await client.uniques([...small, ...large, ...small].reverse(), { union: true })).toMatchObject({
      count: union.count,
    });
    const inOne = await client.uniques(['{t}visitors'], { union: true }).catch(({ code }) => code);
    expect(inOne).toBe('NOT_TRACKED');
    const position = await client.flush();
    expect(await client.uniques(small[0] as string, { after: position })).toMatchObject({ count: 100, exact: true });
  }
});

test('names of several partitions are merged into one, which then has the items of all', async () => {
  const server = await serverOfTest({ lanes: 2, partitions: 4, environment });
  const client = await clientOfTest(server);
  const days = Array.from({ length: 7 }, (_, i) => `exact:2026-05-0${i + 1}`);
  for (const [i, name] of days.entries()) await client.see(name, range(i * 100, i * 100 + 300));
  expect(await client.merge('exact:week', days)).toEqual({ count: 900, exact: true });
  expect(await client.merge('exact:week', days)).toEqual({ count: 900, exact: true });
  expect(await client.see('exact:week', range(0, 910))).toHaveLength(910);
  expect(await client.uniques('exact:week')).toMatchObject({ count: 910, exact: true });
  const estimate = await client.merge('visitors:week', ['exact:week']);
  expect(estimate.exact).toBe(false);
  expect(Math.abs(estimate.count / 910 - 1)).toBeLessThan(0.04);
  expect(await client.uniques(days[0] as string)).toMatchObject({ count: 300, exact: true });
  await expect(client.merge('likes', days)).rejects.toMatchObject({ code: 'NOT_TRACKED' });
  expect(await client.merge('visitors:none', [])).toMatchObject({ count: 0, exact: true });
});

test('a name whose class keeps no uniques says so, and a deleted name begins anew', async () => {
  const server = await serverOfTest({ environment });
  const client = await clientOfTest(server);
  await expect(client.see('likes', 'ann')).rejects.toMatchObject({ code: 'NOT_TRACKED', outcome: 'refused' });
  await expect(client.uniques('likes')).rejects.toMatchObject({ code: 'NOT_TRACKED' });
  await expect(client.uniques(['visitors:/', 'likes'])).rejects.toMatchObject({ code: 'NOT_TRACKED' });
  await expect(client.see('visitors:/', ['ann', ''])).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  expect(await client.uniques([])).toEqual([]);
  expect(await client.uniques([], { union: true })).toMatchObject({ count: 0, exact: true });
  await client.see('visitors:/', 'ann');
  expect(await client.delete('visitors:/', { reason: 'test' })).toEqual({ previous: 0n, existed: true });
  expect(await client.uniques('visitors:/')).toMatchObject({ count: 0, exact: true });
  expect(await client.see('visitors:/', 'ann')).toEqual({ isNew: true, exact: true });
});
