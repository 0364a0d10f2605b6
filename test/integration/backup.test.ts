import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { historiesUnlikeValues } from '../../load/compare-histories.mjs';
import { connect } from '../../src/client/index.js';
import { clientOfTest, TIMEOUT_MILLISECONDS } from './clients.js';
import { startProgram } from './ingest-programs.js';
import { refusedStart, type ServerProcess, serverOfTest, temporaryDirectory } from './server-process.js';

async function run(args: readonly string[], stdin: Uint8Array = Buffer.alloc(0)) {
  const program = startProgram(args);
  program.stdin.end(stdin);
  return await program.outcome;
}

const pendingItems = (lanes: readonly { readonly [key: string]: unknown }[]): number =>
  lanes.reduce((sum, { history }) => sum + (history as { pendingItems: number }).pendingItems, 0);

/** The hash of each partition's memory by its number, with the position that it is of. */
async function statesOf(server: ServerProcess): Promise<Map<number, string>> {
  const client = await connect(server.url, { producer: false, timeout: TIMEOUT_MILLISECONDS });
  const lanes = await client.stats({ stateHash: true });
  await client.close();
  return new Map(
    lanes.flatMap(({ partitions }) => partitions.map((p) => [p.partition, `${p.sequence} ${p['stateHash']}`] as const)),
  );
}

test('a backup of a quiet server, restored with other lanes, has the same memory byte for byte', async () => {
  const server = await serverOfTest({ lanes: 2, partitions: 4 });
  const client = await clientOfTest(server, { producer: 'writer' });
  await client.batch(Array.from({ length: 2_000 }, (_, i) => ({ name: `counter:${i}`, delta: i })));
  await client.increment('once', 1, { id: 'order-1' });
  await client.close();
  const file = join(temporaryDirectory(), 'now.backup');
  const taken = await run(['backup', file, '--data-dir', server.dataDir, '--json']);
  expect(taken).toMatchObject({ status: 0, err: '' });
  expect(JSON.parse(taken.out)).toMatchObject({ file, counters: 2_001, partitions: 4 });
  const before = await statesOf(server);

  const dataDir = join(temporaryDirectory(), 'restored');
  const restored = await run(['restore', file, '--data-dir', dataDir, '--lanes', '1', '--json']);
  expect(restored).toMatchObject({ status: 0, err: '' });
  expect(JSON.parse(restored.out)).toMatchObject({ partitions: 4, lanes: 1, checksum: JSON.parse(taken.out).checksum });
  const copy = await serverOfTest({ dataDir, lanes: 1, partitions: 4 });
  expect(await statesOf(copy)).toEqual(before);

  const again = await clientOfTest(copy);
  expect(await again.increment('once', 1, { id: 'order-1' })).toBe(1n); // it was, before the backup
  expect(await again.increment('counter:1999')).toBe(2_000n);
  await copy.crash();
  expect(await (await clientOfTest(copy)).get('counter:1999')).toBe(2_000n);
});

test('a backup beside a server under load holds what was acknowledged before it began, and nothing that was not asked for', async () => {
  const server = await serverOfTest({ lanes: 2, partitions: 4 });
  const client = await clientOfTest(server);
  let acknowledged = 0;
  let asked = 0;
  let isWriting = true;
  const writer = (async () => {
    while (isWriting) {
      asked += 100;
      await client.batch(Array.from({ length: 100 }, (_, i) => ({ name: `c${i}`, delta: 1 })));
      acknowledged += 100;
    }
  })();
  while (acknowledged < 2_000) await client.flush();
  const least = acknowledged;
  const file = join(temporaryDirectory(), 'busy.backup');
  expect(await run(['backup', file, '--data-dir', server.dataDir])).toMatchObject({ status: 0 });
  const most = asked;
  isWriting = false;
  await writer;
  expect(most).toBeGreaterThan(least);

  const dataDir = join(temporaryDirectory(), 'restored');
  expect(await run(['restore', file, '--data-dir', dataDir, '--lanes', '2'])).toMatchObject({ status: 0 });
  const copy = await serverOfTest({ dataDir, lanes: 2, partitions: 4 });
  const readings = await (await clientOfTest(copy)).read(Array.from({ length: 100 }, (_, i) => `c${i}`));
  const sum = readings.reduce((total, { value }) => total + Number(value), 0);
  expect(sum).toBeGreaterThanOrEqual(least);
  expect(sum).toBeLessThanOrEqual(most);
});

