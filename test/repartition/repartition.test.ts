import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { spawnChild } from '../../load/child.mjs';
import { historiesUnlikeValues } from '../../load/compare-histories.mjs';
import type { Client } from '../../src/client/client.js';
import { clientOfTest } from '../integration/clients.js';
import { startProgram } from '../integration/ingest-programs.js';
import { RawClient } from '../integration/raw-client.js';
import {
  directoryOfTest,
  PROGRAM,
  refusedStart,
  ServeRun,
  type ServerProcess,
  serverOfTest,
} from '../integration/server-process.js';
import { Random } from '../support/random.js';

const MAX = 2n ** 63n - 1n;
const IN_2099 = Date.UTC(2099, 0);

async function repartition(dataDir: string, into: string, ...flags: string[]) {
  const { status, out, err } = await startProgram(['repartition', dataDir, '--into', into, '--json', ...flags]).outcome;
  return { status, err, made: JSON.parse(out || '{}') as Record<string, unknown> };
}

async function valuesOf(server: ServerProcess): Promise<Map<string, bigint>> {
  const client = await clientOfTest(server);
  const values = new Map<string, bigint>();
  for await (const { name, value } of client.list()) values.set(name, value);
  await client.close();
  return values;
}

/** A directory that no server has open, and what it counts. */
async function stopped(fill: (server: ServerProcess) => Promise<void>) {
  const server = await serverOfTest({ lanes: 2, partitions: 4 });
  await fill(server);
  const values = await valuesOf(server);
  await server.kill('SIGTERM');
  return { server, dataDir: server.dataDir, values };
}

test('every counter keeps its value through other numbers of partitions and lanes, up and down', async () => {
  const { dataDir, values } = await stopped(async (server) => {
    const client = await clientOfTest(server);
    const random = new Random(11);
    const operations = Array.from({ length: 4_000 }, (_, i) => ({
      name: random.oneIn(5) ? `{tag:${i % 7}}${i}` : `näme ${i} ${'x'.repeat(random.below(40))}`,
      delta: (random.oneIn(2) ? -1n : 1n) * (BigInt(random.u32()) << BigInt(random.below(20))),
    }));
    await client.batch(operations);
    await client.batch([
      { name: 'largest', delta: MAX },
      { name: 'smallest', delta: -MAX - 1n },
      { name: 'nothing', delta: 0 },
      { name: 'ending', delta: 1, expiry: { at: IN_2099 } },
    ]);
    await client.expire('smallest', { at: IN_2099 + 1 });
    await client.set('gone', 5, { reason: 'test' });
    await client.delete('gone', { reason: 'test' });
  });
  expect(values.size).toBe(4_004);
  const sum = [...values.values()].reduce((total, value) => total + value, 0n);
  const root = directoryOfTest();
  let from = { dataDir, partitions: 4, lanes: 2 };
  for (const [partitions, lanes] of [
    [8, 2],
    [3, 1],
    [16, 4],
    [16, 2],
    [1, 1],
  ] as const) {
    const into = join(root, `${partitions}-${lanes}`);
    const flags = ['--partitions', String(partitions), '--lanes', String(lanes)];
    const { status, err, made } = await repartition(from.dataDir, into, ...flags);
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(made).toMatchObject({
      into,
      from: { lanes: from.lanes, partitions: from.partitions },
      partitions,
      lanes,
      counters: 4_004,
      sum: String(sum),
    });
    expect((await startProgram(['verify', into, '--replay']).outcome).status).toBe(0);
    from = { dataDir: into, partitions, lanes };
    if (partitions !== 3 && partitions !== 1) continue;
    const server = await serverOfTest(from);
    expect(await valuesOf(server)).toEqual(values);
    await server.crash();
    const client = await clientOfTest(server);
    const expiries = await client.expiry(['ending', 'smallest', 'largest']);
    expect(expiries.map(({ expires }) => expires)).toEqual([IN_2099, IN_2099 + 1, undefined]);
    expect(await client.increment('nothing')).toBe(1n);
    expect(await client.decrement('nothing')).toBe(0n);
    await client.close();
    await server.kill('SIGTERM');
  }
});

