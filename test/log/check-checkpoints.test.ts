import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkInChild } from '../../src/log/check.js';
import type { CheckpointManifest } from '../../src/log/checkpoint.js';
import { closeLaneStorage, createLaneStorage, openLaneStorage } from '../../src/log/lane-storage.js';
import type { PartitionPlace } from '../../src/log/log.js';
import { manifestOf, pageOf } from './checkpoint.conformance.js';
import { editCheckpoints, temporaryDirectory } from './homes.js';
import { bodyOf, LogWriter, partitionPlace, replayAll, SHAPE } from './writer.js';

describe('The check at start, of checkpoints', () => {
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
    const { log, mark, checkpoints } = storage;
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
    await closeLaneStorage(storage);
  };
  const check = () => checkInChild(directory, SHAPE);
  const damaged = async (message: RegExp) => {
    const error = { code: 'LOG_CORRUPT', message: expect.stringMatching(message) };
    expect(await check()).toMatchObject({ sound: false, error });
  };

  test('reads their pages, and follows the log from there', async () => {
    await make();
    // Of partition 2 the entry behind the checkpoint, of partition 3 all.
    expect(await check()).toMatchObject({ sound: true, log: { entries: 4, records: 6, checkpointPages: 2 } });
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
    // How LMDB, or the process, comes to its end depends on where it looks first.
    truncateSync(path, 8_192);
    await damaged(/^LOG_CORRUPT/);
    writeFileSync(path, Buffer.alloc(8_192, 1));
    await damaged(/^LOG_CORRUPT/);
    rmSync(path);
    await damaged(/checkpoint\.mdb is missing/);
  });

  test('takes a checkpoint that was never finished for nothing', async () => {
    await make();
    await editCheckpoints(path, ({ pages }) => pages.set('2.0.2', pageOf(5)).set('3.0.1', pageOf(6)));
    expect(await check()).toMatchObject({ sound: true, log: { checkpointPages: 2 } });
  });
});
