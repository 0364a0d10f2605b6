import { existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.js';
import { collecting } from '../../src/lane/collecting.js';
import { GroupCommit } from '../../src/log/group-commit.js';
import { closeLaneStorage, createLaneStorage, openLaneStorage } from '../../src/log/lane-storage.js';
import type { Log } from '../../src/log/log.js';
import { type LogKind, segmentPath } from '../../src/log/segment-files.js';
import type { StoredSegment } from './fixture.js';
import { editLmdb, temporaryDirectory } from './homes.js';
import { bodyOf, byPartition, LogWriter, replayAll, SHAPE } from './writer.js';

const HEADER = { kind: 4, flags: 0, producer: 1, incarnation: 1, milliseconds: 1_700_000_000_000 };

describe('lane storage', () => {
  let directory: string;
  let logPath: string;
  let markPath: string;

  beforeEach(() => {
    const parent = temporaryDirectory();
    directory = join(parent, 'lane-0');
    logPath = segmentPath(directory, 1, 'lmdb');
    markPath = join(directory, 'head-mark');
  });
  afterEach(() => rmSync(join(directory, '..'), { recursive: true }));

  /** Three groups, with their marks as GroupCommit writes them. */
  const write = async (segmentBytes = 1_000_000) => {
    await createLaneStorage(directory, SHAPE);
    const storage = await openLaneStorage(directory, SHAPE, { segmentBytes });
    const { log, mark } = storage;
    const writer = new LogWriter(log, await replayAll(log, mark.read()));
    for (let group = 0; group < 3; group++) {
      await writer.write([[2, bodyOf(100 + group)]], [{ partition: 2, sequence: group + 1, value: bodyOf(5) }]);
      mark.write(writer.mark);
    }
    await closeLaneStorage(storage);
    return writer;
  };
  const editOldest = (change: (stored: StoredSegment) => void) =>
    editLmdb(directory, (segments) => change(segments.get(1) as StoredSegment));
  /** Reads what a start reads. */
  const read = async (shape = SHAPE) => {
    const storage = await openLaneStorage(directory, shape);
    try {
      return await replayAll(storage.log, storage.mark.read());
    } finally {
      await closeLaneStorage(storage);
    }
  };
  const damaged = (message: RegExp) =>
    expect(read()).rejects.toMatchObject({ code: 'LOG_CORRUPT', message: expect.stringMatching(message) });

  test('is made empty, and what it holds is there when it is opened again', async () => {
    const writer = await write();
    await createLaneStorage(directory, SHAPE);
    const storage = await openLaneStorage(directory, SHAPE);
    const { log, mark } = storage;
    const { entries } = await replayAll(log, mark.read());
    expect(byPartition(entries)).toEqual(byPartition(writer.entries));
    await closeLaneStorage(storage);
  });

  test.each<[LogKind, string, number]>([
    ['lmdb', 'the pool', 100_000],
    ['files', 'the pool', 100_000],
    ['lmdb', 'the call', 1_000],
    ['files', 'the call', 1_000],
  ])('keeps nothing of the memory of a group that was written: %s, within %s', async (kind, within, bytes) => {
    await createLaneStorage(directory, SHAPE, { kind });
    const storage = await openLaneStorage(directory, SHAPE, { kind });
    const { log, mark } = storage;
    const { end } = await replayAll(log, mark.read());
    const commit = new GroupCommit({
      ...{ mark, clock: systemClock, shape: SHAPE, start: end, isPoisoned: () => false, onFailed: () => {} },
      log: {
        async append(sealed) {
          for (const { buffer } of sealed.records) memories.push(new WeakRef(buffer));
          return (within === 'the call' && log.appendNow(sealed)) || log.append(sealed);
        },
      } as Log,
    });
    const memories: WeakRef<ArrayBufferLike>[] = [];
    for (let group = 0; group < 3; group++) {
      for (const partition of SHAPE.partitions) commit.append(partition, HEADER, bodyOf(bytes));
      await commit.drain();
    }
    const collect = collecting();
    collect();
    expect(memories.some((memory) => memory.deref())).toBe(true);
    commit.releaseMemory();
    await new Promise((resolve) => setImmediate(resolve)); // a WeakRef that was looked into holds until the end of the turn
    collect();
    expect(memories.filter((memory) => memory.deref())).toEqual([]);
    await closeLaneStorage(storage);
  });

  test('a creation that was interrupted is repeated', async () => {
    await createLaneStorage(directory, SHAPE);
    rmSync(logPath);
    await createLaneStorage(directory, SHAPE);
    expect(existsSync(logPath)).toBe(true);
  });

  test('a log without its mark, or a mark without its log, is LOG_CORRUPT and stays as it is', async () => {
    await write();
    const bytes = readFileSync(markPath);
    rmSync(markPath);
    await expect(createLaneStorage(directory, SHAPE)).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
    await expect(openLaneStorage(directory, SHAPE)).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
    expect(existsSync(markPath)).toBe(false);
    writeFileSync(markPath, bytes);
    rmSync(logPath);
    await expect(createLaneStorage(directory, SHAPE)).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
    await expect(openLaneStorage(directory, SHAPE)).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
    expect(existsSync(logPath)).toBe(false);
  });

  describe('that is damaged is not opened, or not replayed', () => {
    test('a damaged record, with what failed', async () => {
      await write();
      await editOldest(({ records }) => {
        const record = records.get(2);
        if (record) record[80] = (record[80] ?? 0) ^ 1;
      });
      await damaged(/^LOG_CORRUPT: Record 2 .*its CRC32C differs\. The log fails/);
    });

    test('a log that ends before the mark', async () => {
      await write();
      await editOldest(({ records }) => records.delete(3));
      await damaged(/ends with group 2 .* group 3 was flushed/);
    });

    test('files that the lane will write to and that do not hold together, before LMDB sees them', async () => {
      await write();
      for (const path of [logPath, join(directory, 'checkpoint.mdb')]) {
        const whole = readFileSync(path);
        truncateSync(path, 8_192);
        await damaged(/is not in the file|ends before/);
        writeFileSync(path, Buffer.alloc(8_192, 1));
        await damaged(/its pages have 16843009 bytes/);
        writeFileSync(path, whole);
      }
      expect((await read()).entries).toHaveLength(3);
    });

    test('an older segment that is cut off, or is none', async () => {
      await write(100);
      truncateSync(logPath, 8_192);
      await damaged(/log-0000000000000001.mdb: it ends before \d+/);
      writeFileSync(logPath, Buffer.alloc(8_192, 1));
      await damaged(/its pages have 16843009 bytes/);
    });

    test('no log at all', async () => {
      await damaged(/is missing/);
    });

    test('another kernel version', async () => {
      await write();
      await expect(read({ ...SHAPE, kernelVersion: 8 })).rejects.toMatchObject({
        code: 'DIRECTORY_INVALID',
        message:
          'DIRECTORY_INVALID: The log was written by kernel version 7; this is 8. The data directory was not made by this version of the server. Use the one that made it, or another --data-dir.',
      });
    });
  });
});