test('unique items go with their names, also by hour and day, and are told new, or count, no more', async () => {
  const classes = [
    { pattern: 'exact:*', uniques: 10_000 },
    { pattern: 'visitors:*', uniques: 256, uniquesWindows: '7d' },
    { pattern: 'views:*', once: '24h' },
  ];
  const environment = { TALLYSTICK_CLASSES: JSON.stringify(classes) };
  const old = await serverOfTest({ lanes: 2, partitions: 4, environment });
  const client = await clientOfTest(old);
  const names = Array.from({ length: 300 }, (_, i) => `${i % 2 ? 'exact' : 'visitors'}:${i}`);
  const itemsOf = (i: number) => Array.from({ length: i % 50 === 0 ? 2_000 : i % 5 }, (_, j) => `item ${i * j}`);
  await Promise.all(names.map((name, i) => client.see(name, itemsOf(i))));
  await client.increment('visitors:1', 7);
  const views = (of: Client, item: string) =>
    Promise.all(Array.from({ length: 40 }, (_, i) => of.incrementOnce(`views:${i}`, `${item} ${i % 3}`)));
  for (let visitor = 0; visitor < 80; visitor++) await views(client, `visitor ${visitor}`);
  const before = await client.uniques(names);
  expect(new Set(before.map(({ exact }) => exact)).size).toBe(2);
  const union = await client.uniques(names, { union: true });
  const visitors = names.filter((name, i) => name.startsWith('visitors') && itemsOf(i).length > 0);
  const inWindows = async (of: Client) => {
    const windows = await Promise.all(['24h', '7d'].map((window) => of.uniques(visitors, { window })));
    return windows.flatMap((each) => each.map(({ count, exact }) => ({ count, exact })));
  };
  const ofWindows = await inWindows(client);
  expect(ofWindows.filter(({ count }) => count > 0)).toHaveLength(2 * visitors.length);
  await client.close();
  await old.kill('SIGTERM');

  const into = join(directoryOfTest(), 'new');
  const { status, err } = await repartition(old.dataDir, into, '--partitions', '7', '--lanes', '1');
  expect({ status, err }).toEqual({ status: 0, err: '' });
  const server = await serverOfTest({ dataDir: into, lanes: 1, partitions: 7, environment });
  const again = await clientOfTest(server);
  const after = await again.uniques(names);
  expect(after.map(({ count, exact }) => ({ count, exact }))).toEqual(
    before.map(({ count, exact }) => ({ count, exact })),
  );
  expect(await again.uniques(names, { union: true })).toMatchObject({ count: union.count, exact: union.exact });
  expect(await inWindows(again)).toEqual(ofWindows);
  expect(await again.get('visitors:1')).toBe(7n);
  expect((await again.see('exact:3', itemsOf(3))).some(({ isNew }) => isNew)).toBe(false);
  for (let visitor = 0; visitor < 80; visitor++) {
    const told = await views(again, `visitor ${visitor}`);
    expect(told.every(({ counted, value }) => !counted && value === 80n)).toBe(true);
  }
  expect((await views(again, 'visitor 80')).every(({ counted, value }) => counted && value === 81n)).toBe(true);
});