const HISTORY = { TALLYSTICK_CLASSES: JSON.stringify([{ pattern: '*', history: true, lateness: 'any' }]) };
const HOUR = 3_600_000;

test('a backup has the history: what is stored, what the log has, what is open; with counters gone, and another life of a name', async () => {
  const server = await serverOfTest({ lanes: 2, partitions: 4, environment: HISTORY });
  const client = await clientOfTest(server);
  const now = Date.now();
  const names = Array.from({ length: 300 }, (_, i) => `c${i}`);
  // Late ones are emitted at once, by counters that have a newer minute; most are stored by the end.
  for (const age of [0, 3, 50, 24 * 40, 2]) {
    await client.batch(names.map((name, i) => ({ name, delta: i + age, time: now - age * HOUR })));
  }
  await client.delete('c7', { reason: 'a test' });
  await client.delete('c8', { reason: 'a test' });
  await client.increment('c8', 4, { time: now });
  const file = join(temporaryDirectory(), 'history.backup');
  expect(await run(['backup', file, '--data-dir', server.dataDir])).toMatchObject({ status: 0, err: '' });
  const query = { from: now - 60 * 24 * HOUR, to: now + HOUR, step: '1h' } as const;
  const seriesOf = async (of: ServerProcess) => {
    const reader = await clientOfTest(of);
    const all = names.map(async (name) => {
      const { points } = await reader.series(name, query);
      return [name, points.filter(({ value }) => value !== 0n)] as const;
    });
    return new Map(await Promise.all(all));
  };
  const sumOf = (points: readonly { readonly value: bigint | null }[] = []) =>
    points.reduce((sum, { value }) => sum + (value ?? 0n), 0n);
  const before = await seriesOf(server);
  expect(sumOf(before.get('c9'))).toBe(5n * 9n + 1_015n);
  expect(sumOf(before.get('c8'))).toBe(4n);

  const dataDir = join(temporaryDirectory(), 'restored');
  expect(await run(['restore', file, '--data-dir', dataDir, '--lanes', '1'])).toMatchObject({ status: 0, err: '' });
  expect(await run(['verify', dataDir])).toMatchObject({ status: 0 });
  const copy = await serverOfTest({ dataDir, lanes: 1, partitions: 4, environment: HISTORY });
  expect(await seriesOf(copy)).toEqual(before);
  // What is added goes on from there, also over a crash.
  await (await clientOfTest(copy)).increment('c9', 1, { time: now - 3 * HOUR });
  await copy.crash();
  const found = await (await clientOfTest(copy)).range('c9', { from: 0, to: now + HOUR });
  expect(found.value).toBe(5n * 9n + 1_016n);
});

test('a backup of a server that died has the history that only its log has, and no rows of a counter that is gone by the log alone', async () => {
  const server = await serverOfTest({ lanes: 1, partitions: 1, environment: HISTORY });
  const client = await clientOfTest(server);
  const now = Date.now();
  const late = (name: string, age: number) => ({ name, delta: 1, time: now - age * HOUR });
  await client.batch([late('gone', 0), ...Array.from({ length: 200 }, (_, i) => late('gone', 1 + (i % 40)))]);
  while (pendingItems(await client.stats()) > 0) await client.flush();
  // What comes last waits for others, a second at most.
  await client.delete('gone', { reason: 'a test' });
  await client.batch([late('kept', 0), ...Array.from({ length: 20 }, (_, i) => late('kept', 1 + i))]);
  await server.kill('SIGKILL');
  const file = join(temporaryDirectory(), 'dead.backup');
  expect(await run(['backup', file, '--data-dir', server.dataDir])).toMatchObject({ status: 0, err: '' });
  const dataDir = join(temporaryDirectory(), 'restored');
  expect(await run(['restore', file, '--data-dir', dataDir, '--lanes', '1'])).toMatchObject({ status: 0, err: '' });
  const verified = await run(['verify', dataDir, '--json']);
  expect(JSON.parse(verified.out)).toMatchObject({ sound: true, lanes: [{ history: { rows: 20 } }] });
});

