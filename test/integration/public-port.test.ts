import { describe, expect, test } from 'vitest';
import type { TallystickError } from '../../src/errors.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { decodeAllStats, encodeStatsRequest, type HelloAnswer } from '../../src/protocol/control.js';
import { Flag, LANE, Opcode } from '../../src/protocol/opcode.js';
import { encodeGet } from '../../src/protocol/request.js';
import { decodeGetAnswer } from '../../src/protocol/response.js';
import { clientOfTest } from './clients.js';
import { startProgram } from './ingest-programs.js';
import { addAnswer, errorCodeOf, RawClient } from './raw-client.js';
import { type ServerProcess, serverOfTest, sharedServer } from './server-process.js';

/** Clients that reach one lane's port alone, and through it all partitions. */

const LANES = 3;
const PARTITIONS = 6;
const server = sharedServer({ lanes: LANES, partitions: PARTITIONS });
let names = 0;
const fresh = () => `public-${names++}`;

/** Names of each partition. */
function namesOfAll(client: { partitionOf(name: string): number }): string[] {
  const found = new Map<number, string>();
  while (found.size < PARTITIONS) {
    const name = fresh();
    found.set(client.partitionOf(name), name);
  }
  return [...found.values()];
}

const urlOf = ({ port }: ServerProcess, lane: number) => `tallystick://127.0.0.1:${port + lane}`;

const incarnations = ({ producer }: HelloAnswer) =>
  (producer?.partitions ?? []).map(({ partition, incarnation }) => ({ partition, incarnation }));

test('one connection does everything, and no other lane is connected to', async () => {
  const client = await clientOfTest(server(), { direct: false });
  const all = namesOfAll(client);
  expect(await Promise.all(all.map((name) => client.increment(name, 2)))).toEqual(all.map(() => 2n));
  const results = await client.batch(all.map((name) => ({ name, delta: 1 })));
  expect(results.map(({ value }) => value)).toEqual(all.map(() => 3n));
  for (const name of all) client.counter(name).add(10);
  const position = await client.flush();
  const readings = await client.read(all, { after: position });
  expect(readings.map(({ value, durable }) => [value, durable])).toEqual(all.map(() => [13n, true]));
  for (const name of all) expect(await client.set(name, 5, { reason: 'a test' })).toEqual({ previous: 13n });
  const listed: string[] = [];
  for await (const { name, value } of client.list('public-')) if (value === 5n) listed.push(name);
  expect(listed).toEqual(expect.arrayContaining(all));
  for (const name of all) expect(await client.delete(name, { reason: 'done' })).toMatchObject({ previous: 5n });
  await client.sync();
  const stats = await client.stats();
  expect(stats.map(({ lane, connections }) => [lane, connections])).toEqual([
    [0, 1],
    [1, 0],
    [2, 0],
  ]);
});

test('the command line reaches all partitions with --no-direct', async () => {
  const client = await clientOfTest(server(), { producer: false });
  for (const name of namesOfAll(client).slice(0, LANES)) {
    const program = startProgram(['incr', name, '7', '--no-direct'], { TALLYSTICK_SERVER: urlOf(server(), 2) });
    program.stdin.end();
    expect(await program.outcome).toEqual({ status: 0, out: '7\n', err: '' });
  }
});

test('every lane is as good as any other, also for one client after the other, across kill -9', async () => {
  const producer = { name: fresh() };
  const first = await RawClient.connect(urlOf(server(), 0), { producer, direct: false });
  const all = namesOfAll(first);
  const sequence = { sequence: { sequence: 1, unanswered: 0 }, flags: Flag.VALUES };
  for (const name of all) addAnswer(await first.add([{ name, delta: 5n }], sequence), 1);

  await server().crash();
  const resume = incarnations(first.hello as HelloAnswer);
  const second = await RawClient.connect(urlOf(server(), 2), { producer, resume, direct: false });
  expect(second.hello?.producer?.partitions.map(({ partition, next }) => [partition, next])).toEqual(
    Array.from({ length: PARTITIONS }, (_, partition) => [partition, 2]),
  );
  for (const name of all) {
    const again = await second.add([{ name, delta: 5n }], sequence);
    expect(again.flags).toBe(Flag.REPEATED);
    expect(addAnswer(again, 1).values).toEqual([5n]);
  }
});

test('a second session fences the first in all partitions, whichever ports they use', async () => {
  const producer = fresh();
  const first = await clientOfTest({ url: urlOf(server(), 0) }, { producer, direct: false });
  const all = namesOfAll(first);
  await clientOfTest({ url: urlOf(server(), 1) }, { producer, direct: false });
  const codes = await Promise.all(
    all.map((name) =>
      first.increment(name).then(
        () => 'none',
        (error: TallystickError) => error.code,
      ),
    ),
  );
  expect(new Set(codes)).toEqual(new Set(['PRODUCER_FENCED']));
  await expect(first.increment(all[0] as string)).rejects.toMatchObject({ code: 'CLOSED' });
});

