import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type SubscriptionEvent, type TallystickError } from 'tallystick';
import { startServer } from 'tallystick/server';
import { expect, onTestFinished, test } from 'vitest';
import { freePorts } from '../../load/ports.mjs';
import { TIMEOUT_MILLISECONDS } from './clients.js';
import { directoryOfTest } from './server-process.js';

test('a server in this process serves, closes, and comes back with its values', async () => {
  const dataDir = directoryOfTest();
  const start = async () => {
    const server = await startServer({ dataDir, port: 0, lanes: 2, partitions: 4 });
    onTestFinished(async () => {
      if (server.state === 'serving') await server.close();
    });
    return server;
  };
  const first = await start();
  expect(first.state).toBe('serving');
  expect(first.lanes).toHaveLength(2);
  const client = await connect(first.url, { timeout: TIMEOUT_MILLISECONDS });
  await Promise.all(Array.from({ length: 100 }, (_, i) => client.increment(`embedded:${i % 10}`, i)));
  await client.close();
  await first.close();
  expect(first.state).toBe('stopped');

  const second = await start();
  const names = Array.from({ length: 10 }, (_, i) => `embedded:${i}`);
  const reader = await connect(second.url, { timeout: TIMEOUT_MILLISECONDS, producer: false, values: 'number' });
  const readings = await reader.read(names);
  expect(readings.map(({ value }) => value)).toEqual(names.map((_, i) => 450 + 10 * i));
  await reader.close();
  await second.close();
});

test('a second server on the directory is refused, in the same process too', async () => {
  const dataDir = directoryOfTest();
  const options = { dataDir, port: 0, lanes: 1, partitions: 1 };
  const server = await startServer(options);
  await expect(startServer(options)).rejects.toMatchObject({ code: 'DIRECTORY_IN_USE' });
  await server.close();
  await (await startServer(options)).close();
});

test('a server whose directory another one took while it started does not serve, and leaves nothing running', async () => {
  const dataDir = directoryOfTest();
  const port = await freePorts(1);
  const options = { dataDir, port, lanes: 1, partitions: 1 };
  const starting = startServer(options);
  writeFileSync(join(dataDir, 'server.pid'), JSON.stringify({ pid: 1 }));
  await expect(starting).rejects.toMatchObject({ code: 'DIRECTORY_IN_USE' });
  rmSync(join(dataDir, 'server.pid'));
  const server = await startServer(options);
  const client = await connect(server.url, { timeout: TIMEOUT_MILLISECONDS });
  expect(await client.increment('x')).toBe(1n);
  await client.close();
  await server.close();
});

test('a reader who needs a log that cannot be read begins anew, and the server says why', async () => {
  const options = { dataDir: directoryOfTest(), port: 0, lanes: 1, partitions: 1, log: 'files' } as const;
  const first = await startServer(options);
  const writer = await connect(first.url);
  await writer.increment('x');
  const { position } = (await writer.subscribe({ names: ['x'] }).next()).value as SubscriptionEvent<bigint>;
  await writer.increment('x');
  await writer.close();
  await first.close();

  // What the server has done by now it knows from its log alone
  const failures: TallystickError[] = [];
  const second = await startServer(options, { onLookFailed: (error) => failures.push(error) });
  const lane = join(options.dataDir, 'lane-0');
  const log = join(lane, readdirSync(lane).find((name) => name.endsWith('.seg')) as string);
  writeFileSync(log, readFileSync(log).fill(0));
  const reader = await connect(second.url, { producer: false });
  const subscription = reader.subscribe({ names: ['x'], from: position });
  expect((await subscription.next()).value).toMatchObject({ kind: 'reset' });
  expect((await subscription.next()).value).toMatchObject({ kind: 'value', value: 2n });
  expect(failures).toMatchObject([{ code: 'LOG_CORRUPT' }]);
  await reader.close();
  await second.close();
});

test('options that are not usable are refused before anything is made', async () => {
  await expect(startServer({ dataDir: '/proc/nowhere', partitions: 0 })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
  });
});
