import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { clientOfTest } from './clients.js';
import { addAnswer, errorCodeOf, errorOf, RawClient } from './raw-client.js';
import { type ServerProcess, serverOfTest } from './server-process.js';
import { straceMissing, Tracer } from './tracer.js';

const LOG = 'log-0000000000000001.mdb';
/** Every few batches begin a segment. */
const SMALL_SEGMENTS = { TALLYSTICK_LOG_SEGMENT_BYTES: '4096' };

/** What of a group commit fails: the system call, and on which file of the lane. */
const FAILURES = [
  ['the flush of the pages', 'fdatasync', LOG],
  ['the write of several pages', 'writev', LOG],
  ['the write of a page', 'pwrite64', LOG],
  ['the write of the head mark', 'pwrite64', 'head-mark'],
] as const;

function failing({ pid, dataDir }: ServerProcess, call: string, file: string): Promise<Tracer> {
  const options = ['-e', `trace=${call}`, '-e', `inject=${call}:error=EIO`, '-P', join(dataDir, 'lane-0', file)];
  return Tracer.attach(pid, ...options);
}

describe.skipIf(straceMissing)('broken storage', () => {
  test.each(FAILURES)('%s: nothing more is acknowledged, and the process ends by itself', async (_, call, file) => {
    const server = await serverOfTest({ lanes: 2, partitions: 2 });
    const client = await RawClient.connect(server.url, { producer: { name: 'p' } });
    const name = ['a', 'b', 'c', 'd', 'e'].find((each) => client.partitionOf(each) === 0) as string;
    const send = (sequence: number) =>
      client.add([{ name, delta: 1n }], { sequence: { sequence, unanswered: sequence - 1 } });
    addAnswer(await send(1), 1, false);
    await failing(server, call, file);
    const answers = await Promise.allSettled([2, 3, 4, 5].map(send));
    const exit = await server.run.exited;
    expect(exit.code).not.toBe(0);
    expect(server.stderr).toContain('STORAGE_FAILED');
    for (const answer of answers) {
      // Either the connection ended, or the answer says that nobody knows.
      if (answer.status === 'fulfilled')
        expect(errorOf(answer.value)).toMatchObject({ code: 'STORAGE_FAILED', outcome: 'unknown' });
    }
    await server.start();
    const value = await (await clientOfTest(server)).get(name);
    expect(value).toBeGreaterThanOrEqual(1n);
    expect(value).toBeLessThanOrEqual(5n);
  });

  test.each([
    ['the flush of a new segment', 'fsync'],
    ['the naming of a new segment', 'rename'],
  ])('%s: nothing more is acknowledged, and the process ends by itself', async (_, call) => {
    const server = await serverOfTest({ environment: SMALL_SEGMENTS });
    const client = await RawClient.connect(server.url, { producer: { name: 'p' } });
    await Tracer.attach(server.pid, '-e', `trace=${call}`, '-e', `inject=${call}:error=EIO`);
    let last = 0;
    const send = (sequence: number) =>
      client.add([{ name: `${'x'.repeat(900)}`, delta: 1n }], { sequence: { sequence, unanswered: sequence - 1 } });
    const ended = server.run.exited;
    for (let sequence = 1; sequence <= 100; sequence++) {
      const answer = await Promise.race([send(sequence).catch(() => undefined), ended.then(() => undefined)]);
      if (!answer || errorCodeOf(answer)) break;
      last = sequence;
    }
    expect(last).toBeGreaterThan(0);
    expect(last).toBeLessThan(100);
    expect((await ended).code).not.toBe(0);
    expect(server.stderr).toContain('STORAGE_FAILED');
    await server.start();
    const value = await (await clientOfTest(server)).get('x'.repeat(900));
    expect([BigInt(last), BigInt(last + 1)]).toContain(value);
  });

  test('a client of the SDK goes on with the next server, and nothing is lost or doubled', async () => {
    const server = await serverOfTest({ lanes: 2 });
    const client = await clientOfTest(server);
    await Promise.all(Array.from({ length: 20 }, (_, i) => client.increment(`before:${i}`)));
    await failing(server, 'fdatasync', LOG);
    const calls = Array.from({ length: 200 }, (_, i) => client.increment(`across:${i % 20}`));
    expect((await server.run.exited).code).not.toBe(0);
    await server.start();
    const values = await Promise.all(calls);
    expect(values.length).toBe(200);
    const readings = await client.read(Array.from({ length: 20 }, (_, i) => `across:${i}`));
    expect(readings.map(({ value }) => value)).toEqual(new Array(20).fill(10n));
  });
});
