import { execFileSync, spawnSync } from 'node:child_process';
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { DEFAULT_RESERVE_BYTES } from '../../src/log/segment.js';
import { Flag } from '../../src/protocol/opcode.js';
import { clientOfTest } from './clients.js';
import { type Answer, addAnswer, errorCodeOf, errorOf, RawClient, readAnswer } from './raw-client.js';
import { directoryOfTest, refusedStart, serverOfTest, temporaryDirectory } from './server-process.js';

const MEBIBYTE = 1_048_576;
/** The log refuses a group that would leave less than its reserve, so a file system has to be larger than that. */
const FILE_SYSTEM_BYTES = DEFAULT_RESERVE_BYTES + 32 * MEBIBYTE;

const mountMissing = whyNoMount();
if (mountMissing) console.warn(`Tests on a full disk are skipped: ${mountMissing}`);

function whyNoMount(): string | undefined {
  const directory = temporaryDirectory();
  const { status, error, stderr } = spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', directory], { encoding: 'utf8' });
  if (status === 0) execFileSync('umount', [directory]);
  rmSync(directory, { recursive: true });
  return error ? error.message : status === 0 ? undefined : stderr.trim();
}

/** A small file system for the test that runs. */
class SmallDisk {
  readonly directory = directoryOfTest();
  readonly #ballast = join(this.directory, 'ballast');

