import {
  cpSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { spawnChild } from '../../load/child.mjs';
import { readLaneState } from '../../src/backup/lane-state.js';
import { countersOf } from '../../src/backup/partition-counters.js';
import { connect } from '../../src/client/index.js';
import { DataDirectory } from '../../src/directory.js';
import { compileWasm } from '../../src/wasm.js';
import { clientOfTest, TIMEOUT_MILLISECONDS } from '../integration/clients.js';
import { startProgram } from '../integration/ingest-programs.js';
import { directoryOfTest, PROGRAM, refusedStart, ServerProcess, serverOfTest } from '../integration/server-process.js';

const SEGMENT_BYTES = 65_536;
const SEGMENTS = { TALLYSTICK_LOG_SEGMENT_BYTES: String(SEGMENT_BYTES) };
/** Checkpoints after every few batches. */
const CHECKPOINTS = { TALLYSTICK_CHECKPOINT_TAIL_BYTES: '100000' };
/** All rounds, and those of a server that makes no checkpoint: they are behind the last one. */
const ROUNDS = { all: 60, checkpointed: 40 } as const;
const PARTITIONS = 2;

interface DroppedReport {
  readonly from: number;
  readonly through: number;
  readonly readable: number;
  readonly unreadable: number;
  readonly times: readonly string[] | null;
  readonly counters: readonly { readonly name: string; readonly delta: string; readonly operations: number }[];
  readonly producers: readonly { readonly batches: number; readonly sequences: readonly [number, number] }[];
}

interface Report {
  readonly sound: boolean;
  readonly faults: readonly { readonly file: string }[];
  readonly lanes: readonly {
    readonly partitions: readonly {
      readonly partition: number;
      readonly checkpoint: number | null;
      readonly kept: { readonly sequence: number; readonly counters: number };
      readonly dropped: DroppedReport | null;
    }[];
  }[];
  readonly into: string | null;
  readonly epoch: number | null;
}

/** One acknowledged batch: to one partition, all that it came to there. */
interface Written {
  readonly partition: number;
  readonly sequence: number;
  readonly deltas: ReadonlyMap<string, bigint>;
}

let server: ServerProcess;
const history: Written[] = [];
/** By partition, a tag of names that belong to it. */
const tags: string[] = [];

beforeAll(async () => {
  server = await ServerProcess.start({
    lanes: 1,
    partitions: PARTITIONS,
    environment: { ...SEGMENTS, ...CHECKPOINTS },
  });
  await write(0, ROUNDS.checkpointed);
  // The checkpoints come behind: they are to pass all segments but the newest
  while ((await tailBytes()) > SEGMENT_BYTES) await write(0, 1);
  await server.kill('SIGTERM');
  const second = await ServerProcess.start({
    dataDir: server.dataDir,
    lanes: 1,
    partitions: PARTITIONS,
    environment: SEGMENTS,
  });
  await write(ROUNDS.checkpointed, ROUNDS.all, second.url);
  await second.kill('SIGTERM');
});
afterAll(() => server.dispose());

async function write(from: number, to: number, url = server.url): Promise<void> {
  const client = await connect(url, { producer: 'writer', timeout: TIMEOUT_MILLISECONDS });
  for (let i = 0; tags.filter(Boolean).length < PARTITIONS; i++) tags[client.partitionOf(`{${i}}`)] ??= `{${i}}`;
  const apply = async (partition: number, operations: readonly { name: string; delta: number }[]) => {
    const own = operations.filter(({ name }) => client.partitionOf(name) === partition);
    await client.batchTo(partition, own);
    const sequence = (await client.flush()).sequenceOf(partition) as number;
    const deltas = new Map<string, bigint>();
    for (const { name, delta } of own) deltas.set(name, (deltas.get(name) ?? 0n) + BigInt(delta));
    history.push({ partition, sequence, deltas });
  };
  for (let round = from; round < to; round++) {
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const names = Array.from({ length: 400 }, (_, i) => ({
        name: `counter:${(i * 7 + round * 13) % 900}`,
        delta: i,
      }));
      await apply(partition, [...names, { name: `${tags[partition]}round:${round}`, delta: round + 1 }]);
    }
  }
  // By id, so that what is dropped has to be told by the name that the id has.
  const counter = client.counter('counter:1');
  for (let round = 0; round < 2; round++) {
    counter.add(100 + round);
    const partition = client.partitionOf('counter:1');
    const sequence = (await client.flush()).sequenceOf(partition) as number;
    history.push({ partition, sequence, deltas: new Map([['counter:1', BigInt(100 + round)]]) });
  }
  await client.close();
}

