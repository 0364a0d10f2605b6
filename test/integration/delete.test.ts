import { beforeEach, expect, test } from 'vitest';
import type { Client } from '../../src/client/index.js';
import { clientOfTest } from './clients.js';
import { type ServerProcess, serverOfTest } from './server-process.js';

let server: ServerProcess;
let client: Client;

beforeEach(async () => {
  server = await serverOfTest({ lanes: 2, partitions: 8 });
  client = await clientOfTest(server);
});

async function listed(client: Client, prefix = '') {
  const found: [string, bigint][] = [];
  for await (const { name, value } of client.list(prefix)) found.push([name, value]);
  return found;
}

test('what was deleted stays so over kill -9, and what was created since under its name is what it became', async () => {
  const names = Array.from({ length: 400 }, (_, i) => `name ${i}`);
  const handles = names.map((name) => client.counter(name));
  for (const sum of [3, 4]) {
    for (const handle of handles) handle.add(sum);
    await client.flush();
  }
  const deleted = await Promise.all(names.slice(0, 300).map((name) => client.delete(name, { reason: 'old' })));
  expect(new Set(deleted.map(({ previous, existed }) => `${previous} ${existed}`))).toEqual(new Set(['7 true']));
  // by ids that the server has forgotten, whose slots others have by now
  await client.batch(Array.from({ length: 200 }, (_, i) => ({ name: `other ${i}` })));
  for (const handle of handles.slice(0, 100)) handle.add(20);
  await client.flush();
  await server.kill('SIGKILL');
  await server.start();

  const expected = new Map<string, bigint>([
    ...names.slice(0, 100).map((name) => [name, 20n] as const),
    ...names.slice(300).map((name) => [name, 7n] as const),
    ...Array.from({ length: 200 }, (_, i) => [`other ${i}`, 1n] as const),
  ]);
  const reader = await clientOfTest(server);
  const found = await listed(reader);
  expect(found).toHaveLength(expected.size);
  expect(new Map(found)).toEqual(expected);
  expect(await reader.delete('name 150', { reason: 'again' })).toEqual({ previous: 0n, existed: false });
  for (const handle of handles) handle.add(1);
  await client.flush();
  const readings = await reader.read(names);
  expect(readings.map(({ value }) => value)).toEqual(names.map((_, i) => (i < 100 ? 21n : i < 300 ? 1n : 8n)));
});

test('of clients that delete one counter at once, one finds it', async () => {
  const clients = [client, ...(await Promise.all([1, 2, 3].map(() => clientOfTest(server))))];
  for (let round = 1; round <= 20; round++) {
    await client.set('turn', round, { reason: 'again' });
    const found = await Promise.all(clients.map((each) => each.delete('turn', { reason: 'mine' })));
    expect(found.filter(({ existed }) => existed)).toEqual([{ previous: BigInt(round), existed: true }]);
  }
});

test('a list over all lanes shows each counter once while others come, go and grow', async () => {
  const steady = Array.from({ length: 20_000 }, (_, i) => `steady ${i}`);
  await client.batch(steady.map((name) => ({ name })));
  const writer = await clientOfTest(server);
  let isListing = true;
  const writing = (async () => {
    for (let i = 0; isListing; i++) {
      await writer.batch([{ name: `brief ${i}` }, { name: steady[i % steady.length] as string }]);
      await writer.delete(`brief ${i - 5}`, { reason: 'brief' });
    }
  })();
  const found = await listed(client, 'steady ');
  isListing = false;
  await writing;
  expect(found.map(([name]) => name).sort()).toEqual(steady.sort());
  expect(found.every(([, value]) => value >= 1n)).toBe(true);
});
