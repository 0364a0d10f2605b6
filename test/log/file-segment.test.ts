import { appendFileSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BLOCK_BYTES } from '../../src/log/frame.js';
import type { LogPlace } from '../../src/log/log.js';
import { firstPlace } from '../../src/log/replay.js';
import { segmentPath, segmentsIn } from '../../src/log/segment-files.js';
import { createSegment } from '../../src/log/segment-kinds.js';
import { SegmentedLog, type SegmentedLogOptions } from '../../src/log/segmented-log.js';
import { works } from '../support/bounded.js';
import { outcomesOf } from './failing-device.js';
import { temporaryDirectory } from './homes.js';
import { bodyOf, byPartition, LogWriter, replayAll, SHAPE } from './writer.js';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = temporaryDirectory();
  path = segmentPath(directory, 1, 'files');
  await createSegment('files', directory, firstPlace(SHAPE));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const open = (options: SegmentedLogOptions = {}) => SegmentedLog.open(directory, SHAPE, { kind: 'files', ...options });

/** Groups of these bodies, and the bytes of the file after each. */
async function written(...bodies: number[]): Promise<{ writer: LogWriter; ends: number[] }> {
  const log = await open();
  const writer = new LogWriter(log, await replayAll(log));
  const ends = [log.stats().usedBytes];
  for (const length of bodies) {
    await writer.write([[2, bodyOf(length)]], [{ partition: 2, sequence: writer.entries.length, value: bodyOf(5) }]);
    ends.push(log.stats().usedBytes);
  }
  await log.close();
  return { writer, ends };
}

describe('A death in the middle of a write', () => {
  /** Overwrites the last group with what a device may have of it: any of its sectors, the others as they were before. */
  function tear(start: number, end: number, sectors: readonly boolean[]): void {
    const file = readFileSync(path);
    for (const [index, isThere] of sectors.entries()) {
      if (!isThere) file.fill(0, start + index * BLOCK_BYTES, Math.min(end, start + (index + 1) * BLOCK_BYTES));
    }
    writeFileSync(path, file);
  }

  test('leaves the groups before it, and the whole last one or nothing of it, whichever sectors are there', async () => {
    const { writer, ends } = await written(100, 700, 3_000);
    const [start, end] = ends.slice(-2) as [number, number];
    const whole = readFileSync(path);
    const count = Math.ceil((end - start) / BLOCK_BYTES);
    const property = fc.asyncProperty(
      fc.array(fc.boolean(), { minLength: count, maxLength: count }),
      async (sectors) => {
        writeFileSync(path, whole);
        tear(start, end, sectors);
        const log = await open();
        const { entries, end: reached } = await replayAll(log, writer.marks[1]);
        const isWhole = sectors.every(Boolean);
        expect(entries).toHaveLength(isWhole ? 3 : 2);
        // It is continued, and nothing of what was there shines through.
        const more = new LogWriter(log, { entries, end: reached });
        for (let group = 0; group < 3; group++) await more.write([[3, bodyOf(40)]]);
        await log.close();
        const again = await open();
        expect(byPartition((await replayAll(again, more.mark)).entries)).toEqual(byPartition(more.entries));
        await again.close();
      },
    );
    await fc.assert(property, { numRuns: 60 });
  });

  test('is damage all the same where the head mark says that the group was flushed', async () => {
    const { writer, ends } = await written(100, 700);
    const [start, end] = ends.slice(-2) as [number, number];
    tear(start, end, [true, false]);
    const log = await open();
    await expect(replayAll(log, writer.mark)).rejects.toMatchObject({
      code: 'LOG_CORRUPT',
      message: expect.stringMatching(/ends with group 1 .* but group 2 was flushed/),
    });
    await log.close();
  });

  test('leaves nothing that a later group could be taken for, whatever a client wrote', async () => {
    // The body of a record that looks like a frame of its own, block for block: it was copied from another file
    const other = await written(100, 100);
    const forged = readFileSync(path).subarray(other.ends[0], other.ends[2]);
    rmSync(path);
    await createSegment('files', directory, firstPlace(SHAPE));
    const log = await open();
    const writer = new LogWriter(log, await replayAll(log));
    await writer.write([[2, Buffer.concat(Array.from({ length: 20 }, () => forged))]]);
    const start = log.stats().usedBytes;
    await log.close();
    const whole = readFileSync(path);
    for (let pad = 4; pad < BLOCK_BYTES; pad += 4) {
      // The same bytes at every distance from the blocks, behind a frame that was torn
      const shifted = Buffer.concat([whole.subarray(0, 1_024), Buffer.alloc(pad), whole.subarray(1_024, start)]);
      writeFileSync(path, shifted);
      const opened = await open();
      expect((await replayAll(opened)).entries).toEqual([]);
      await opened.close();
    }
  });
});

