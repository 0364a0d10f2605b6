import { expect, it } from 'vitest';
import { decodeAllStats, encodeStatsRequest } from '../../src/protocol/control.js';
import { LANE, Opcode } from '../../src/protocol/opcode.js';
import { NAME, type TestClient } from '../lane/lane-harness.js';
import { MeshHarness } from '../lane/mesh-harness.js';
import { codeOfEnd, tail, tailNames, tailPrefix, told } from './follower.js';

/** TAIL through a lane that passes it on. */

async function feedsOf(harness: MeshHarness, client: TestClient): Promise<number[]> {
  const id = client.send(Opcode.STATS, 0, LANE, (writer) => encodeStatsRequest(writer, {}));
  await harness.flush();
  return decodeAllStats(client.answerOf(id).body).map(({ feeds }) => (feeds as { feeds: number }).feeds);
}

it('A client of one lane follows counters of all', async () => {
  const harness = await MeshHarness.start();
  const client = await harness.indirect(0);
  const feeds = [tailNames(client, 0, [NAME[0]]), tailPrefix(client, 1, '')];
  await harness.flush();
  client.add(0, {});
  client.add(1, {});
  await harness.flush();
  expect(feeds.map((feed) => told(client, feed))).toEqual([
    [`[${NAME[0]} absent.`, `${NAME[0]}=1(1).`],
    ['[.', `${NAME[1]}=1(1).`],
  ]);
  expect(client.connection.inFlight).toBe(0);
  expect(await feedsOf(harness, client)).toEqual([1, 1]);
  const end = tail(client, 1, { kind: 'end', feed: feeds[1] as number });
  await harness.flush();
  expect(client.isAnswered(end)).toBe(true);
  expect(await feedsOf(harness, client)).toEqual([1, 0]);
});

it('The feeds of a client end with its connection, on every lane', async () => {
  const harness = await MeshHarness.start();
  const [client, other] = [await harness.indirect(0), await harness.indirect(1)];
  for (const partition of [0, 1]) tailPrefix(client, partition, '');
  const kept = tailPrefix(other, 0, '');
  await harness.flush();
  expect(await feedsOf(harness, other)).toEqual([2, 1]);
  client.connection.destroy();
  await harness.flush();
  expect(await feedsOf(harness, other)).toEqual([1, 0]);
  other.add(0, {});
  await harness.flush();
  expect(told(other, kept)).toEqual(['[.', `${NAME[0]}=1(1).`]);
});

it('A direct client is refused what is not of its lane', async () => {
  const harness = await MeshHarness.start();
  const client = await harness.direct(0);
  const feed = tailPrefix(client, 1, '');
  await harness.flush();
  expect(client.refusal(feed)).toBe('WRONG_PARTITION refused');
});

it('A client that takes nothing of what another lane tells is cut off at some bytes, and its feeds end', async () => {
  const harness = await MeshHarness.start();
  const [client, writer] = [await harness.indirect(0), await harness.direct(1)];
  const names = Array.from({ length: 100 }, (_, i) => `{${NAME[1]}}${'x'.repeat(900)}${i}`);
  // each may be a megabyte ahead
  for (let i = 0; i < 12; i++) tailPrefix(client, 1, '');
  await harness.flush();
  client.transport.takesAll = false;
  for (let i = 0; i < 200 && !client.transport.isDestroyed; i++) {
    writer.add(1, { operations: names.map((name) => ({ key: { name }, delta: 1n })) });
    await harness.flush();
    expect(client.transport.unsentBytes).toBeLessThan(8 * 1_048_576 + 300_000);
  }
  expect(client.transport.unsentBytes).toBeGreaterThan(1_048_576);
  client.transport.destroy();
  await harness.flush();
  const other = await harness.indirect(0);
  expect(await feedsOf(harness, other)).toEqual([0, 0]);
});

it('A server that shuts down says so to those who follow, also through another lane', async () => {
  const harness = await MeshHarness.start();
  const clients = [await harness.direct(0), await harness.indirect(1)];
  const feeds = clients.map((client) => tailPrefix(client, 0, ''));
  await harness.flush();
  const drained = Promise.all(harness.lanes.map(({ host }) => host.drain()));
  await harness.flush();
  await drained;
  expect(clients.map((client, i) => codeOfEnd(client, feeds[i] as number))).toEqual(['SHUTTING_DOWN', 'SHUTTING_DOWN']);
});
