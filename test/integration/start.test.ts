import { cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { freePorts } from '../../load/ports.mjs';
import { connect } from '../../src/client/index.js';
import { type Manifest, manifestText } from '../../src/directory.js';
import { clientOfTest, TIMEOUT_MILLISECONDS } from './clients.js';
import {
  directoryOfTest,
  refusedStart,
  ServeRun,
  ServerProcess,
  serverOfTest,
  temporaryDirectory,
} from './server-process.js';

const LOG = 'lane-0/log-0000000000000001.mdb';

/** A directory like the server's, which has to be stopped. */
function copyOf({ dataDir }: ServerProcess): string {
  const copy = join(directoryOfTest(), 'data');
  cpSync(dataDir, copy, { recursive: true });
  return copy;
}

const flagsFor = (dataDir: string) => ['--data-dir', dataDir, '--port', '0'];

async function expectCorrupt(dataDir: string, detail: RegExp): Promise<void> {
  const { exit, stderr } = await refusedStart(flagsFor(dataDir));
  expect(stderr).toMatch(/LOG_CORRUPT: .*Nothing was changed\. Restore a backup/);
  expect(stderr).toMatch(detail);
  expect(exit).toEqual({ code: 3, signal: null });
}

/** Every place of a piece in a file. LMDB leaves older copies of a page behind. */
function placesOf(piece: string, bytes: Buffer): number[] {
  const places: number[] = [];
  for (let at = bytes.indexOf(piece); at >= 0; at = bytes.indexOf(piece, at + 1)) places.push(at);
  return places;
}

describe('a damaged log is refused', () => {
  let server: ServerProcess;
  /** A copy of its data that ends earlier. */
  let older: string;

  beforeAll(async () => {
    server = await ServerProcess.start();
    const client = await connect(server.url, { timeout: TIMEOUT_MILLISECONDS });
    for (let i = 0; i < 20; i++) await client.increment(`payload-of-record-${i}`, i);
    await client.close();
    await server.kill('SIGTERM');
    older = temporaryDirectory();
    cpSync(server.dataDir, older, { recursive: true });
    await server.start();
    const next = await connect(server.url, { timeout: TIMEOUT_MILLISECONDS });
    await next.increment('later');
    await next.close();
    await server.kill('SIGTERM');
  });
  afterAll(async () => {
    await server.dispose();
    rmSync(older, { recursive: true, force: true });
  });

  test('where a bit of a record is flipped', async () => {
    const copy = copyOf(server);
    const bytes = readFileSync(join(copy, LOG));
    const places = placesOf('payload-of-record-7', bytes);
    expect(places.length).toBeGreaterThan(0);
    for (const place of places) bytes[place + 3] = (bytes[place + 3] as number) ^ 1;
    writeFileSync(join(copy, LOG), bytes);
    await expectCorrupt(copy, /Record \d+ .*partition \d.*sequence \d+.*CRC32C/);
  });

  test('where it ends before the head mark', async () => {
    const copy = copyOf(server);
    cpSync(join(older, LOG), join(copy, LOG));
    await expectCorrupt(copy, /but group \d+ was flushed/);
  });

  test('where a meta page lost its last transaction', async () => {
    const copy = copyOf(server);
    const bytes = readFileSync(join(copy, LOG));
    const place = newestTransactionAt(bytes);
    const newest = bytes.readBigUInt64LE(place);
    bytes.writeBigUInt64LE(0n, place);
    writeFileSync(join(copy, LOG), bytes);
    await expectCorrupt(copy, /its meta pages are of transactions/);
    // The other one is the newer one then, and all looks as before the last transaction.
    bytes.writeBigUInt64LE(newest - 2n, place);
    writeFileSync(join(copy, LOG), bytes);
    await expectCorrupt(copy, /but group \d+ was flushed/);
  });

  test('where its file was cut', async () => {
    const copy = copyOf(server);
    truncateSync(join(copy, LOG), readFileSync(join(copy, LOG)).length / 2);
    await expectCorrupt(copy, /lane-0|record/i);
  });

  test('where a lane is gone, or its head mark', async () => {
    for (const part of [LOG, 'lane-0/head-mark']) {
      const copy = copyOf(server);
      rmSync(join(copy, part));
      await expectCorrupt(copy, /missing/);
    }
  });

  test('and a copy that is whole is served', async () => {
    const copied = await serverOfTest({ dataDir: copyOf(server) });
    const client = await clientOfTest(copied);
    expect(await client.get('payload-of-record-7')).toBe(7n);
    expect(await client.get('later')).toBe(1n);
  });
});

const PAGE = 4096;
/** In lmdb-js's meta page: a page header of 24 bytes, magic, version, address, map size, two trees of 48, last page. */
const TRANSACTION = 24 + 16 + 8 + 2 * 48 + 8;

/** Where the number of the last transaction stands: in the meta page with the greater one. */
function newestTransactionAt(bytes: Buffer): number {
  const places = [TRANSACTION, PAGE + TRANSACTION];
  const [first, second] = places.map((place) => bytes.readBigUInt64LE(place)) as [bigint, bigint];
  expect(first > second ? first - second : second - first).toBe(1n);
  return places[first > second ? 0 : 1] as number;
}

describe('a data directory', () => {
  test('that another server has open is refused, and free again after kill -9 of that one', async () => {
    const server = await serverOfTest();
    const { exit, stderr } = await refusedStart(flagsFor(server.dataDir));
    expect(stderr).toContain(`DIRECTORY_IN_USE: Process ${server.pid} has ${server.dataDir} open.`);
    expect(exit).toEqual({ code: 1, signal: null });
    await server.crash();
  });

  test('with other lanes or partitions than wished is refused, and says what it has', async () => {
    const server = await serverOfTest({ lanes: 1, partitions: 4 });
    await server.kill('SIGTERM');
    const lanes = await refusedStart([...flagsFor(server.dataDir), '--lanes', '2']);
    expect(lanes.stderr).toContain(`CONFIG_INVALID: lanes: ${server.dataDir} was made with 1, not 2.`);
    expect(lanes.exit.code).toBe(2);
    const partitions = await refusedStart([...flagsFor(server.dataDir), '--partitions', '8']);
    expect(partitions.stderr).toContain('partitions:');
    expect(partitions.exit.code).toBe(2);
    await server.start();
  });

  test('with a file of something else is refused', async () => {
    const dataDir = directoryOfTest();
    writeFileSync(join(dataDir, 'tallystick.json'), '{"format": 9}');
    const { exit, stderr } = await refusedStart(flagsFor(dataDir));
    expect(stderr).toContain('DIRECTORY_INVALID');
    expect(exit).toEqual({ code: 3, signal: null });
  });

  test('that cannot be made is named', async () => {
    const file = join(directoryOfTest(), 'file');
    writeFileSync(file, '');
    const { exit, stderr } = await refusedStart(flagsFor(join(file, 'data')));
    expect(stderr).toMatch(/CONFIG_INVALID: dataDir: .*file\/data/);
    expect(exit).toEqual({ code: 2, signal: null });
  });

  test('whose creation was interrupted is made anew', async () => {
    const server = await serverOfTest();
    await server.kill('SIGTERM');
    const manifest = join(server.dataDir, 'tallystick.json');
    const { checksum: _, ...made } = JSON.parse(readFileSync(manifest, 'utf8')) as Manifest & { checksum: string };
    writeFileSync(manifest, manifestText({ ...made, state: 'creating' }));
    truncateSync(join(server.dataDir, LOG), 100);
    await server.start();
    expect(await (await clientOfTest(server)).increment('x')).toBe(1n);
  });
});

function hasIpv6(): boolean {
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === '::1'));
}