test('a history goes to other lanes, also what only the log has, and none to another number of partitions', async () => {
  const environment = { TALLYSTICK_CLASSES: JSON.stringify([{ pattern: '*', history: true, lateness: 'any' }]) };
  const old = await serverOfTest({ lanes: 2, partitions: 4, environment });
  const client = await clientOfTest(old);
  const now = Date.now();
  for (const age of [0, 5, 60, 1_000]) {
    const time = now - age * 3_600_000;
    await client.batch(Array.from({ length: 200 }, (_, i) => ({ name: `c${i}`, delta: i + age, time })));
  }
  await old.kill('SIGKILL');
  const into = join(directoryOfTest(), 'lanes');
  expect(await repartition(old.dataDir, into, '--lanes', '4')).toMatchObject({ status: 0, err: '' });
  const server = await serverOfTest({ dataDir: into, lanes: 4, partitions: 4, environment });
  const again = await clientOfTest(server);
  expect(await historiesUnlikeValues(again)).toBe(0);
  const { value } = await again.range('c7', { from: now - 1_001 * 3_600_000, to: now - 999 * 3_600_000 });
  expect(value).toBe(1_007n);
  await server.kill('SIGTERM');

  const others = join(directoryOfTest(), 'partitions');
  expect((await repartition(into, others, '--partitions', '8')).status).toBe(0);
  const last = await clientOfTest(await serverOfTest({ dataDir: others, lanes: 4, partitions: 8, environment }));
  expect(await last.get('c7')).toBe(4n * 7n + 1_065n);
  await expect(last.range('c7', { from: 0, to: now })).rejects.toMatchObject({ code: 'NOT_TRACKED' });
});

test('nothing that a client sends again of an old partition counts', async () => {
  const { server, dataDir } = await stopped(async (running) => {
    const client = await clientOfTest(running, { producer: 'writer' });
    await client.increment('x', 5);
    await client.close();
  });
  await server.start();
  const pending = await clientOfTest(server, { producer: 'writer' });
  expect(await pending.increment('x')).toBe(6n);
  await server.kill('SIGKILL');
  const lost = pending.increment('x').catch((error: unknown) => error);
  const into = join(directoryOfTest(), 'new');
  expect((await repartition(dataDir, into, '--partitions', '8')).status).toBe(0);
  // As the same address, with the new directory.
  const flags = ['--data-dir', into, '--port', String(server.port), '--lanes', '2', '--partitions', '8'];
  const next = new ServeRun(flags);
  onTestFinished(async () => {
    await next.kill();
  });
  expect(await next.ready).toBeDefined();
  expect(await lost).toMatchObject({ code: 'PRODUCER_UNKNOWN' });
  // Nor by a client that does not look at the number of partitions: its incarnations are older than all of the new directory.
  const again = await clientOfTest(server, { producer: 'writer' });
  expect(await again.increment('x', 10)).toBe(16n);
  for (const incarnation of [1, 2, 3]) {
    const stranger = await RawClient.open(server.url);
    const resume = Array.from({ length: 8 }, (_, partition) => ({ partition, incarnation }));
    const answer = await stranger.sayHello({ producer: { name: 'writer' }, resume });
    expect(answer.opcode).toBe(255);
  }
  expect(await again.increment('x')).toBe(17n);
});

const lines = (from: number, to: number) =>
  Array.from(
    { length: to - from },
    (_, i) => `${JSON.stringify({ path: `/page/${(from + i) % 37}`, bytes: i })}\n`,
  ).join('');

test('an ingest goes on exactly where it was; one that was not complete keeps its directory from another number', async () => {
  const root = directoryOfTest();
  const file = join(root, 'log.ndjson');
  writeFileSync(file, lines(0, 500));
  const ingest = (url: string) =>
    startProgram(['ingest', file, '--format', 'ndjson', '--count', 'views:{path}', '--producer', 'log', '--json'], {
      TALLYSTICK_SERVER: url,
    }).outcome;
  const { dataDir } = await stopped(async (server) => {
    expect((await ingest(server.url)).status).toBe(0);
  });
  const into = join(root, 'new');
  const { status, made } = await repartition(dataDir, into, '--partitions', '6', '--lanes', '1');
  expect({ status, producers: made['producers'] }).toEqual({ status: 0, producers: 1 });
  writeFileSync(file, lines(0, 500) + lines(500, 900));
  const next = await serverOfTest({ dataDir: into, lanes: 1, partitions: 6 });
  const resumed = await ingest(next.url);
  expect(resumed.status).toBe(0);
  expect(JSON.parse(resumed.out)).toMatchObject({ resumedFrom: { lines: 500 } });
  const expected = new Map<string, bigint>();
  for (let i = 0; i < 900; i++)
    expected.set(`views:/page/${i % 37}`, (expected.get(`views:/page/${i % 37}`) ?? 0n) + 1n);
  expect(await valuesOf(next)).toEqual(expected);

  const client = await clientOfTest(next, { producer: 'log' });
  await client.batchTo(1, [], { cursor: Uint8Array.of(1) });
  await client.close();
  await next.kill('SIGTERM');
  const refused = await repartition(into, join(root, 'third'), '--partitions', '4');
  expect(refused.status).toBe(1);
  expect(refused.err).toMatch(/^CURSORS_DIFFER: .*Run the ingest of that producer to its end first/);
  expect(existsSync(join(root, 'third'))).toBe(false);
  // Each partition is as it was where only the lanes are others.
  expect((await repartition(into, join(root, 'lanes'), '--lanes', '3')).status).toBe(0);
});

