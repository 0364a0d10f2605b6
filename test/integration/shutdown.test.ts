import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { clientOfTest } from './clients.js';
import { patchedProgram, patientProgram } from './patched-program.js';
import { type Answer, addAnswer, errorCodeOf, errorOf, RawClient } from './raw-client.js';
import { directoryOfTest, serverOfTest } from './server-process.js';
import { HUNG_FLUSH, straceMissing, Tracer } from './tracer.js';

const STOPPED = { code: 0, signal: null };
/** Asks until the lane has heard of the end. */
async function draining(client: RawClient): Promise<void> {
  let answer: Answer;
  do answer = await client.ping();
  while (errorCodeOf(answer) === undefined);
  expect(errorOf(answer)).toMatchObject({ code: 'SHUTTING_DOWN', outcome: 'refused' });
}

test('SIGTERM under load: every batch that was applied is answered, no other was applied, and the exit code is 0', async () => {
  const server = await serverOfTest({ lanes: 1 });
  const client = await RawClient.connect(server.url);
  const answers = Array.from({ length: 1000 }, () => client.add([{ name: 'counted', delta: 1n }]));
  await answers[0];
  expect(await server.kill('SIGTERM')).toEqual(STOPPED);
  const settled = await Promise.allSettled(answers);
  const codes = settled.map((each) => (each.status === 'fulfilled' ? errorCodeOf(each.value) : 'UNANSWERED'));
  const applied = codes.filter((code) => code === undefined).length;
  expect(codes.filter((code) => code !== undefined && code !== 'SHUTTING_DOWN' && code !== 'UNANSWERED')).toEqual([]);
  await server.start();
  expect(await (await clientOfTest(server)).get('counted')).toBe(BigInt(applied));
});

test('a client of the SDK goes on where the stopped server comes back: nothing is lost or doubled', async () => {
  const server = await serverOfTest({ lanes: 2 });
  const client = await clientOfTest(server);
  const first = client.increment('through', 0);
  const calls = Array.from({ length: 500 }, async (_, i) => {
    await first;
    return client.increment(`through:${i % 7}`);
  });
  await first;
  expect(await server.kill('SIGTERM')).toEqual(STOPPED);
  await server.start();
  await Promise.all(calls);
  const readings = await client.read(Array.from({ length: 7 }, (_, i) => `through:${i}`));
  expect(readings.reduce((sum, { value }) => sum + value, 0n)).toBe(500n);
});

test('SIGINT does the same, without a client', async () => {
  const server = await serverOfTest();
  expect(await server.kill('SIGINT')).toEqual(STOPPED);
});

test('a client that does not read its answers does not hold up the end', async () => {
  const server = await serverOfTest();
  const client = await RawClient.connect(server.url);
  client.socket.pause();
  for (let i = 0; i < 100; i++) void client.add([{ name: 'unread', delta: 1n }]);
  expect(await server.kill('SIGTERM')).toEqual(STOPPED);
});

describe.skipIf(straceMissing)('while a flush is on its way', () => {
  test('SIGTERM waits for it and answers its batches; what comes later is refused', async () => {
    const server = await serverOfTest({ program: patientProgram() });
    const client = await RawClient.connect(server.url);
    const tracer = await Tracer.attach(server.pid, ...HUNG_FLUSH);
    const inFlight = client.add([{ name: 'in-flight', delta: 5n }]);
    await client.ping();
    const inOpenGroup = client.add([{ name: 'in-flight', delta: 2n }]);
    await client.ping();
    server.run.child.kill('SIGTERM');
    await draining(client);
    const late = await client.add([{ name: 'in-flight', delta: 100n }]);
    expect(errorOf(late)).toMatchObject({ code: 'SHUTTING_DOWN', outcome: 'refused' });
    expect(client.inFlight).toBe(2);
    await tracer.detach();
    addAnswer(await inFlight, 1, false);
    addAnswer(await inOpenGroup, 1, false);
    expect(await server.run.exited).toEqual(STOPPED);
    await server.start();
    expect(await (await clientOfTest(server)).get('in-flight')).toBe(7n);
  });

  test('a second signal ends the process at once, with another exit code', async () => {
    const server = await serverOfTest({ program: patientProgram() });
    const client = await RawClient.connect(server.url);
    const tracer = await Tracer.attach(server.pid, ...HUNG_FLUSH);
    const inFlight = client.add([{ name: 'hung', delta: 5n }]);
    await client.ping();
    server.run.child.kill('SIGTERM');
    await draining(client);
    server.run.child.kill('SIGTERM');
    await isDead(server.pid);
    await tracer.detach(); // it holds the thread that hangs, and so the end of the process from us
    expect((await server.run.exited).code).not.toBe(0);
    await expect(inFlight).rejects.toThrow('ended before the answer');
  });
});

/** Resolves when the process runs no more, though the system may still know it. */
async function isDead(pid: number): Promise<void> {
  const stateOf = () => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.[0];
  while (stateOf() !== 'Z') await nextTurn();
}

const AS_FIRST_PROCESS = ['unshare', '--pid', '--fork', '--kill-child'];
const canBeFirst = spawnSync('unshare', [...AS_FIRST_PROCESS.slice(1), 'true']).status === 0;

// There the system keeps from a process the signals that it sends to itself, SIGKILL too.
test.skipIf(!canBeFirst)('the first process of a container ends at a second signal too, whatever hangs', async () => {
  const fifo = join(directoryOfTest(), 'fifo');
  execFileSync('mkfifo', [fifo]);
  const hang = `(await import('node:fs')).open(${JSON.stringify(fifo)}, () => {}); await new Promise(() => {});`;
  const program = patchedProgram('serve.js', 'await server.close();', hang);
  const server = await serverOfTest({ program, within: AS_FIRST_PROCESS });
  process.kill(server.pid, 'SIGTERM');
  await server.run.logged('draining');
  process.kill(server.pid, 'SIGTERM');
  expect((await server.run.exited).code).not.toBe(0);
});