describe('an address', () => {
  test('whose port is in use is named, and nothing is left running', async () => {
    const port = await freePorts(2);
    const other = createServer();
    await new Promise<void>((resolve) => other.listen({ host: '127.0.0.1', port: port + 1 }, resolve));
    onTestFinished(() => {
      other.close();
    });
    const dataDir = join(directoryOfTest(), 'data');
    const flags = ['--data-dir', dataDir, '--port', String(port), '--lanes', '2', '--partitions', '2'];
    const { exit, stderr } = await refusedStart(flags);
    expect(stderr).toContain(`CONFIG_INVALID: port: 127.0.0.1:${port + 1} is in use.`);
    expect(exit).toEqual({ code: 2, signal: null });
    other.close();
    const server = await serverOfTest({ dataDir, lanes: 2, partitions: 2 });
    expect(await (await clientOfTest(server)).increment('x')).toBe(1n);
  });

  test('that is not loopback is refused without --allow-open', async () => {
    const flags = [...flagsFor(join(directoryOfTest(), 'data')), '--listen', '0.0.0.0', '--lanes', '1'];
    const { exit, stderr } = await refusedStart([...flags]);
    expect(stderr).toMatch(/CONFIG_INVALID: listen: 0\.0\.0\.0 is not loopback.*--allow-open/);
    expect(exit).toEqual({ code: 2, signal: null });
  });

  test.skipIf(!hasIpv6())('of IPv6 is printed so that a client can take it', async () => {
    const dataDir = join(directoryOfTest(), 'data');
    const run = new ServeRun([...flagsFor(dataDir), '--listen', '::1', '--lanes', '2']);
    onTestFinished(async () => {
      await run.kill();
    });
    const [, host] = /^ready tcp=(\[::1\]:\d+) http=-$/.exec((await run.ready) ?? '') ?? [];
    const client = await clientOfTest({ url: `tallystick://${host}` });
    expect(await Promise.all(['a', 'b', 'c', 'd'].map((name) => client.increment(name)))).toEqual([1n, 1n, 1n, 1n]);
  });

  test('that is not loopback is served with --allow-open, and a client finds all lanes', async () => {
    const server = await serverOfTest({ lanes: 2, flags: ['--listen', '0.0.0.0', '--allow-open'] });
    const client = await clientOfTest(server);
    await Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map((name) => client.increment(name)));
    expect((await client.stats()).map(({ lane }) => lane)).toEqual([0, 1]);
  });
});
