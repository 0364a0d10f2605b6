import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect } from '../../src/client/index.js';
import { encodeState } from '../../src/history/partition-state.js';
import { decodeManifest, encodeManifest } from '../../src/log/checkpoint.js';
import { ChecksummedBuffer } from '../../src/log/checksum.js';
import { KERNEL_VERSION } from '../../src/partition/partition.js';
import { encodeUtf8 } from '../../src/protocol/bytes.js';
import { partitionOf } from '../../src/protocol/partition-hash.js';
import { editHistory } from '../history/homes.js';
import { TIMEOUT_MILLISECONDS } from '../integration/clients.js';
import { startProgram } from '../integration/ingest-programs.js';
import { patchedProgram } from '../integration/patched-program.js';
import { directoryOfTest, ServerProcess, serverOfTest } from '../integration/server-process.js';
import { editCheckpoints, editLmdb } from '../log/homes.js';

/** Segments and checkpoints after every few batches. */
const SMALL = {
  TALLYSTICK_CLASSES: JSON.stringify([{ pattern: 'counter:1*', history: true, lateness: 'any' }]),
  TALLYSTICK_LOG_SEGMENT_BYTES: '65536',
  TALLYSTICK_CHECKPOINT_TAIL_BYTES: '100000',
};

interface Report {
  readonly sound: boolean;
  readonly faults: readonly { readonly lane: number; readonly file: string; readonly detail: string }[];
  readonly lanes: readonly {
    readonly segments: readonly { readonly file: string; readonly sound: boolean; readonly auditItems: number }[];
    readonly partitions: readonly {
      readonly partition: number;
      readonly checkpoint: { readonly sequence: number } | null;
      readonly replayed?: { readonly stateHash: string };
    }[];
    readonly history: { readonly rows: number } | null;
  }[];
}

async function verify(dataDir: string, ...flags: string[]): Promise<{ status: number; report: Report; err: string }> {
  const { status, out, err } = await startProgram(['verify', dataDir, '--json', ...flags]).outcome;
  return { status: status ?? -1, report: JSON.parse(out || '{}') as Report, err };
}

let server: ServerProcess;
/** What the partitions said of themselves last: their numbers, and the hashes of their states. */
let states: readonly (readonly [number, string])[];

beforeAll(async () => {
  server = await ServerProcess.start({ lanes: 1, partitions: 2, environment: SMALL });
  const client = await connect(server.url, { timeout: TIMEOUT_MILLISECONDS });
  for (let round = 0; round < 40; round++) {
    await client.batch(
      // With a bound, so that the log has their names
      Array.from({ length: 500 }, (_, i) => ({
        ...{ name: `counter:${(i * 7 + round * 13) % 3_000}`, delta: i, max: 1_000_000 },
      })),
    );
    // One that is there already emits what is late at once.
    await client.increment('counter:1', 1, { time: round * 3_600_000 });
    if (round % 10 === 0) await client.set(`stock:${round}`, round, { reason: 'delivery' });
  }
  await client.close();
  const reader = await connect(server.url, { producer: false, timeout: TIMEOUT_MILLISECONDS });
  const lanes = await reader.stats({ stateHash: true });
  states = lanes.flatMap(({ partitions }) =>
    partitions.map((each) => [each.partition, String(each['stateHash'])] as const),
  );
  await reader.close();
  await server.kill('SIGTERM');
});
afterAll(() => server.dispose());

/** A directory like the server's, and its lane. */
function copyOfData(): { dataDir: string; lane: string; segments: string[] } {
  const dataDir = join(directoryOfTest(), 'data');
  cpSync(server.dataDir, dataDir, { recursive: true });
  const lane = join(dataDir, 'lane-0');
  return { dataDir, lane, segments: readdirSync(lane).filter((name) => /^log-\d+\.mdb$/.test(name)) };
}

/** Flips a bit at every place of a piece in a file. */
function flip(path: string, piece: string): void {
  const bytes = readFileSync(path);
  let flipped = 0;
  for (let at = bytes.indexOf(piece); at >= 0; at = bytes.indexOf(piece, at + 1)) {
    bytes[at + 1] = (bytes[at + 1] as number) ^ 1;
    flipped++;
  }
  expect(flipped).toBeGreaterThan(0);
  writeFileSync(path, bytes);
}

