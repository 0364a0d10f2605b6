import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { clientOfTest } from './clients.js';
import { addAnswer, errorOf, RawClient } from './raw-client.js';
import { type ServerProcess, serverOfTest } from './server-process.js';
import { straceMissing, Tracer } from './tracer.js';

/** What of a group commit fails: the system call, and on which file of the lane. */
const FAILURES = [
  ['the flush of the pages', 'fdatasync', 'log.mdb'],
  ['the write of several pages', 'writev', 'log.mdb'],
  ['the write of a page', 'pwrite64', 'log.mdb'],
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

  test('a client of the SDK goes on with the next server, and nothing is lost or doubled', async () => {
    const server = await serverOfTest({ lanes: 2 });
    const client = await clientOfTest(server);
    await Promise.all(Array.from({ length: 20 }, (_, i) => client.increment(`before:${i}`)));
    await failing(server, 'fdatasync', 'log.mdb');
    const calls = Array.from({ length: 200 }, (_, i) => client.increment(`across:${i % 20}`));
    expect((await server.run.exited).code).not.toBe(0);
    await server.start();
    const values = await Promise.all(calls);
    expect(values.length).toBe(200);
    const readings = await client.read(Array.from({ length: 20 }, (_, i) => `across:${i}`));
    expect(readings.map(({ value }) => value)).toEqual(new Array(20).fill(10n));
  });
});