test('a backup beside a server that writes histories and ends counters has every counter in its history once', async () => {
  const server = await serverOfTest({ lanes: 2, partitions: 4, environment: HISTORY });
  const client = await clientOfTest(server);
  let isWriting = true;
  let batches = 0;
  const writer = (async () => {
    for (; isWriting; batches++) {
      const time = Date.now() - (batches % 480) * HOUR;
      await client.batch(
        Array.from({ length: 100 }, (_, i) => ({ name: `c${(batches * 7 + i) % 1_000}`, delta: 1, time })),
      );
      if (batches % 5 === 0) await client.delete(`c${batches % 1_000}`, { reason: 'a test' }).catch(() => undefined);
    }
  })();
  for (let round = 0; round < 2; round++) {
    const before = batches;
    while (batches < before + 40) await client.flush();
    const file = join(temporaryDirectory(), 'busy.backup');
    expect(await run(['backup', file, '--data-dir', server.dataDir])).toMatchObject({ status: 0, err: '' });
    const dataDir = join(temporaryDirectory(), 'restored');
    expect(await run(['restore', file, '--data-dir', dataDir, '--lanes', '2'])).toMatchObject({ status: 0 });
    const copy = await serverOfTest({ dataDir, lanes: 2, partitions: 4, environment: HISTORY });
    const reader = await clientOfTest(copy);
    expect(await historiesUnlikeValues(reader)).toBe(0);
    await reader.close();
    await copy.kill('SIGKILL');
  }
  isWriting = false;
  await writer;
});

test('whoever reads a directory leaves the lock files of LMDB alone, from which a server takes where its last transaction was', async () => {
  const server = await serverOfTest({ lanes: 2, partitions: 4 });
  await (await clientOfTest(server)).set('a', 5, { reason: 'a test' });
  await server.kill('SIGKILL');
  const locks = () =>
    ['lane-0', 'lane-1']
      .map((lane) => join(server.dataDir, lane))
      .flatMap((lane) => readdirSync(lane).map((name) => join(lane, name)))
      .filter((path) => path.endsWith('-lock'));
  expect(locks().length).toBeGreaterThan(4);
  for (const lock of locks()) rmSync(lock);
  for (const args of [['backup', '-'], ['audit'], ['verify']]) {
    const [command = '', ...more] = args;
    const where = command === 'verify' ? [server.dataDir] : ['--data-dir', server.dataDir];
    expect(await run([command, ...more, ...where])).toMatchObject({ status: 0 });
    expect(locks()).toEqual([]);
  }
});

test('through a pipe; into a directory that is not empty, over a file, from damaged bytes it is refused and leaves nothing a server takes', async () => {
  const server = await serverOfTest();
  await (await clientOfTest(server)).increment('a', 5);
  const file = join(temporaryDirectory(), 'a.backup');
  expect((await run(['backup', file, '--data-dir', server.dataDir])).status).toBe(0);
  expect(await run(['backup', file, '--data-dir', server.dataDir])).toMatchObject({
    status: 2,
    err: expect.stringContaining('exists'),
  });
  expect(await run(['restore', file, '--data-dir', server.dataDir])).toMatchObject({
    status: 2,
    err: expect.stringContaining('not empty'),
  });

  const whole = readFileSync(file);
  const half = join(temporaryDirectory(), 'half');
  expect(await run(['restore', '-', '--data-dir', half], whole.subarray(0, whole.length / 2))).toMatchObject({
    status: 3,
    err: expect.stringContaining('BACKUP_INVALID'),
  });
  const { stderr } = await refusedStart(['--data-dir', half, '--port', '0']);
  expect(stderr).toContain('not restored to the end');

  const piped = join(temporaryDirectory(), 'piped');
  expect(await run(['restore', '-', '--data-dir', piped, '--lanes', '1'], whole)).toMatchObject({ status: 0 });
  const copy = await serverOfTest({ dataDir: piped });
  expect(await (await clientOfTest(copy)).get('a')).toBe(5n);
});