test('operation ids that may still be repeated keep a directory from another number, unless they are to be forgotten', async () => {
  const { dataDir } = await stopped(async (server) => {
    await (await clientOfTest(server)).increment('orders', 1, { id: 'order-1' });
  });
  const root = directoryOfTest();
  const refused = await repartition(dataDir, join(root, 'new'), '--partitions', '8');
  expect(refused.status).toBe(1);
  expect(refused.err).toMatch(/^OPERATION_IDS_LIVE: .*--forget-operation-ids/);
  expect(existsSync(join(root, 'new'))).toBe(false);
  const { status } = await repartition(dataDir, join(root, 'new'), '--partitions', '8', '--forget-operation-ids');
  expect(status).toBe(0);
  // They stay where the partitions do.
  expect((await repartition(dataDir, join(root, 'lanes'), '--lanes', '1')).status).toBe(0);
  const server = await serverOfTest({ dataDir: join(root, 'lanes'), lanes: 1, partitions: 4 });
  expect(await (await clientOfTest(server)).increment('orders', 1, { id: 'order-1' })).toBe(1n);
});

test('the old directory stays as it is, and an interrupted making leaves nothing that a server takes', async () => {
  const { dataDir } = await stopped(async (server) => {
    const client = await clientOfTest(server);
    await client.batch(Array.from({ length: 5_000 }, (_, i) => ({ name: `counter:${i}` })));
  });
  const contents = () =>
    readdirSync(join(dataDir, 'lane-0'))
      .filter((name) => !name.endsWith('-lock'))
      .map((name) => [name, readFileSync(join(dataDir, 'lane-0', name)).toString('base64')]);
  const before = contents();
  const into = join(directoryOfTest(), 'new');
  const child = spawnChild(process.execPath, [PROGRAM, 'repartition', dataDir, '--into', into, '--partitions', '16'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  while (!existsSync(join(into, 'tallystick.json'))) await new Promise(setImmediate);
  child.kill('SIGKILL');
  await ended;
  const { exit, stderr } = await refusedStart(['--data-dir', into, '--port', '0']);
  expect(exit.code).toBe(3);
  expect(stderr).toMatch(/was not (restored|made) to the end/);
  expect(contents()).toEqual(before);
});

test('what can not be meant is refused before anything is read', async () => {
  const { server, dataDir } = await stopped(async () => {});
  const into = join(directoryOfTest(), 'new');
  expect((await repartition(dataDir, into)).err).toMatch(/^INVALID_ARGUMENT: .*name --partitions or --lanes/);
  expect((await repartition(dataDir, into, '--lanes', '9')).err).toMatch(/9 lanes cannot share 4 partitions/);
  expect((await repartition(dataDir, into, '--partitions', '0')).status).toBe(2);
  mkdirSync(into);
  writeFileSync(join(into, 'file'), '');
  expect((await repartition(dataDir, into, '--partitions', '8')).err).toMatch(/^CONFIG_INVALID: .*is not empty/);
  await server.start();
  expect((await repartition(dataDir, `${into}2`, '--partitions', '8')).err).toMatch(/^DIRECTORY_IN_USE/);
  expect(existsSync(dirname(into))).toBe(true);
});