  constructor() {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${FILE_SYSTEM_BYTES}`, 'tmpfs', this.directory]);
    onTestFinished(() => {
      execFileSync('umount', ['--lazy', this.directory]);
    });
  }

  /** Leaves so many bytes free. */
  fill(free: number): void {
    const { bavail, bsize } = statfsSync(this.directory);
    writeFileSync(this.#ballast, Buffer.alloc(bavail * bsize - free));
  }

  free(): void {
    rmSync(this.#ballast);
  }
}

const REFUSED = { code: 'STORAGE_FULL', outcome: 'refused' };
const UNKNOWN = { code: 'STORAGE_FULL', outcome: 'unknown' };

/** Repeats a request until it is not answered with STORAGE_FULL. */
async function untilResumed(ask: () => Promise<Answer>): Promise<Answer> {
  let answer: Answer;
  do answer = await ask();
  while (errorCodeOf(answer) === 'STORAGE_FULL');
  return answer;
}

describe.skipIf(mountMissing)('on a full disk', () => {
  test.each([
    ['nothing is free', 0],
    ['only the reserve is free', DEFAULT_RESERVE_BYTES],
  ])('where %s: writes are refused, reads go on, and service resumes by itself', async (_, bytes) => {
    const disk = new SmallDisk();
    const server = await serverOfTest({ dataDir: join(disk.directory, 'data'), lanes: 1, partitions: 2 });
    const producer = { name: 'p' };
    const client = await RawClient.connect(server.url, { producer });
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const [hit, other] = [0, 1].map((partition) => names.find((name) => client.partitionOf(name) === partition)) as [
      string,
      string,
    ];
    const send = (name: string, sequence: number, delta: bigint) =>
      client.add([{ name, delta }], { sequence: { sequence, unanswered: sequence - 1 }, flags: Flag.VALUES });
    addAnswer(await send(hit, 1, 1n), 1);
    addAnswer(await send(other, 1, 1n), 1);

    disk.fill(bytes);
    // The group that meets the full disk: applied, and nobody can say when it will be flushed.
    expect(errorOf(await send(hit, 2, 10n))).toMatchObject(UNKNOWN);
    // What is new is refused before it is applied, in every partition of the lane.
    expect(errorOf(await send(hit, 3, 100n))).toMatchObject(REFUSED);
    expect(errorOf(await send(other, 2, 100n))).toMatchObject(REFUSED);
    const stranger = await RawClient.open(server.url);
    expect(errorOf(await stranger.sayHello({ producer: { name: 'q' } }))).toMatchObject(REFUSED);
    // A repeat is no new write: answered where it is flushed, else as unknown as before.
    expect(errorOf(await send(hit, 2, 10n))).toMatchObject(UNKNOWN);
    const repeated = await send(hit, 1, 1n);
    expect(addAnswer(repeated, 1).values).toEqual([1n]);
    expect(repeated.flags).toBe(Flag.REPEATED);
    expect(errorOf(await send(hit, 1, 2n))).toMatchObject({ code: 'SEQUENCE_CONFLICT' });

    const latest = readAnswer(await client.get(hit, Flag.LATEST));
    expect(latest.value).toBe(11n);
    expect(latest.flushed).toBeLessThan(latest.position);
    expect(readAnswer(await client.get(other)).value).toBe(1n);
    expect(errorOf(await client.get(hit))).toMatchObject(REFUSED);

    disk.free();
    const first = await untilResumed(() => send(hit, 2, 10n));
    expect(addAnswer(first, 1).values).toEqual([11n]);
    expect(first.flags).toBe(Flag.REPEATED);
    expect(addAnswer(await send(hit, 3, 100n), 1).values).toEqual([111n]);
    expect(addAnswer(await send(other, 2, 100n), 1).values).toEqual([101n]);
    await server.crash();
    const reader = await clientOfTest(server);
    expect([await reader.get(hit), await reader.get(other)]).toEqual([111n, 101n]);
  });

  test('a client of the SDK waits until there is room, and every sum is exact', async () => {
    const disk = new SmallDisk();
    // The groups that meet the full disk begin segments.
    const environment = { TALLYSTICK_LOG_SEGMENT_BYTES: '4096' };
    const server = await serverOfTest({ dataDir: join(disk.directory, 'data'), lanes: 2, environment });
    const client = await clientOfTest(server);
    const witness = await RawClient.connect(server.url);
    const names = Array.from({ length: 40 }, (_, i) => `sdk:${i}`);
    await Promise.all(names.map((name) => client.increment(name)));
    disk.fill(0);
    const calls = names.flatMap((name) => Array.from({ length: 5 }, () => client.increment(name)));
    const onFirstLane = names.filter((name) => witness.hello?.partitions[witness.partitionOf(name)] === 0);
    const ask = () => witness.add([{ name: onFirstLane[0] as string, delta: 0n }]);
    let answer: Answer;
    do answer = await ask();
    while (errorCodeOf(answer) === undefined);
    expect(errorOf(answer)).toMatchObject({ code: 'STORAGE_FULL' });
    disk.free();
    await Promise.all(calls);
    expect((await client.read(names)).map(({ value }) => value)).toEqual(names.map(() => 6n));
    await server.crash();
    expect((await client.read(names)).map(({ value }) => value)).toEqual(names.map(() => 6n));
  });

  test('a server starts, with other limits too, serves reads, and takes writes when there is room', async () => {
    const disk = new SmallDisk();
    const server = await serverOfTest({ dataDir: join(disk.directory, 'data') });
    await (await clientOfTest(server)).increment('kept', 3);
    await server.kill('SIGKILL');
    disk.fill(0);
    const limited = await serverOfTest({ dataDir: server.dataDir, flags: ['--memory', String(256 * MEBIBYTE)] });
    const reader = await clientOfTest(limited, { producer: false });
    expect(await reader.get('kept', { read: 'latest' })).toBe(3n);
    const raw = await RawClient.connect(limited.url);
    const add = () => raw.add([{ name: 'kept', delta: 0n }]);
    expect(errorOf(await add())).toMatchObject({ code: 'STORAGE_FULL' });
    disk.free();
    addAnswer(await untilResumed(add), 1, false);
    expect(await (await clientOfTest(limited)).increment('kept')).toBe(4n);
  });

  test.each([0, DEFAULT_RESERVE_BYTES])('a new data directory is refused where %d bytes are free', async (bytes) => {
    const disk = new SmallDisk();
    disk.fill(bytes);
    const { exit, stderr } = await refusedStart(['--data-dir', join(disk.directory, 'data'), '--port', '0']);
    expect(stderr).toMatch(/^STORAGE_FULL: dataDir: /);
    expect(exit).toEqual({ code: 1, signal: null });
  });
});