/** @param detail of the only fault, in that file of the lane */
async function expectFault(dataDir: string, file: string, detail: RegExp, ...flags: string[]): Promise<void> {
  const { status, report, err } = await verify(dataDir, ...flags);
  expect(report.faults).toEqual([{ lane: 0, file: `lane-0/${file}`, detail: expect.stringMatching(detail) }]);
  expect(report.sound).toBe(false);
  expect(status).toBe(1);
  expect(err).toMatch(/^DATA_DAMAGED: /);
}

describe('a sound directory', () => {
  test('is said to be sound, with what is in it, and is not changed', async () => {
    const { dataDir, lane } = copyOfData();
    const contents = () =>
      readdirSync(lane)
        .filter((name) => !name.endsWith('-lock'))
        .map((name) => [name, readFileSync(join(lane, name)).toString('base64')]);
    const before = contents();
    const { status, report, err } = await verify(dataDir);
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(report).toMatchObject({ sound: true, faults: [] });
    const [first] = report.lanes;
    expect(first?.segments.length).toBeGreaterThan(2);
    expect(first?.history?.rows).toBeGreaterThan(20);
    expect(first?.segments.reduce((sum, { auditItems }) => sum + auditItems, 0)).toBe(4);
    expect(first?.partitions.map(({ checkpoint }) => (checkpoint?.sequence ?? 0) > 0)).toEqual([true, true]);
    expect(contents()).toEqual(before);
    expect(readdirSync(dataDir)).not.toContain('server.pid');
  });

  test('comes to the state that the server had, where the log goes through the kernel', async () => {
    const { status, report } = await verify(copyOfData().dataDir, '--replay');
    expect(status).toBe(0);
    const replayed = report.lanes[0]?.partitions.map((each) => [
      each.partition,
      each.replayed?.stateHash.padStart(16, '0'),
    ]);
    expect(replayed).toEqual(states);
  });

  test('is one that was restored too, whose log begins where the backup ends', async () => {
    const [backup, dataDir] = ['state.backup', 'restored'].map((name) => join(directoryOfTest(), name)) as [
      string,
      string,
    ];
    for (const args of [
      ['backup', backup, '--data-dir', copyOfData().dataDir],
      ['restore', backup, '--data-dir', dataDir],
    ]) {
      expect(await startProgram(args).outcome).toMatchObject({ status: 0 });
    }
    const { status, report } = await verify(dataDir, '--replay');
    expect({ status, faults: report.faults }).toEqual({ status: 0, faults: [] });
  });

  test('is told to people too', async () => {
    const { out, status } = await startProgram(['verify', server.dataDir]).outcome;
    expect(status).toBe(0);
    expect(out).toMatch(
      /\n {2}log-0000000000000001\.mdb {2}\d\.\d MB, \d+ records, \d+ entries, \d audit items?, 20.*Z to 20.*Z\n/,
    );
    expect(out).toMatch(/\n {2}partition 1 {2}checkpoint at sequence \d+, \d+ pages, 20.*Z\n/);
    expect(out).toMatch(/\nsound\n$/);
  });
});