describe('A file of frames', () => {
  test('that is damaged anywhere before its last group does not pass', async () => {
    const { writer, ends } = await written(100, 700, 50);
    const whole = readFileSync(path);
    const until = ends.at(-2) as number;
    for (let at = 0; at < until; at += 7) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] as number) ^ (1 << (at % 8));
      writeFileSync(path, damaged);
      const outcome = await open({ readOnly: true })
        .then(
          async (log) => {
            const { entries } = await replayAll(log, writer.mark).finally(() => log.close());
            return entries;
          },
          (error: { code: string }) => error.code,
        )
        .catch((error: { code: string }) => error.code);
      // What fills up a block means nothing.
      if (outcome !== 'LOG_CORRUPT')
        expect([at, byPartition(outcome as never)]).toEqual([at, byPartition(writer.entries)]);
    }
  });

  test('says that a whole group lies behind one that is not, even where no mark does', async () => {
    const { ends } = await written(100, 700, 50);
    const file = readFileSync(path);
    file[(ends[1] as number) + 60] = 0xff;
    writeFileSync(path, file);
    for (const readOnly of [true, false]) {
      await expect(open({ readOnly })).rejects.toMatchObject({
        code: 'LOG_CORRUPT',
        message: expect.stringMatching(/has record 3 behind bytes that are no whole group/),
      });
    }
  });

  test('is for the owner alone, is lengthened ahead of small groups, and is cut to its end when it is closed', async () => {
    const log = await open();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const writer = new LogWriter(log, await replayAll(log));
    await writer.write([[2, bodyOf(100)]]);
    const { usedBytes, fileBytes } = log.stats();
    await writer.write([[2, bodyOf(100)]]);
    expect(log.stats()).toMatchObject({ usedBytes: usedBytes + BLOCK_BYTES, fileBytes });
    expect(fileBytes).toBeGreaterThan(1_000_000);
    await writer.write([[2, bodyOf(2_000_000)]]);
    const { usedBytes: end } = log.stats();
    expect(log.stats().fileBytes).toBe(end);
    await writer.write([[2, bodyOf(100)]]);
    await log.close();
    expect(statSync(path).size).toBe(end + BLOCK_BYTES);
  });

  test('is followed by another one when it is long, however few records it has', async () => {
    const log = await open({ segmentBytes: 900_000 });
    const writer = new LogWriter(log, await replayAll(log));
    const groups = 1_048_576 / BLOCK_BYTES;
    for (let group = 0; group < groups; group++) await writer.write([[2, bodyOf(20)]]);
    expect(log.stats().segments).toBe(2);
    await log.close();
    const again = await open();
    expect((await replayAll(again, writer.mark)).entries).toHaveLength(groups);
    await again.close();
  });

  test('is read beside its writer, while a group is on its way', async () => {
    const log = await open();
    const writer = new LogWriter(log, await replayAll(log));
    await writer.write([[2, bodyOf(100)]]);
    const beside = await open({ readOnly: true, isGrowing: true });
    await writer.write([[2, bodyOf(100)]]);
    // Half of a group
    appendFileSync(path, Buffer.alloc(100, 1));
    expect((await replayAll(beside)).entries).toHaveLength(2);
    await beside.close();
    await log.close();
  });
});

test('A log goes on in the other kind with its next segment, in both directions', async () => {
  let places: LogPlace[] = [];
  const kinds = ['lmdb', 'files', 'lmdb', 'files'] as const;
  let entries = 0;
  for (const kind of kinds) {
    const log = await SegmentedLog.open(directory, SHAPE, { kind, segmentBytes: 300 });
    const writer = new LogWriter(log, await replayAll(log));
    for (let group = 0; group < 3; group++) await writer.write([[2, bodyOf(250)]]);
    places = writer.places;
    entries += 3;
    expect((await replayAll(log, writer.mark)).entries).toHaveLength(entries);
    await log.close();
  }
  expect(places.at(-1)?.group).toBe(12);
  expect(new Set(segmentsIn(directory).map(({ kind }) => kind))).toEqual(new Set(['lmdb', 'files']));
});

// The third write of a group fails. The first one makes the file longer, which is the pool's; within the call those behind it are
// another thread's, and each thread is counted for itself.
describe.skipIf(!works('strace', '-f', 'true')).each([
  ['of the pool', 3, []],
  ['within the call', 2, ['now']],
] as const)('when the device fails a write %s (needs strace)', (_, count, now) => {
  const outcomes = (error: string) =>
    outcomesOf(directory, 'files', `pwritev:error=${error}:when=${count}`, 1_000, ...now);

  test('it is unknown, and so is everything after it', () => {
    expect(outcomes('EIO')).toEqual(['flushed', 'flushed', 'unknown', 'unknown', 'unknown', 'unknown']);
  });

  test('without room it is not written, and is repeated', () => {
    expect(outcomes('ENOSPC')).toEqual(['flushed', 'flushed', 'not-written', ...new Array(4).fill('flushed')]);
  });
});