/** Of the log, what a start would have to replay. */
async function tailBytes(): Promise<number> {
  const client = await connect(server.url, { timeout: TIMEOUT_MILLISECONDS });
  const [lane] = await client.stats();
  await client.close();
  return (lane as unknown as { readonly checkpoints: { readonly tailBytes: number } }).checkpoints.tailBytes;
}

async function repair(dataDir: string, ...flags: string[]) {
  const { status, out, err } = await startProgram(['repair', dataDir, '--json', ...flags]).outcome;
  return { status, report: JSON.parse(out || '{}') as Report, err };
}

/** A directory like the server's. */
function copyOfData() {
  const dataDir = join(directoryOfTest(), 'data');
  cpSync(server.dataDir, dataDir, { recursive: true });
  const lane = join(dataDir, 'lane-0');
  const segments = readdirSync(lane).filter((name) => /^log-\d+\.mdb$/.test(name));
  return { dataDir, lane, segments };
}

/** Flips a bit at every place of a text in the log. */
function flip(lane: string, text: string): void {
  let flipped = 0;
  for (const name of readdirSync(lane).filter((file) => file.startsWith('log-') && file.endsWith('.mdb'))) {
    const bytes = readFileSync(join(lane, name));
    for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) {
      bytes[at + 1] = (bytes[at + 1] as number) ^ 1;
      flipped++;
    }
    writeFileSync(join(lane, name), bytes);
  }
  expect(flipped).toBeGreaterThan(0);
}

const partitionsOf = (report: Report) => report.lanes.flatMap(({ partitions }) => partitions);
const sumOf = (written: readonly Written[]) => {
  const sums = new Map<string, bigint>();
  for (const { deltas } of written) {
    for (const [name, delta] of deltas) sums.set(name, (sums.get(name) ?? 0n) + delta);
  }
  return sums;
};

/** Repairs, verifies, and holds every value against what was acknowledged up to where the report says that it is kept. */
async function expectRepaired(dataDir: string, ...flags: string[]): Promise<Report> {
  const { status, report, err } = await repair(dataDir, '--yes', ...flags);
  expect({ status, err }).toEqual({ status: 0, err: '' });
  const into = report.into as string;
  expect((await startProgram(['verify', into, '--replay']).outcome).status).toBe(0);
  const kept = new Map(partitionsOf(report).map((each) => [each.partition, each.kept.sequence]));
  const expected = sumOf(history.filter(({ partition, sequence }) => sequence <= (kept.get(partition) as number)));
  const values = new Map<string, bigint>();
  for (const { path, partitions } of DataDirectory.look(into).lanes) {
    for (const { partition } of await readLaneState(path, partitions, compileWasm('kernel'), 0)) {
      for (const { name, value } of countersOf(partition)) values.set(name, value);
    }
  }
  expect(values).toEqual(expected);
  return report;
}

/** A server takes it, goes on with it, and comes back to it. */
async function expectServed({ into }: Report): Promise<void> {
  const server = await serverOfTest({ dataDir: into as string, lanes: 1, partitions: PARTITIONS });
  const client = await clientOfTest(server);
  expect(await client.increment('after', 3)).toBe(3n);
  await server.crash();
  expect(await (await clientOfTest(server)).get('after')).toBe(3n);
}

/** What the history says was lost of a partition behind a sequence. */
function expectDropped(dropped: DroppedReport | null | undefined, partition: number, after: number): void {
  const lost = history.filter((written) => written.partition === partition && written.sequence > after);
  expect(lost.length).toBeGreaterThan(0);
  expect(dropped?.from).toBe(after + 1);
  expect(dropped?.through).toBeGreaterThanOrEqual(lost.at(-1)?.sequence as number);
}

describe('a sound directory', () => {
  test('needs no repair, and gets none', async () => {
    const { dataDir } = copyOfData();
    const { status, report } = await repair(dataDir, '--yes');
    expect(status).toBe(0);
    expect(report).toMatchObject({ sound: true, faults: [], into: null });
    expect(existsSync(`${dataDir}.repaired`)).toBe(false);
    const text = await startProgram(['repair', dataDir]).outcome;
    expect(text.out).toMatch(/is sound: there is nothing to repair\n$/);
  });
});