describe('damage is found', () => {
  test('in a record of an old segment, which a start does not read', async () => {
    const { dataDir, lane, segments } = copyOfData();
    flip(join(lane, segments[0] as string), 'stock:0');
    await expectFault(dataDir, segments[0] as string, /^Record \d+ .*its CRC32C differs\.$/);
    const { out } = await startProgram(['verify', dataDir]).outcome;
    expect(out).toMatch(
      /log-0000000000000001\.mdb {2}DAMAGED\n[\s\S]*\ndamaged: 1 fault\n {2}lane-0\/log-0000000000000001\.mdb: Record/,
    );
    const started = await serverOfTest({ dataDir, lanes: 1, partitions: 2 });
    await started.kill('SIGTERM');
  });

  test('where a segment in the middle is missing', async () => {
    const { dataDir, lane, segments } = copyOfData();
    rmSync(join(lane, segments[1] as string));
    await expectFault(
      dataDir,
      segments[2] as string,
      /A segment begins after record \d+ .*, but the one before it ends with/,
    );
  });

  test('where the newest segment is missing', async () => {
    const { dataDir, lane, segments } = copyOfData();
    rmSync(join(lane, segments.at(-1) as string));
    const { report, status } = await verify(dataDir);
    expect(status).toBe(1);
    expect(report.faults[0]).toMatchObject({
      file: `lane-0/${segments.at(-2)}`,
      detail: expect.stringMatching(/but group \d+ was flushed/),
    });
  });

  test('where the oldest segments are missing, if the checkpoints need them', async () => {
    const { dataDir, lane, segments } = copyOfData();
    rmSync(join(lane, segments[0] as string));
    // A start needs it no more.
    expect((await verify(dataDir)).report.faults).toEqual([]);
    // Without its checkpoint, partition 1 does.
    await editCheckpoints(join(lane, 'checkpoint.mdb'), ({ manifests }) => manifests.delete(1));
    await expectFault(
      dataDir,
      'checkpoint.mdb',
      /The log begins after sequence \d+; partition 1, which has no checkpoint, is at 0/,
    );
  });

  test('in the head mark', async () => {
    const { dataDir, lane } = copyOfData();
    writeFileSync(join(lane, 'head-mark'), Buffer.alloc(8_192));
    await expectFault(dataDir, 'head-mark', /Neither slot of the head mark is whole/);
    rmSync(join(lane, 'head-mark'));
    await expectFault(dataDir, 'head-mark', /It is missing/);
  });

  test('in a page of a checkpoint, in its manifest, and in its file', async () => {
    const { dataDir, lane } = copyOfData();
    const path = join(lane, 'checkpoint.mdb');
    const whole = readFileSync(path);
    await editCheckpoints(path, ({ pages }) => {
      for (const [name, page] of pages) if (name.startsWith('1.2.')) page[70] = (page[70] as number) ^ 1;
    });
    await expectFault(dataDir, 'checkpoint.mdb', /^Page 2 of the checkpoint of partition 1 .*: its XXH64 differs/);
    writeFileSync(path, whole);
    await editCheckpoints(path, ({ manifests }) => {
      const manifest = manifests.get(0) as Uint8Array;
      manifest[50] = (manifest[50] as number) ^ 1;
    });
    await expectFault(dataDir, 'checkpoint.mdb', /manifest of the checkpoint of partition 0: its CRC32C differs/);
    writeFileSync(path, whole);
    truncateSync(path, 8_192);
    await expectFault(dataDir, 'checkpoint.mdb', /which is not in the file/);
    rmSync(path);
    await expectFault(dataDir, 'checkpoint.mdb', /It is missing/);
  });

  test('where a checkpoint is of no place of the log', async () => {
    const { dataDir, lane, segments } = copyOfData();
    await editCheckpoints(join(lane, 'checkpoint.mdb'), ({ manifests }) => {
      const manifest = decodeManifest(manifests.get(0) as Uint8Array, 0, KERNEL_VERSION);
      manifests.set(0, encodeManifest({ ...manifest, place: { ...manifest.place, hash: 1n } }));
    });
    const { report } = await verify(dataDir);
    expect(report.faults.map(({ file }) => file)).toEqual([expect.stringMatching(/^lane-0\/log-/)]);
    expect(report.faults[0]?.detail).toMatch(
      /partition 0 is at sequence \d+, but its checkpoint says sequence \d+ with another hash/,
    );
    expect(segments).toContain(report.faults[0]?.file.slice('lane-0/'.length));
  });

  test('where a checkpoint is whole, but of another state than the log comes to: by replay alone', async () => {
    const { dataDir, lane } = copyOfData();
    await editCheckpoints(join(lane, 'checkpoint.mdb'), ({ manifests, pages }) => {
      const manifest = decodeManifest(manifests.get(0) as Uint8Array, 0, KERNEL_VERSION);
      const index = manifest.pages.length - 1;
      const page = pages.get(`0.${index}.${manifest.pages[index]?.generation}`) as Uint8Array;
      page[60_000] = (page[60_000] as number) ^ 1;
      const buffer = new ChecksummedBuffer(page.length);
      buffer.bytes.set(page);
      const hash = buffer.xxh64(0, page.length);
      const changed = manifest.pages.map((each, at) => (at === index ? { ...each, hash } : each));
      manifests.set(0, encodeManifest({ ...manifest, pages: changed }));
    });
    expect((await verify(dataDir)).status).toBe(0);
    await expectFault(dataDir, 'partition 0', /is not the state that the log comes to at sequence \d+/, '--replay');
  });

  test('where an audit item is lost, or is of nothing', async () => {
    const { dataDir, lane, segments } = copyOfData();
    let key = '';
    let value: Uint8Array = Buffer.alloc(0);
    await editLmdb(lane, (stored) => {
      const { audit } = stored.get(1) ?? { audit: new Map<string, Uint8Array>() };
      [key, value] = [...audit][0] as [string, Uint8Array];
      audit.delete(key);
    });
    await expectFault(dataDir, segments[0] as string, /^Entry \d+\.\d+ \(partition, sequence\) has no audit item/);
    await editLmdb(lane, (stored) => {
      stored.get(1)?.audit.set(key, value);
      const last = stored.get(Math.max(...stored.keys()));
      last?.audit.set(key, value);
    });
    await expectFault(dataDir, segments.at(-1) as string, /is of no SET and no DELETE/);
  });

  test('in a row of the history, and where that is missing, or ahead of the log', async () => {
    const { dataDir, lane } = copyOfData();
    const path = join(lane, 'history.mdb');
    await editHistory(path, 'minute', (value) => value.map((byte, at) => (at === 0 ? byte ^ 1 : byte)));
    await expectFault(dataDir, 'history.mdb', /^The history's row by minute [0-9a-f]{40}: its CRC32C differs\.$/);
    const name = encodeUtf8('counter:1');
    const partition = partitionOf(name, 0, name.length, 2);
    const ahead = encodeState(partition, { watermark: 2 ** 40, items: 0, revision: 0, since: 0 });
    const other = copyOfData();
    await editHistory(join(other.lane, 'history.mdb'), 'partitions', () => ahead);
    await expectFault(
      other.dataDir,
      'history.mdb',
      /^The log of partition \d ends at \d+, its history is of 1099511627776\.$/,
    );
    rmSync(path);
    await expectFault(dataDir, 'history.mdb', /^It is missing\.$/);
    const { status, err } = await startProgram(['serve', '--data-dir', dataDir, '--port', '0']).outcome;
    expect([status, err.includes('history.mdb is missing')]).toEqual([3, true]);
  });

  test('where it ends the process that reads', async () => {
    const { dataDir, lane, segments } = copyOfData();
    truncateSync(join(lane, segments[0] as string), 8_192);
    await expectFault(dataDir, segments[0] as string, /which is not in the file/);
    const program = patchedProgram(
      'verify/jobs.js',
      'LmdbFile.check(file.path);',
      "process.kill(process.pid, 'SIGKILL');",
    );
    const { out, status } = await startProgram(['verify', dataDir, '--json'], {}, program).outcome;
    expect(status).toBe(1);
    const [fault] = (JSON.parse(out) as Report).faults;
    expect(fault).toMatchObject({
      file: `lane-0/${segments[0]}`,
      detail: expect.stringMatching(/died by SIGKILL/),
    });
  });
});

describe('what cannot be verified is not called damaged', () => {
  test('a directory that a server has open', async () => {
    const open = await serverOfTest({ lanes: 1, partitions: 2 });
    const { status, err } = await verify(open.dataDir);
    expect(err).toContain(`DIRECTORY_IN_USE: Process ${open.pid} has`);
    expect(err).toContain('Stop the server first');
    expect(status).toBe(2);
  });

  test('no data directory, and one whose manifest is damaged', async () => {
    const { dataDir } = copyOfData();
    flip(join(dataDir, 'tallystick.json'), '"epoch"');
    for (const directory of [dataDir, directoryOfTest()]) {
      const { status, err } = await verify(directory);
      expect(err).toMatch(/^DIRECTORY_INVALID: /);
      expect(status).toBe(3);
    }
  });
});