test('a connection that is direct is refused what its lane does not own', async () => {
  const client = await RawClient.connect(server().url);
  const codes = await Promise.all(namesOfAll(client).map(async (name) => errorCodeOf(await client.get(name))));
  expect(codes.filter((code) => code === 'WRONG_PARTITION')).toHaveLength(PARTITIONS - PARTITIONS / LANES);
});

test('a frame as long as the limit goes through rings that are shorter', async () => {
  const client = await RawClient.connect(server().url, { direct: false });
  const tag = namesOfAll(client).find((name) => client.hello?.partitions[client.partitionOf(name)] === 2);
  // 1,000 names of 1,000 bytes
  const operations = Array.from({ length: 1_000 }, (_, i) => ({ name: `{${tag}}${i}`.padEnd(1_000, '.'), delta: 1n }));
  const answer = await client.add(operations, { flags: Flag.VALUES });
  expect(addAnswer(answer, operations.length).values).toEqual(operations.map(() => 1n));
});

describe('across kill -9 and SIGTERM', () => {
  test('increments in flight count once, in all partitions', async () => {
    const client = await clientOfTest(server(), { direct: false });
    const all = namesOfAll(client);
    for (let round = 0; round < 3; round++) {
      const calls = Array.from({ length: 300 }, (_, i) =>
        client.increment(all[i % all.length] as string, 1, { ack: i % 2 === 0 ? 'durable' : 'applied' }),
      );
      await calls[0];
      await server().crash();
      await Promise.all(calls);
    }
    await client.flush();
    expect((await client.read(all)).map(({ value }) => value)).toEqual(all.map(() => BigInt((3 * 300) / PARTITIONS)));
    expect(client.statistics).toMatchObject({ reconnections: 3 });
  });

  test('SIGTERM: every batch that was applied is answered, wherever it was, and no other was applied', async () => {
    const client = await RawClient.connect(server().url, { direct: false });
    const all = namesOfAll(client);
    const answers = Array.from({ length: 1000 }, (_, i) =>
      client.add([{ name: all[i % all.length] as string, delta: 1n }]),
    );
    await answers[0];
    expect(await server().kill('SIGTERM')).toEqual({ code: 0, signal: null });
    const settled = await Promise.allSettled(answers);
    const codes = settled.map((each) => (each.status === 'fulfilled' ? errorCodeOf(each.value) : 'UNANSWERED'));
    const others = codes.filter((code) => code !== undefined && code !== 'SHUTTING_DOWN' && code !== 'UNANSWERED');
    expect(others).toEqual([]);
    await server().start();
    const reader = await clientOfTest(server(), { direct: false });
    const values = (await reader.read(all)).map(({ value }) => Number(value));
    const applied = all.map((_, of) => codes.filter((code, i) => i % all.length === of && code === undefined).length);
    expect(values).toEqual(applied);
  });
});

describe('a client that does not read its answers', () => {
  const keys = 1_000;
  const requests = 6_000;

  test('is not read from, others are served, and it loses nothing', async () => {
    const own = await serverOfTest({ lanes: 2, partitions: 2 });
    const client = await RawClient.connect(own.url, { direct: false });
    const observer = await RawClient.connect(own.url);
    let tag = 0;
    while (client.partitionOf(`${tag}`) !== 1) tag++;
    const short = Array.from({ length: keys }, (_, i) => `{${tag}}${i.toString(36)}`);
    addAnswer(await client.add(short.map((name) => ({ name, delta: 2n ** 63n - 1n }))), keys, false);
    const body = new ByteWriter();
    encodeGet(body, { keys: short.map((name) => ({ name })) });

    client.socket.pause();
    const answers = Array.from({ length: requests }, () => client.request(Opcode.GET, Flag.LATEST, 1, body.view()));
    // 1,024 in flight, 1 MiB of answers of 11 kB, and what the buffers of the system hold
    expect(await requestsTaken(observer)).toBeLessThan(requests / 2);
    expect(await (await clientOfTest(own, { direct: false })).increment(`{${tag}}other`)).toBe(1n);

    client.socket.resume();
    for (const answer of answers) {
      const { values } = decodeGetAnswer((await answer).body);
      expect(values).toHaveLength(keys);
    }
  });
});

const QUIET_TURNS = 30;

/** How many requests of others the first lane has taken when it takes no more. */
async function requestsTaken(observer: RawClient): Promise<number> {
  const body = new ByteWriter();
  encodeStatsRequest(body);
  let taken = -1;
  for (let quiet = 0, asked = 1; quiet < QUIET_TURNS; quiet++, asked++) {
    const [stats] = decodeAllStats((await observer.request(Opcode.STATS, 0, LANE, body.view())).body);
    const others = Number(stats?.['requests']) - asked;
    if (others !== taken) quiet = 0;
    taken = others;
  }
  return taken;
}