describe('a damaged record behind the checkpoint', () => {
  const damaged = (lane: string) => flip(lane, 'round:57');

  test('ends its partition there, and says what the entries behind it did', async () => {
    const { dataDir, lane } = copyOfData();
    flip(lane, `${tags[0]}round:57`);
    const report = await expectRepaired(dataDir);
    const [first, second] = partitionsOf(report);
    const at = history.find(({ deltas }) => deltas.has(`${tags[0]}round:57`)) as Written;
    expect(first?.partition).toBe(at.partition);
    expect(first?.kept.sequence).toBe(at.sequence - 1);
    expectDropped(first?.dropped, at.partition, at.sequence - 1);
    // The batch itself can't be read any more; those behind it can, to the last increment.
    const readable = history.filter(({ partition, sequence }) => partition === at.partition && sequence > at.sequence);
    expect(first?.dropped?.unreadable).toBe(1);
    expect(new Map(first?.dropped?.counters.map(({ name, delta }) => [name, BigInt(delta)]))).toEqual(sumOf(readable));
    expect(first?.dropped?.times).toHaveLength(2);
    expect(first?.dropped?.producers).toEqual([
      { producer: expect.any(Number), batches: readable.length, sequences: [expect.any(Number), expect.any(Number)] },
    ]);
    expect(second?.dropped).toBeNull();
    await expectServed(report);
    expect(second?.kept.sequence).toBeGreaterThanOrEqual(
      history.findLast((each) => each.partition === 1)?.sequence ?? 0,
    );
  });

  test('is only told of without --yes, and nothing is changed', async () => {
    const { dataDir, lane } = copyOfData();
    damaged(lane);
    const contents = () =>
      readdirSync(lane)
        .filter((name) => !name.endsWith('-lock'))
        .map((name) => [name, readFileSync(join(lane, name)).toString('base64')]);
    const before = contents();
    const { status, report, err } = await repair(dataDir);
    expect(status).toBe(1);
    expect(err).toMatch(/^DATA_DAMAGED: .*\n.*repair again with --yes/);
    expect(report).toMatchObject({ sound: false, into: null, epoch: null });
    expect(partitionsOf(report).filter(({ dropped }) => dropped)).not.toEqual([]);
    expect(contents()).toEqual(before);
    expect(readdirSync(join(dataDir, '..'))).toEqual(['data']);
  });

  test('is told to people too', async () => {
    const { dataDir, lane } = copyOfData();
    flip(lane, `${tags[1]}round:58`);
    const { out, status } = await startProgram(['repair', dataDir, '--yes', '--into', `${dataDir}.new`]).outcome;
    expect(status).toBe(0);
    expect(out).toMatch(/^\S+: \d+ faults?\n {2}lane-0\/log-\d+\.mdb: Record /);
    expect(out).toMatch(/partition 1: kept to sequence [\d,]+, [\d,]+ counters\n {4}DROPPED: sequences [\d,]+ to /);
    expect(out).toMatch(/ {6}counter:\d+ {2}\+39\d in 1 operation\n/);
    expect(out).toContain(`mv ${dataDir} ${dataDir}.damaged && mv ${dataDir}.new ${dataDir}\n`);
    // The damaged one is still what it was.
    expect((await repair(dataDir)).status).toBe(1);
  });

  test('goes into no directory that holds anything', async () => {
    const { dataDir, lane } = copyOfData();
    damaged(lane);
    const { status, err } = await repair(dataDir, '--yes', '--into', server.dataDir);
    expect(status).toBe(2);
    expect(err).toMatch(/^CONFIG_INVALID: .*is not empty/);
  });
});

