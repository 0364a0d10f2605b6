import { once } from 'node:events';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import * as lmdb from 'lmdb';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { closeLaneStorage, createLaneStorage, openLaneStorage } from '../../src/log/lane-storage.js';
import type { LogPlace, LogShape, ReplayEnd } from '../../src/log/log.js';
import { type LogKind, segmentPath } from '../../src/log/segment-files.js';
import { createSegment, openSegment } from '../../src/log/segment-kinds.js';
import { SegmentedLog } from '../../src/log/segmented-log.js';
import { outputOf, runBounded, works } from '../support/bounded.js';
import { ManualClock } from '../support/manual-clock.js';
import { temporaryDirectory } from './homes.js';
import { bodyOf, LogWriter, partitionPlace, replayAll, SHAPE } from './writer.js';

const CHILD = fileURLToPath(new URL('./segment-child.mjs', import.meta.url));
const READER = new URL('./reader-thread.mjs', import.meta.url);

let directory: string;
let lane: string;

beforeEach(() => {
  directory = temporaryDirectory();
  lane = join(directory, 'lane-0');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const whatever = () => ({ bytes: 0, milliseconds: 0, clock: new ManualClock() });

describe('the files of a log', () => {
  const segmentsAndMore = () => readdirSync(lane).filter((name) => name.startsWith('log-'));

  test('what a death left of a segment in the making or in the dropping goes when the log is opened', async () => {
    await createLaneStorage(lane, SHAPE);
    const whole = segmentsAndMore();
    for (const name of ['log-0000000000000009.mdb.new', 'log-0000000000000009.mdb.new-lock']) {
      writeFileSync(join(lane, name), 'half');
    }
    writeFileSync(`${segmentPath(lane, 3, 'lmdb')}-lock`, '');
    // Somebody who only reads leaves them to whoever makes them.
    const reader = await SegmentedLog.open(lane, SHAPE, { readOnly: true });
    await reader.close();
    expect(segmentsAndMore()).toHaveLength(whole.length + 3);
    const log = await SegmentedLog.open(lane, SHAPE);
    expect(segmentsAndMore()).toEqual(['log-0000000000000001.mdb', 'log-0000000000000001.mdb-lock']);
    await log.close();
  });

  test('a segment that is made once more takes the place of the one that is there', async () => {
    await createLaneStorage(lane, SHAPE);
    const begin = (await openSegment({ path: segmentPath(lane, 1, 'lmdb'), firstRecord: 1, kind: 'lmdb' }, SHAPE))
      .begin;
    await createSegment('lmdb', lane, begin);
    const log = await SegmentedLog.open(lane, SHAPE);
    expect((await replayAll(log)).end.records).toBe(0);
    await log.close();
  });

  test('segments that nobody needs are not opened: whatever is in them, the log is opened, continued and dropped', async () => {
    await createLaneStorage(lane, SHAPE);
    let log = await SegmentedLog.open(lane, SHAPE, { segmentBytes: 300 });
    const writer = new LogWriter(log, await replayAll(log));
    for (let group = 0; group < 6; group++) await writer.write([[2, bodyOf(250)]]);
    await log.close();
    // Opening such a file crashes the process.
    writeFileSync(segmentPath(lane, 1, 'lmdb'), Buffer.alloc(8_192, 1));
    log = await SegmentedLog.open(lane, SHAPE, { segmentBytes: 300, retention: whatever() });
    const end = writer.places.at(-1) as LogPlace;
    const from = new Map(SHAPE.partitions.map((partition) => [partition, partitionPlace(end, partition)]));
    const more = new LogWriter(log, await replayAll(log, writer.mark, from));
    expect(log.stats().segments).toBe(6);
    await more.write([[2, bodyOf(1)]]);
    await log.release(end.records);
    expect(log.firstRecord).toBe(7);
    await log.close();
  });
});

test('an audit beside a server that drops segments reads those that are left', async () => {
  await createLaneStorage(lane, SHAPE);
  const log = await SegmentedLog.open(lane, SHAPE, { segmentBytes: 300, retention: whatever() });
  const writer = new LogWriter(log, await replayAll(log));
  for (let sequence = 1; sequence <= 4; sequence++) {
    await writer.write([[2, bodyOf(250)]], [{ partition: 2, sequence, value: bodyOf(5) }]);
  }
  const beside = await SegmentedLog.open(lane, SHAPE, { readOnly: true });
  await log.release(2);
  const sequences: number[] = [];
  await beside.audit(({ sequence }) => sequences.push(sequence));
  expect(sequences).toEqual([3, 4]);
  await beside.close();
  await log.close();
});

test.each(['lmdb', 'files'] as const)('a log takes no group that would touch the reserve (%s)', async (kind) => {
  await createLaneStorage(lane, SHAPE, { kind });
  const log = await SegmentedLog.open(lane, SHAPE, { kind, reserveBytes: Number.MAX_SAFE_INTEGER });
  const writer = new LogWriter(log, await replayAll(log));
  expect(await writer.write([[2, bodyOf(1)]])).toMatchObject({
    kind: 'not-written',
    error: { code: 'STORAGE_FULL' },
  });
  expect((await replayAll(log)).entries).toEqual([]);
  await log.close();
});

test('segments that come and go leave nothing behind in memory', async () => {
  const { allDbs } = lmdb as unknown as { readonly allDbs: ReadonlyMap<string, unknown> };
  const before = allDbs.size;
  await createLaneStorage(lane, SHAPE);
  const log = await SegmentedLog.open(lane, SHAPE, { segmentBytes: 300, retention: whatever() });
  const writer = new LogWriter(log, await replayAll(log));
  const open = allDbs.size - before;
  expect(open).toBeGreaterThan(0);
  for (let group = 0; group < 20; group++) await writer.write([[2, bodyOf(250)]]);
  expect(log.stats().segments).toBe(20);
  expect(allDbs.size - before).toBe(open);
  await log.close();
  expect(allDbs.size).toBe(before);
});

describe('a reader in another thread', () => {
  test('follows a writer through segments that come and go', async () => {
    await createLaneStorage(lane, SHAPE);
    const log = await SegmentedLog.open(lane, SHAPE, { segmentBytes: 100_000, retention: whatever() });
    const writer = new LogWriter(log, await replayAll(log));
    const worker = new Worker(READER, { workerData: { directory: lane, shape: SHAPE } });
    const read = async (after: LogPlace, to: LogPlace): Promise<number[]> => {
      const answer = once(worker, 'message');
      worker.postMessage({ partition: 2, after: partitionPlace(after, 2), to: partitionPlace(to, 2) });
      return (await answer)[0];
    };
    let after = writer.places[0] as LogPlace;
    for (let round = 0; round < 30; round++) {
      await writer.write([
        [2, bodyOf(70_000)],
        [3, bodyOf(9)],
      ]);
      const to = writer.places.at(-1) as LogPlace;
      const reading = read(after, to);
      // Meanwhile the log goes on, and drops what neither of them needs.
      const writing = (async () => {
        for (let group = 0; group < 5; group++) await writer.write([[2, bodyOf(30_000)]]);
        await log.release(after.records);
      })();
      const [low, high] = [partitionPlace(after, 2).sequence, partitionPlace(to, 2).sequence];
      expect(await reading).toEqual(Array.from({ length: high - low }, (_, i) => low + i + 1));
      await writing;
      after = to;
    }
    expect(log.stats().segments).toBeLessThan(8);
    expect(log.firstRecord).toBeGreaterThan(100);
    await worker.terminate();
    await log.close();
  });
});

/** Three groups of one record make a segment, so the fourth begins the second. */
const GROUPS = 8;
const FILES = {
  lmdb: ['log-0000000000000001.mdb', 'log-0000000000000004.mdb', 'log-0000000000000007.mdb'],
  files: ['log-0000000000000001.seg', 'log-0000000000000004.seg', 'log-0000000000000007.seg'],
} as const;
const CHILD_SHAPE: LogShape = { partitions: [0], kernelVersion: 1 };

type Said =
  | { readonly sequence: number; readonly outcome: string }
  /** What became of the same group that was unknown. */
  | { readonly again: string }
  | { readonly released: number | string };

/** What a child says to which something happens, and what is there afterwards. */
function child(kind: LogKind) {
  /** What the child says, while strace does something at a system call on a file of the lane ('' is its directory). */
  const run = (call: string, file: string, action: string, when: number) => {
    const options = ['-f', '-qq', '-o', join(directory, 'trace'), '-P', join(lane, file), '-e', `trace=${call}`];
    const inject = ['-e', `inject=${call}:${action}:when=${when}`];
    const program = [process.execPath, CHILD, lane, String(GROUPS), kind];
    // Each thread is counted for itself, so one thread works.
    const env = { ...process.env, UV_THREADPOOL_SIZE: '1' };
    const { stdout, signal } = runBounded('strace', [...options, ...inject, ...program], { env, seconds: 20 });
    const lines = stdout.trim().split('\n').filter(Boolean);
    return { said: lines.map((line) => JSON.parse(line) as Said), signal };
  };
  const outcomes = (said: readonly Said[]) => said.flatMap((each) => ('outcome' in each ? [each.outcome] : []));

  /** What is there afterwards is whole, and is continued. */
  const recovered = async (): Promise<ReplayEnd> => {
    const storage = await openLaneStorage(lane, CHILD_SHAPE, { kind, segmentBytes: 250, reserveBytes: 0 });
    const { end } = await replayAll(storage.log, storage.mark.read());
    const names = readdirSync(lane);
    expect(names.filter((name) => name.includes('.new'))).toEqual([]);
    const locks = names.filter((name) => /^log-.*-lock$/.test(name));
    expect(locks.filter((name) => !names.includes(name.slice(0, -'-lock'.length)))).toEqual([]);
    await closeLaneStorage(storage);
    // Nothing happens to the second child.
    const said = outputOf(process.execPath, [CHILD, lane, String(end.records + 4), kind]);
    expect(said.match(/flushed/g)).toHaveLength(4);
    const again = await openLaneStorage(lane, CHILD_SHAPE, { readOnly: true });
    const last = await replayAll(again.log, again.mark.read());
    expect(last.end.records).toBe(end.records + 4);
    await closeLaneStorage(again);
    return end;
  };

  return { run, outcomes, recovered };
}

interface Steps {
  /** While what is done, at which call on which file; how many groups were flushed by then. */
  readonly deaths: readonly (readonly [what: string, call: string, file: string, when: number, flushed: number])[];
  readonly errors: readonly Step[];
  readonly fulls: readonly Step[];
  readonly removals: readonly Step[];
}
type Step = readonly [what: string, call: string, file: string, when: number];

function everyStep(kind: LogKind, steps: Steps): void {
  const { run, outcomes, recovered } = child(kind);
  test.each(steps.deaths)('death as %s loses nothing that was flushed', async (_, call, file, when, flushed) => {
    const { said } = run(call, file, 'signal=SIGKILL', when);
    expect(outcomes(said)).toEqual(new Array(flushed).fill('flushed'));
    expect(said.some((each) => 'released' in each)).toBe(false);
    const { records } = await recovered();
    // The group that was on its way is there or not.
    expect([flushed, flushed + 1]).toContain(records);
  });

  test.each(steps.errors)('an error as %s is unknown, and so is everything after it', async (_, call, file, when) => {
    const { said, signal } = run(call, file, 'error=EIO', when);
    // Where a page can't be written lmdb-js may break the heap (log/lmdb.ts): the process then dies at any time after that,
    // as it has to, or hangs within the heap and is killed, and what it has said by then must be true.
    const isBroken = kind === 'lmdb' && call === 'pwrite64' && ['SIGABRT', 'SIGSEGV', 'SIGKILL'].includes(signal ?? '');
    const groups = isBroken ? outcomes(said).length : GROUPS;
    expect(groups).toBeGreaterThanOrEqual(3);
    expect(outcomes(said)).toEqual([...new Array(3).fill('flushed'), ...new Array(groups - 3).fill('unknown')]);
    const again = said.flatMap((each) => ('again' in each ? [each.again] : []));
    expect(again).toEqual(new Array(isBroken ? again.length : GROUPS - 3).fill('unknown'));
    const { records } = await recovered();
    expect([3, 4]).toContain(records);
  });

  test.each(steps.fulls)('no room as %s is not written, and is repeated', async (_, call, file, when) => {
    const { said } = run(call, file, 'error=ENOSPC', when);
    const after = new Array(GROUPS - 3).fill('flushed');
    expect(outcomes(said)).toEqual([...new Array(3).fill('flushed'), 'not-written', ...after]);
    expect((await recovered()).records).toBe(GROUPS);
  });

  test.each(steps.removals)('an error as %s is told', async (_, call, file, when) => {
    const { said } = run(call, file, 'error=EIO', when);
    expect(said.at(-1)).toEqual({ released: 'STORAGE_FAILED' });
    expect((await recovered()).records).toBe(GROUPS);
  });

  test('where nothing happens, all is flushed, and the newest segment is left', async () => {
    const { said } = run('getpid', FILES[kind][2], 'error=EIO', 1);
    expect(outcomes(said)).toEqual(new Array(GROUPS).fill('flushed'));
    expect(said.at(-1)).toEqual({ released: 7 });
    expect((await recovered()).records).toBe(GROUPS);
  });
}

describe.skipIf(!works('strace', '-f', 'true'))(
  'at every step of a new segment and of a dropped one (needs strace)',
  () => {
    describe('in LMDB', () => {
      const [first, next] = FILES.lmdb;
      everyStep('lmdb', {
        deaths: [
          ['the first page of the file is written', 'pwrite64', `${next}.new`, 1, 3],
          ['its beginning is written', 'writev', `${next}.new`, 3, 3],
          ['its beginning is committed', 'pwrite64', `${next}.new`, 7, 3],
          ['it is flushed', 'fsync', `${next}.new`, 1, 3],
          ['it gets its name', 'rename', `${next}.new`, 1, 3],
          ['the name is flushed', 'fsync', '', 4, 3],
          ['the lock of the file in the making is removed', 'unlink', `${next}.new-lock`, 1, 3],
          ['the first group is written', 'writev', next, 1, 3],
          ['the first group is flushed', 'fdatasync', next, 1, 3],
          ['the first group is committed', 'pwrite64', next, 2, 3],
          ['the second group is written', 'writev', next, 2, 4],
          ['the oldest segment is removed', 'unlink', first, 1, GROUPS],
          ['its removal is flushed', 'fsync', '', 6, GROUPS],
          ['its lock is removed', 'unlink', `${first}-lock`, 1, GROUPS],
          ['the next oldest is removed', 'unlink', next, 1, GROUPS],
        ],
        errors: [
          ['the file is written', 'pwrite64', `${next}.new`, 2],
          ['the file is flushed', 'fsync', `${next}.new`, 1],
          ['it gets its name', 'rename', `${next}.new`, 1],
          ['the name is flushed', 'fsync', '', 4],
          ['its first group is flushed', 'fdatasync', next, 1],
        ],
        fulls: [
          ['the file is flushed', 'fsync', `${next}.new`, 1],
          ['it gets its name', 'rename', `${next}.new`, 1],
          ['the name is flushed', 'fsync', '', 4],
          ['its first group is flushed', 'fdatasync', next, 1],
        ],
        removals: [
          ['the oldest segment is removed', 'unlink', first, 1],
          ['its removal is flushed', 'fsync', '', 6],
        ],
      });
    });

    describe('in plain files', () => {
      const [first, next] = FILES.files;
      everyStep('files', {
        deaths: [
          ['the file is written', 'write', `${next}.new`, 1, 3],
          ['it is flushed', 'fsync', `${next}.new`, 1, 3],
          ['it gets its name', 'rename', `${next}.new`, 1, 3],
          ['the name is flushed', 'fsync', '', 4, 3],
          ['what a death may have left is cut off', 'ftruncate', first, 1, 0],
          ['the first group is written', 'pwritev', next, 1, 3],
          ['the second group is written', 'pwritev', next, 2, 4],
          ['the oldest segment is removed', 'unlink', first, 1, GROUPS],
          ['its removal is flushed', 'fsync', '', 6, GROUPS],
          ['the next oldest is removed', 'unlink', next, 1, GROUPS],
        ],
        errors: [
          ['the file is written', 'write', `${next}.new`, 1],
          ['the file is flushed', 'fsync', `${next}.new`, 1],
          ['it gets its name', 'rename', `${next}.new`, 1],
          ['the name is flushed', 'fsync', '', 4],
          ['its first group is written', 'pwritev', next, 1],
        ],
        fulls: [
          ['the file is written', 'write', `${next}.new`, 1],
          ['the file is flushed', 'fsync', `${next}.new`, 1],
          ['the name is flushed', 'fsync', '', 4],
          ['its first group is written', 'pwritev', next, 1],
        ],
        removals: [
          ['the oldest segment is removed', 'unlink', first, 1],
          ['its removal is flushed', 'fsync', '', 6],
        ],
      });
    });
  },
);
