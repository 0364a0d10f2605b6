import { describe, expect, test } from 'vitest';
import { clientOfTest } from './clients.js';
import { startProgram } from './ingest-programs.js';
import { type ServerProcess, serverOfTest, sharedServer } from './server-process.js';

/** The SDK and the command line over WebSocket. */

const LANES = 2;
const server = sharedServer({ lanes: LANES, partitions: 4, webSocket: true });
const over = ({ wsPort }: ServerProcess, lane = 0) => ({ url: `ws://127.0.0.1:${wsPort + lane}` });
let names = 0;
const fresh = (count: number) => Array.from({ length: count }, () => `ws-${names++}`);

describe.each([true, false])('A client over WebSocket with direct: %s', (direct) => {
  test('counts, reads, batches, lists and deletes', async () => {
    const client = await clientOfTest(over(server(), 1), { direct });
    const all = fresh(40);
    expect(await Promise.all(all.map((name) => client.increment(name, 2)))).toEqual(all.map(() => 2n));
    const results = await client.batch(all.map((name) => ({ name, delta: 1 })));
    expect(results.map(({ value }) => value)).toEqual(all.map(() => 3n));
    for (const name of all) client.counter(name).add(10);
    const position = await client.flush();
    const readings = await client.read(all, { after: position });
    expect(readings.map(({ value, durable }) => [value, durable])).toEqual(all.map(() => [13n, true]));
    expect(await client.get(all[0] as string)).toBe(13n);
    expect(await client.set(all[0] as string, 5, { reason: 'a test' })).toEqual({ previous: 13n });
    const listed: string[] = [];
    for await (const { name } of client.list('ws-')) listed.push(name);
    expect(listed).toEqual(expect.arrayContaining(all));
    expect(await client.delete(all[0] as string, { reason: 'done' })).toMatchObject({ previous: 5n });
    expect((await client.stats()).map(({ lane }) => lane)).toEqual([0, 1]);
  });

  test('sends batches as large as the limit', async () => {
    const client = await clientOfTest(over(server()), { direct });
    const operations = Array.from({ length: 10_000 }, (_, i) => ({
      name: `{ws-large}${i}`.padEnd(100, '.'),
      delta: 1,
    }));
    const before = await client.get(operations[0]?.name as string);
    const results = await client.batch(operations);
    expect(results.map(({ value }) => value)).toEqual(operations.map(() => before + 1n));
  });

  test('counts once what was in flight when the server died, and goes on', async () => {
    const own = await serverOfTest({ lanes: LANES, webSocket: true });
    const client = await clientOfTest(over(own), { direct });
    const all = fresh(8);
    for (let round = 0; round < 2; round++) {
      const calls = Array.from({ length: 400 }, (_, i) => client.increment(all[i % all.length] as string));
      await calls[0];
      await own.crash();
      await Promise.all(calls);
    }
    expect(await Promise.all(all.map((name) => client.get(name)))).toEqual(all.map(() => 100n));
    expect(client.statistics.reconnections).toBeGreaterThanOrEqual(1);
    await own.kill('SIGTERM');
    await own.start();
    expect(await client.increment(all[0] as string)).toBe(101n);
  });
});

test('clients of both kinds count on the same counters', async () => {
  const [web, tcp] = [await clientOfTest(over(server())), await clientOfTest(server())];
  const all = fresh(20);
  await Promise.all(all.flatMap((name) => [web.increment(name), tcp.increment(name)]));
  expect((await web.read(all)).map(({ value }) => value)).toEqual(all.map(() => 2n));
});

test('the command line takes ws:// as a server', async () => {
  for (const [args, out] of [
    [['incr', 'ws-cli', '7'], '7\n'],
    [['get', 'ws-cli'], '7\n'],
    [['incr', 'ws-cli', '--no-direct'], '8\n'],
  ] as const) {
    const program = startProgram([...args, '--server', over(server(), 1).url]);
    program.stdin.end();
    expect(await program.outcome).toEqual({ status: 0, out, err: '' });
  }
});
