import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import type { Client } from '../../src/client/index.js';
import { decodeAudit } from '../../src/lane/audit-record.js';
import { closeLaneStorage, openLaneStorage } from '../../src/log/lane-storage.js';
import { KERNEL_VERSION } from '../../src/partition/partition.js';
import { clientOfTest } from './clients.js';
import { type ServerProcess, serverOfTest } from './server-process.js';

let server: ServerProcess;
let client: Client;

beforeEach(async () => {
  server = await serverOfTest();
  client = await clientOfTest(server);
});

/** The audit log, read from the storage of a server that has been killed. */
async function auditOf({ dataDir }: ServerProcess) {
  const shape = { partitions: [0, 1, 2, 3], kernelVersion: KERNEL_VERSION };
  const storage = await openLaneStorage(join(dataDir, 'lane-0'), shape, { readOnly: true });
  const items: ReturnType<typeof decodeAudit>[] = [];
  await storage.log.audit(({ value }) => items.push(decodeAudit(value)));
  await closeLaneStorage(storage);
  return items.sort((a, b) => a.time - b.time);
}

test('SET answers the value before, and the log keeps who did it and why across kill -9', async () => {
  await client.increment('stock', 7);
  expect(await client.set('stock', 100, { reason: 'stocktaking' })).toEqual({ previous: 7n });
  expect(await client.set('stock', -5n, { reason: 'théft', expect: 100 })).toEqual({ previous: 100n });
  await server.kill('SIGKILL');

  expect(await auditOf(server)).toEqual([
    {
      operation: 'set',
      counter: 'stock',
      value: '100',
      previous: '7',
      result: 'OK',
      reason: 'stocktaking',
      client: 'tallystick-js',
      remote: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      time: expect.any(Number),
    },
    expect.objectContaining({ counter: 'stock', value: '-5', previous: '100', expect: '100', reason: 'théft' }),
  ]);
  await server.start();
  expect(await (await clientOfTest(server)).get('stock')).toBe(-5n);
});

test('with `expect` it is a compare-and-set, and an attempt that failed is in the audit log too', async () => {
  expect(await client.set('flag', 1, { reason: 'first', expect: 0 })).toEqual({ previous: 0n });
  await expect(client.set('flag', 2, { reason: 'second', expect: 0 })).rejects.toMatchObject({
    code: 'EXPECTATION_FAILED',
    outcome: 'refused',
    detail: 'It is 1.',
  });
  expect(await client.get('flag')).toBe(1n);
  await server.kill('SIGKILL');
  expect((await auditOf(server)).map(({ reason, result }) => [reason, result])).toEqual([
    ['first', 'OK'],
    ['second', 'EXPECTATION_FAILED'],
  ]);
});

test('of clients that compare and set at once, one wins each round', async () => {
  const clients = [client, ...(await Promise.all([1, 2, 3].map(() => clientOfTest(server))))];
  for (let value = 0; value < 50; ) {
    const wishes = clients.map((_, i) => value + 10 + i);
    const attempts = await Promise.allSettled(
      clients.map((each, i) => each.set('turn', wishes[i] as number, { reason: 'mine', expect: value })),
    );
    const won = wishes.filter((_, i) => attempts[i]?.status === 'fulfilled');
    expect(won).toHaveLength(1);
    value = won[0] as number;
    expect(await client.get('turn')).toBe(BigInt(value));
  }
});
