import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CheckpointManifest } from '../../src/log/checkpoint.js';
import { closeLaneStorage, createLaneStorage, openCheckpoints, openLaneStorage } from '../../src/log/lane-storage.js';
import type { PartitionPlace } from '../../src/log/log.js';
import { manifestOf, pageOf } from './checkpoint.conformance.js';
import { editCheckpoints, temporaryDirectory } from './homes.js';
import { bodyOf, LogWriter, partitionPlace, replayAll, SHAPE } from './writer.js';

describe('The checkpoints of a lane, read at start', () => {
  const pages = [pageOf(1), pageOf(2)];
  let directory: string;
  let path: string;

  beforeEach(() => {
    directory = join(temporaryDirectory(), 'lane-0');
    path = join(directory, 'checkpoint.mdb');
  });
  afterEach(() => rmSync(join(directory, '..'), { recursive: true }));

  /** Three groups, and a checkpoint of partition 2 after the second one. */
  const make = async (change: (place: PartitionPlace) => PartitionPlace = (place) => place) => {
    await createLaneStorage(directory, SHAPE);
    const storage = await openLaneStorage(directory, SHAPE);
    const { log, mark } = storage;
    const checkpoints = await openCheckpoints(directory, SHAPE);
    const writer = new LogWriter(log, await replayAll(log, mark.read()));
    for (let group = 0; group < 3; group++) {
      await writer.write([
        [2, bodyOf(100)],
        [3, bodyOf(50)],
      ]);
      mark.write(writer.mark);
    }
    const place = change(partitionPlace(writer.places[2] as never, 2));
    const manifest: CheckpointManifest = { ...manifestOf(2, 1, pages), place };
    await checkpoints.write(
      2,
      1,
      pages.map((bytes, index) => ({ index, bytes })),
    );
    await checkpoints.publish(manifest);
    await checkpoints.close();
    await closeLaneStorage(storage);
  };
  /** Reads what a start reads: the checkpoints, and what the log has behind them. */
  const read = async () => {
    const storage = await openLaneStorage(directory, SHAPE);
    const { log, mark, checkpoints } = storage;
    try {
      const from = new Map<number, PartitionPlace>();
      let read = 0;
      for (const partition of SHAPE.partitions) {
        const manifest = checkpoints.manifest(partition);
        if (!manifest) continue;
        await checkpoints.readPages(manifest, () => read++);
        from.set(partition, manifest.place);
      }
      return { pages: read, ...(await replayAll(log, mark.read(), from)) };
    } finally {
      await closeLaneStorage(storage);
    }
  };
  const damaged = (message: RegExp) =>
    expect(read()).rejects.toMatchObject({ code: 'LOG_CORRUPT', message: expect.stringMatching(message) });

  test('are where the log is followed from', async () => {
    await make();
    // Of partition 2 the entry behind the checkpoint, of partition 3 all.
    const { pages, entries } = await read();
    expect([pages, entries.length]).toEqual([2, 4]);
  });

  test('finds a damaged page and a damaged manifest', async () => {
    await make();
    await editCheckpoints(path, ({ pages }) => {
      const page = pages.get('2.1.1');
      if (page) page[9] = (page[9] as number) ^ 1;
    });
    await damaged(/^LOG_CORRUPT: Page 1 of the checkpoint of partition 2 .*its XXH64 differs\. The log fails/);
    await editCheckpoints(path, ({ manifests }) => {
      const manifest = manifests.get(2);
      if (manifest) manifest[50] = (manifest[50] as number) ^ 1;
    });
    await damaged(/The manifest of the checkpoint of partition 2: its CRC32C differs/);
  });

  test('finds a place that is not in the log', async () => {
    await make((place) => ({ ...place, hash: place.hash ^ 1n }));
    await damaged(/partition 2 is at sequence 2, but its checkpoint says sequence 2 with another hash/);
  });

  test('finds a place beyond the end of the log', async () => {
    await make((place) => ({ ...place, group: 4, sequence: 4 }));
    await damaged(/the checkpoint of partition 2 is of group 4/);
  });

  test('says so where the file is gone, is cut short or is none of LMDB', async () => {
    await make();
    truncateSync(path, 8_192);
    await damaged(/is not in the file/);
    writeFileSync(path, Buffer.alloc(8_192, 1));
    await damaged(/its pages have 16843009 bytes/);
    rmSync(path);
    await damaged(/checkpoint\.mdb is missing/);
  });

  test('takes a checkpoint that was never finished for nothing', async () => {
    await make();
    await editCheckpoints(path, ({ pages }) => pages.set('2.0.2', pageOf(5)).set('3.0.1', pageOf(6)));
    expect((await read()).pages).toBe(2);
  });
});
