import { readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Client } from '../../src/client/index.js';
import { clientOfTest } from './clients.js';
import { patchedProgram } from './patched-program.js';
import { directoryOfTest, type ServerOptions, type ServerProcess, serverOfTest } from './server-process.js';
import { straceMissing, Tracer } from './tracer.js';

const TAIL_BYTES = 262_144;
const OPTIONS: ServerOptions = {
  lanes: 2,
  partitions: 4,
  environment: { TALLYSTICK_CHECKPOINT_TAIL_BYTES: String(TAIL_BYTES) },
};
const NAMES = Array.from({ length: 2_000 }, (_, i) => `a counter with a name of its own: ${i}`);
/** What a lane may have taken already when its tail comes to the bound. */
const GROUPS_UNDER_WAY_BYTES = 2 * 4 * 1_048_576;

interface LaneState {
  readonly checkpoints: { readonly made: number; readonly tailBytes: number };
  readonly recovery: { readonly entries: number; readonly pages: number };
}

async function lanesOf(client: Client): Promise<readonly LaneState[]> {
  return (await client.stats()) as unknown as LaneState[];
}

/** Adds 1 to every counter. */
async function addToAll(client: Client): Promise<void> {
  await Promise.all(NAMES.map((name) => client.increment(name)));
}

/** Adds to every counter, again and again, until the server ends. @returns how often it did whole */
async function addUntilTheEnd(client: Client, server: ServerProcess): Promise<number> {
  let rounds = 0;
  let isEnded = false;
  server.run.exited.then(() => {
    isEnded = true;
  });
  while (!isEnded) {
    const ended = server.run.exited.then(() => 'ended' as const);
    if ((await Promise.race([addToAll(client), ended])) !== 'ended') rounds++;
  }
  return rounds;
}

/** The nice value of each thread of a process (proc(5), /proc/PID/stat, field 19). */
function prioritiesOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => {
    const [, fields = ''] = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').split(') ');
    return Number(fields.split(' ')[16]);
  });
}

test.runIf(process.platform === 'linux')('checkpointers stand back, and nobody else', async () => {
  const server = await serverOfTest(OPTIONS);
  const client = await clientOfTest(server);
  do await addToAll(client);
  while ((await lanesOf(client)).some(({ checkpoints }) => checkpoints.made === 0));
  const priorities = prioritiesOf(server.pid);
  const { PRIORITY_BELOW_NORMAL, PRIORITY_NORMAL } = constants.priority;
  expect(priorities.filter((one) => one === PRIORITY_BELOW_NORMAL)).toHaveLength(2);
  expect(priorities.filter((one) => one === PRIORITY_NORMAL)).toHaveLength(priorities.length - 2);
});

test.skipIf(straceMissing)('where the system forbids that, they are there all the same', async () => {
  const forbidding = ['--seccomp-bpf', '-e', 'trace=setpriority', '-e', 'inject=setpriority:error=EPERM'];
  const record = join(directoryOfTest(), 'calls');
  const server = await serverOfTest({ ...OPTIONS, within: ['strace', '-f', '-qq', '-o', record, ...forbidding] });
  const client = await clientOfTest(server);
  const forbidden = () => readFileSync(record, 'utf8').match(/INJECTED/g)?.length ?? 0;
  const ended = server.run.exited.then(() => 'ended' as const);
  while (forbidden() < 2 && (await Promise.race([addToAll(client), ended])) !== 'ended');
  process.kill(server.pid, 'SIGTERM'); // each checkpointer says that it has stopped
  expect((await server.run.exited).code).toBe(0);
});

test('checkpoints are made under load, and after kill -9 only the log behind them is replayed', async () => {
  const server = await serverOfTest(OPTIONS);
  const client = await clientOfTest(server);
  let rounds = 0;
  let made = 0;
  for (; made < 12; rounds++) {
    await addToAll(client);
    const lanes = await lanesOf(client);
    made = Math.min(...lanes.map(({ checkpoints }) => checkpoints.made));
    for (const { checkpoints } of lanes) {
      expect(checkpoints.tailBytes).toBeLessThan(TAIL_BYTES + GROUPS_UNDER_WAY_BYTES);
    }
  }
  await server.crash();
  const reader = await clientOfTest(server, { producer: false });
  for (const { recovery } of await lanesOf(reader)) {
    expect(recovery.pages).toBeGreaterThan(2 * 3);
    expect(recovery.entries).toBeLessThan(rounds * NAMES.length);
  }
  const values = await reader.read(NAMES);
  expect(new Set(values.map(({ value }) => value))).toEqual(new Set([BigInt(rounds)]));
});

test('memory that is not what the log gives ends the server, and the log is what counts', async () => {
  const hash = 'hash: this.#kernel.hashPages(first, count)';
  const program = patchedProgram('lane/checkpoint-probes.js', hash, `${hash} ^ 1n`);
  const server = await serverOfTest({ ...OPTIONS, program });
  const rounds = await addUntilTheEnd(await clientOfTest(server), server);
  expect((await server.run.exited).code).not.toBe(0);
  expect(server.stderr).toContain('STATE_DIVERGED');
  expect(server.stderr).toMatch(/Partition \d at sequence \d+: pages 0 to \d+ differ/);
  const sound = await serverOfTest({ ...OPTIONS, dataDir: server.dataDir });
  const values = await (await clientOfTest(sound, { producer: false })).read(NAMES);
  for (const { value } of values) expect(Number(value)).toBeGreaterThanOrEqual(rounds);
});

test.skipIf(straceMissing)(
  'a checkpoint that the device does not take ends the server; the log has everything',
  async () => {
    const server = await serverOfTest(OPTIONS);
    const client = await clientOfTest(server);
    const file = join(server.dataDir, 'lane-0', 'checkpoint.mdb');
    await Tracer.attach(server.pid, '-e', 'trace=fdatasync', '-e', 'inject=fdatasync:error=EIO', '-P', file);
    const rounds = await addUntilTheEnd(client, server);
    expect((await server.run.exited).code).not.toBe(0);
    expect(server.stderr).toContain('STORAGE_FAILED');
    await server.start();
    const values = await (await clientOfTest(server, { producer: false })).read(NAMES);
    for (const { value } of values) expect(Number(value)).toBeGreaterThanOrEqual(rounds);
  },
);