describe('nothing is dropped', () => {
  const expectAll = async (dataDir: string, ...flags: string[]): Promise<Report> => {
    const report = await expectRepaired(dataDir, ...flags);
    for (const { partition, kept, dropped } of partitionsOf(report)) {
      expect({ partition, dropped }).toEqual({ partition, dropped: null });
      expect(kept.sequence).toBeGreaterThanOrEqual(
        history.findLast((written) => written.partition === partition)?.sequence ?? 0,
      );
    }
    return report;
  };

  test('where a record is damaged that a checkpoint has passed', async () => {
    const { dataDir, lane } = copyOfData();
    // The bound of the tail sees to it that a checkpoint has passed the first 20 rounds, however slow the disk is.
    flip(lane, `${tags[0]}round:10`);
    const report = await expectAll(dataDir);
    // The other partition's records are whole, so it needs no checkpoint.
    expect(partitionsOf(report).map(({ checkpoint }) => checkpoint !== null)).toEqual([true, false]);
  });

  test('where no tree of the newest segment leads to its records', async () => {
    const { dataDir, lane, segments } = copyOfData();
    const file = openSync(join(lane, segments.at(-1) as string), 'r+');
    writeSync(file, Buffer.alloc(8_192), 0, 8_192, 0);
    await expectAll(dataDir);
  });

  test('where the head mark is damaged, or gone', async () => {
    const { dataDir, lane } = copyOfData();
    writeFileSync(join(lane, 'head-mark'), Buffer.alloc(8_192));
    await expectAll(dataDir);
    rmSync(join(lane, 'head-mark'));
    await expectAll(dataDir, '--into', `${dataDir}.second`);
  });

  test('where the checkpoints are damaged or gone, and the log is whole', async () => {
    const { dataDir, lane } = copyOfData();
    truncateSync(join(lane, 'checkpoint.mdb'), 20_000);
    const report = await expectAll(dataDir);
    expect(partitionsOf(report).map(({ checkpoint }) => checkpoint)).toEqual([null, null]);
    rmSync(join(lane, 'checkpoint.mdb'));
    await expectAll(dataDir, '--into', `${dataDir}.second`);
  });

  test('where a segment in the middle is gone, which the checkpoints have passed', async () => {
    const { dataDir, lane, segments } = copyOfData();
    rmSync(join(lane, segments[1] as string));
    await expectAll(dataDir);
  });
});

describe('what can be read ends', () => {
  test('where the newest segment is gone: the head mark tells how much is not known', async () => {
    const { dataDir, lane, segments } = copyOfData();
    rmSync(join(lane, segments.at(-1) as string));
    const report = await expectRepaired(dataDir);
    for (const { partition, kept, dropped } of partitionsOf(report)) {
      expectDropped(dropped, partition, kept.sequence);
      expect(dropped?.unreadable).toBe((dropped?.through ?? 0) - kept.sequence);
    }
  });

  test('before it begins, where the log does not reach back and the checkpoints are gone: asked for twice', async () => {
    const { dataDir, lane, segments } = copyOfData();
    rmSync(join(lane, segments[0] as string));
    rmSync(join(lane, 'checkpoint.mdb'));
    const refused = await repair(dataDir, '--yes');
    expect(refused.status).toBe(1);
    expect(refused.err).toMatch(/restore a backup; --yes --lose-partitions/);
    expect(refused.report.into).toBeNull();
    const report = await expectRepaired(dataDir, '--lose-partitions');
    expect(partitionsOf(report).map(({ kept }) => kept.sequence)).toEqual([0, 0]);
  });
});

test('the repaired directory is another one to clients: its epoch is new', async () => {
  const { dataDir, lane } = copyOfData();
  flip(lane, `${tags[0]}round:57`);
  const epoch = JSON.parse(readFileSync(join(dataDir, 'tallystick.json'), 'utf8')).epoch;
  const { report } = await repair(dataDir, '--yes');
  expect(report.epoch).not.toBe(epoch);
  expect(JSON.parse(readFileSync(join(report.into as string, 'tallystick.json'), 'utf8')).epoch).toBe(report.epoch);
});

test('no server takes a directory whose making was interrupted', async () => {
  const { dataDir, lane } = copyOfData();
  flip(lane, `${tags[0]}round:57`);
  const into = `${dataDir}.repaired`;
  const child = spawnChild(process.execPath, [PROGRAM, 'repair', dataDir, '--yes'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  // The first thing of it that appears is its manifest; it dies before the last partition is there.
  while (!existsSync(join(into, 'tallystick.json'))) await new Promise(setImmediate);
  child.kill('SIGKILL');
  await ended;
  const { stderr, exit } = await refusedStart(['--data-dir', into, '--port', '0']);
  expect(exit.code).toBe(3);
  expect(stderr).toMatch(/was not (restored|made) to the end/);
  expect((await repair(dataDir)).status).toBe(1); // and the damaged one is as it was
});
