import { execFileSync } from 'node:child_process';
import { rmSync, statfsSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'lmdb';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AHEAD_BYTES } from '../../src/log/ahead.js';
import { LmdbFile } from '../../src/log/lmdb-file.js';
import { ENTRY_HEADER_BYTES, RECORD_PAYLOAD_BYTES } from '../../src/log/record.js';
import { firstPlace } from '../../src/log/replay.js';
import { segmentPath } from '../../src/log/segment-files.js';
import { createSegment } from '../../src/log/segment-kinds.js';
import { SegmentedLog, type SegmentedLogOptions } from '../../src/log/segmented-log.js';
import { works } from '../support/bounded.js';
import { outcomesOf } from './failing-device.js';
import { temporaryDirectory } from './homes.js';
import { bodyOf, LogWriter, replayAll, SHAPE } from './writer.js';

const MEBIBYTE = 1_048_576;

function canMount(): boolean {
  const directory = temporaryDirectory();
  const mounted = works('mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory);
  if (mounted) execFileSync('umount', [directory]);
  rmSync(directory, { recursive: true });
  return mounted;
}

/** Makes a log in a directory and opens it. */
async function openNew(directory: string, options: SegmentedLogOptions = {}): Promise<SegmentedLog> {
  await createSegment('lmdb', directory, firstPlace(SHAPE));
  return SegmentedLog.open(directory, SHAPE, options);
}

describe('A log in LMDB', () => {
  let directory: string;
  let path: string;

  beforeEach(() => {
    directory = temporaryDirectory();
    path = segmentPath(directory, 1, 'lmdb');
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  test('a group is one transaction, of records and audit items alike', async () => {
    const transactions = async () => {
      const root = open({ path, readOnly: true });
      const { lastTxnId } = root.getStats() as { lastTxnId: number };
      await root.close();
      return lastTxnId;
    };
    let log = await openNew(directory);
    await log.close();
    const before = await transactions();
    log = await SegmentedLog.open(directory, SHAPE);
    const writer = new LogWriter(log, await replayAll(log));
    for (let group = 0; group < 3; group++) {
      await writer.write(
        [
          [2, bodyOf(1 * MEBIBYTE)],
          [3, bodyOf(10)],
          [5, bodyOf(2 * MEBIBYTE)],
        ],
        [{ partition: 3, sequence: group, value: bodyOf(10) }],
      );
    }
    await log.close();
    expect(await transactions()).toBe(before + 3);
  });

  test('its file is for the owner alone', async () => {
    const log = await openNew(directory);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await log.close();
  });

  test('small groups find the file long enough, behind large ones too, and none writes over another', async () => {
    const log = await openNew(directory);
    const writer = new LogWriter(log, await replayAll(log));
    const lengths = new Set<number>();
    for (let group = 0; group < 100; group++) {
      await writer.write([[2, bodyOf(3_000)]]);
      lengths.add(log.stats().fileBytes);
      if (group === 50) await writer.write([[3, bodyOf(2 * AHEAD_BYTES)]]);
    }
    expect(lengths.size).toBe(2);
    const { entries } = await replayAll(log, writer.mark);
    expect(entries).toHaveLength(101);
    expect(
      entries.every(({ body }, index) => Buffer.compare(body, writer.entries[index]?.body ?? Buffer.of()) === 0),
    ).toBe(true);
    await log.close();
    LmdbFile.check(path);
  });

  test('says how much of the file it uses', async () => {
    const log = await openNew(directory);
    const writer = new LogWriter(log, await replayAll(log));
    const before = log.stats();
    await writer.write([[2, bodyOf(MEBIBYTE)]]);
    const { usedBytes, fileBytes } = log.stats();
    expect(usedBytes - before.usedBytes).toBeGreaterThan(MEBIBYTE);
    expect(usedBytes - before.usedBytes).toBeLessThan(1.1 * MEBIBYTE);
    expect(fileBytes).toBeGreaterThanOrEqual(usedBytes - before.usedBytes);
    await log.close();
  });

  test('a full record takes 16 pages', async () => {
    const log = await openNew(directory);
    const writer = new LogWriter(log, await replayAll(log));
    await writer.write([[2, bodyOf(1)]]);
    const before = log.stats().usedBytes;
    await writer.write([[2, bodyOf(20 * RECORD_PAYLOAD_BYTES - ENTRY_HEADER_BYTES)]]);
    expect(log.stats().usedBytes - before).toBe(20 * 16 * 4_096);
    await log.close();
  });

  // Each thread is counted for itself, so one thread writes. The pages of the first three groups go by writev, so that its
  // pwrite64 calls are three meta pages, and then pages and meta pages in turn.
  describe.skipIf(!works('strace', '-f', 'true'))('when the device fails (needs strace)', () => {
    const outcomes = (injected: string, bytes = 100_000, ...now: 'now'[]) =>
      outcomesOf(directory, 'lmdb', injected, bytes, ...now);

    test('a failed flush is unknown, and so is everything after it', () => {
      expect(outcomes('fdatasync:error=EIO:when=4')).toEqual([
        ...['flushed', 'flushed', 'flushed'],
        ...['unknown', 'unknown', 'unknown'],
      ]);
    });

    test.each(['EIO', 'ENOSPC'])('a meta page that could not be written (%s) is unknown', (error) => {
      expect(outcomes(`pwrite64:error=${error}:when=5`)).toEqual([
        ...['flushed', 'flushed', 'flushed'],
        ...['unknown', 'unknown', 'unknown'],
      ]);
    });

    test('zeros ahead of a small group without room: it is not written, and is repeated', () => {
      expect(outcomes('pwrite64:error=ENOSPC:when=1', 1_000)).toEqual([
        ...['not-written', 'flushed', 'flushed', 'flushed', 'flushed', 'flushed', 'flushed'],
      ]);
    });

    test('zeros that could not be written are unknown, like the group behind them', () => {
      expect(outcomes('pwrite64:error=EIO:when=1', 1_000)).toEqual([
        ...['unknown', 'unknown', 'unknown', 'unknown', 'unknown', 'unknown'],
      ]);
    });

    test('a flush without room is not written, and is repeated', () => {
      expect(outcomes('fdatasync:error=ENOSPC:when=4')).toEqual([
        ...['flushed', 'flushed', 'flushed', 'not-written', 'flushed', 'flushed', 'flushed'],
      ]);
    });

    // The first group has the file made longer, by another thread; those behind it go within the call, and are counted
    test('within the call a failed flush is unknown, and so is everything after it', () => {
      expect(outcomes('fdatasync:error=EIO:when=2', 1_000, 'now')).toEqual([
        ...['flushed', 'flushed', 'unknown', 'unknown', 'unknown', 'unknown'],
      ]);
    });

    test('within the call a page that could not be written is unknown', () => {
      expect(outcomes('pwrite64:error=EIO:when=2', 1_000, 'now').slice(1)).toEqual(new Array(5).fill('unknown'));
    });

    test('within the call a flush without room is not written, and is repeated', () => {
      expect(outcomes('fdatasync:error=ENOSPC:when=2', 1_000, 'now')).toEqual([
        ...['flushed', 'flushed', 'not-written', 'flushed', 'flushed', 'flushed', 'flushed'],
      ]);
    });
  });
});

describe.skipIf(!canMount())('A log in LMDB on a real full disk (needs the right to mount a tmpfs)', () => {
  let directory: string;

  beforeEach(() => {
    directory = temporaryDirectory();
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', directory]);
  });
  afterEach(() => {
    // Lazily: a test that failed has left its log open.
    execFileSync('umount', ['-l', directory]);
    rmSync(directory, { recursive: true });
  });

  test('a group that does not fit is not written, and fits when there is room', async () => {
    const filler = join(directory, 'filler');
    writeFileSync(filler, Buffer.alloc(3 * MEBIBYTE));
    const log = await openNew(directory, { reserveBytes: MEBIBYTE });
    const first = await replayAll(log);
    const writer = new LogWriter(log, first);
    const kinds: string[] = [];
    while (kinds.at(-1) !== 'not-written') {
      const { kind } = await writer.write([[2, bodyOf(MEBIBYTE / 4)]]);
      kinds.push(kind);
      expect(kinds.length).toBeLessThan(20);
    }
    expect(kinds.length).toBeGreaterThan(3);
    const stored = await replayAll(log, writer.marks.at(-2));
    expect(stored.entries.length).toBe(kinds.length - 1);
    unlinkSync(filler);
    const again = new LogWriter(log, stored);
    expect(await again.write([[2, writer.entries.at(-1)?.body ?? bodyOf(0)]])).toEqual({ kind: 'flushed' });
    expect((await replayAll(log, again.mark)).entries.length).toBe(kinds.length);
    await log.close();
  });

  test('a disk that somebody fills during the commit: not written, which a fresh read has shown', async () => {
    const log = await openNew(directory, { reserveBytes: 0 });
    const writer = new LogWriter(log, await replayAll(log));
    await writer.write([[2, bodyOf(100)]]);
    const large = bodyOf(AHEAD_BYTES + MEBIBYTE);
    const appended = writer.write([[2, large]]);
    // Room for a part of the group, so that LMDB meets a short write, which it calls EIO.
    const filler = join(directory, 'filler');
    const { bavail, bsize } = statfsSync(directory);
    writeFileSync(filler, Buffer.alloc(bavail * bsize - 100_000));
    expect(await appended).toMatchObject({ kind: 'not-written', error: { code: 'STORAGE_FULL' } });
    unlinkSync(filler);
    const stored = await replayAll(log, writer.marks[0]);
    expect(stored.entries.length).toBe(1);
    const again = new LogWriter(log, stored);
    expect(await again.write([[2, large]])).toEqual({ kind: 'flushed' });
    await log.close();
  });
});
