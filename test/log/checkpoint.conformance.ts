import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  CHECKPOINT_PAGE_BYTES,
  type CheckpointManifest,
  type CheckpointStore,
  encodeManifest,
} from '../../src/log/checkpoint.js';
import { ChecksummedBuffer } from '../../src/log/checksum.js';
import { SHAPE } from './writer.js';

/** What survives closing a store: pages by `partition.page.generation`, manifests by partition. */
export interface StoredCheckpoints {
  readonly pages: Map<string, Uint8Array>;
  readonly manifests: Map<number, Uint8Array>;
}

/** A home for the checkpoints of a lane. */
export interface CheckpointsHome {
  open(): CheckpointStore;
  /** Changes what is stored, while no store is open. */
  edit(change: (stored: StoredCheckpoints) => void): Promise<void>;
  remove(): Promise<void>;
}

const buffer = new ChecksummedBuffer(CHECKPOINT_PAGE_BYTES);

export function pageOf(seed: number): Uint8Array {
  return Uint8Array.from({ length: CHECKPOINT_PAGE_BYTES }, (_, at) => Math.imul(at + seed, 2_654_435_761) >>> 24);
}

function hashOf(bytes: Uint8Array): bigint {
  buffer.bytes.set(bytes);
  return buffer.xxh64(0, bytes.length);
}

/** The manifest of a state of these pages, of which those in `unchanged` stand under older generations. */
export function manifestOf(
  partition: number,
  generation: number,
  pages: readonly Uint8Array[],
  unchanged: Readonly<Record<number, number>> = {},
): CheckpointManifest {
  return {
    partition,
    kernelVersion: SHAPE.kernelVersion,
    generation,
    place: { group: 10 * generation, records: 20 * generation, bytes: 3e9, sequence: 2 ** 40, hash: 2n ** 64n - 1n },
    milliseconds: 1_700_000_000_000,
    pages: pages.map((bytes, index) => ({ generation: unchanged[index] ?? generation, hash: hashOf(bytes) })),
  };
}

/** What every implementation of CheckpointStore must do. */
export function checkpointConformance(name: string, makeHome: () => CheckpointsHome): void {
  describe(name, () => {
    let home: CheckpointsHome;
    let store: CheckpointStore;

    beforeEach(() => {
      home = makeHome();
      store = home.open();
    });
    afterEach(async () => {
      await store.close();
      await home.remove();
    });

    const reopen = async () => {
      await store.close();
      store = home.open();
    };
    const edit = async (change: (stored: StoredCheckpoints) => void) => {
      await store.close();
      await home.edit(change);
      store = home.open();
    };
    const storedPages = async () => {
      let keys: string[] = [];
      await edit(({ pages }) => {
        keys = [...pages.keys()].sort();
      });
      return keys;
    };
    const write = async (partition: number, generation: number, pages: Readonly<Record<number, Uint8Array>>) => {
      const items = Object.entries(pages).map(([index, bytes]) => ({ index: Number(index), bytes }));
      expect(await store.write(partition, generation, items)).toEqual({ kind: 'flushed' });
    };
    const publish = async (manifest: CheckpointManifest) => {
      expect(await store.publish(manifest)).toEqual({ kind: 'flushed' });
    };
    const readAll = async (partition: number) => {
      const manifest = store.manifest(partition);
      if (!manifest) throw new Error('There is no checkpoint.');
      const hashes: bigint[] = [];
      await store.readPages(manifest, (index, bytes) => {
        hashes[index] = hashOf(bytes);
      });
      return { manifest, hashes };
    };
    /** A checkpoint of partition 3 with three pages. */
    const first = [pageOf(1), pageOf(2), pageOf(3)];
    const makeFirst = async () => {
      await write(3, 1, { 0: pageOf(1), 1: pageOf(2) });
      await write(3, 1, { 2: pageOf(3) });
      await publish(manifestOf(3, 1, first));
    };
    /** Its successor, in which page 1 has changed and page 3 is new. */
    const second = [pageOf(1), pageOf(7), pageOf(3), pageOf(8)];
    const secondManifest = manifestOf(3, 2, second, { 0: 1, 2: 1 });

    test('an empty store has no checkpoint', async () => {
      for (const partition of SHAPE.partitions) expect(store.manifest(partition)).toBeUndefined();
      expect(await store.removeOrphans(3)).toEqual({ kind: 'flushed' });
    });

    test('a checkpoint is what was published, also when the store is reopened', async () => {
      await makeFirst();
      expect(await readAll(3)).toEqual({ manifest: manifestOf(3, 1, first), hashes: first.map(hashOf) });
      await reopen();
      expect(await readAll(3)).toEqual({ manifest: manifestOf(3, 1, first), hashes: first.map(hashOf) });
      expect(store.manifest(2)).toBeUndefined();
    });

    test('the pages are visited from the last to the first', async () => {
      await makeFirst();
      const visited: number[] = [];
      await store.readPages(manifestOf(3, 1, first), (index) => visited.push(index));
      expect(visited).toEqual([2, 1, 0]);
    });

    test('pages that were written and not published change nothing', async () => {
      await makeFirst();
      await write(3, 2, { 1: pageOf(7), 3: pageOf(8) });
      await reopen();
      expect(await readAll(3)).toEqual({ manifest: manifestOf(3, 1, first), hashes: first.map(hashOf) });
    });

    test('a new checkpoint shares the pages that are unchanged, and the replaced ones are gone', async () => {
      await makeFirst();
      await write(3, 2, { 1: pageOf(7), 3: pageOf(8) });
      await publish(secondManifest);
      expect(await readAll(3)).toEqual({ manifest: secondManifest, hashes: second.map(hashOf) });
      expect(await storedPages()).toEqual(['3.0.1', '3.1.2', '3.2.1', '3.3.2']);
      expect(await readAll(3)).toEqual({ manifest: secondManifest, hashes: second.map(hashOf) });
    });

    test('a new checkpoint without a change has another place', async () => {
      await makeFirst();
      const same = manifestOf(3, 2, first, { 0: 1, 1: 1, 2: 1 });
      await publish(same);
      expect(await readAll(3)).toEqual({ manifest: same, hashes: first.map(hashOf) });
    });

    test('each partition has its own', async () => {
      await makeFirst();
      await write(2, 1, { 0: pageOf(20) });
      await publish(manifestOf(2, 1, [pageOf(20)]));
      await write(5, 1, { 0: pageOf(50) });
      expect((await readAll(3)).hashes).toEqual(first.map(hashOf));
      expect((await readAll(2)).hashes).toEqual([hashOf(pageOf(20))]);
      expect(store.manifest(5)).toBeUndefined();
    });

    test('orphans are removed, and nothing else', async () => {
      await makeFirst();
      await write(2, 1, { 0: pageOf(20) });
      await write(3, 2, { 1: pageOf(7), 9: pageOf(8) });
      await write(5, 1, { 0: pageOf(50) });
      expect(await store.removeOrphans(3)).toEqual({ kind: 'flushed' });
      expect(await storedPages()).toEqual(['2.0.1', '3.0.1', '3.1.1', '3.2.1', '5.0.1']);
      expect((await readAll(3)).hashes).toEqual(first.map(hashOf));
      for (const partition of [2, 5]) await store.removeOrphans(partition);
      expect(await storedPages()).toEqual(['3.0.1', '3.1.1', '3.2.1']);
    });

    test('more orphans than are read at a time', async () => {
      await makeFirst();
      await edit(({ pages }) => {
        for (let page = 0; page < 2_500; page++) pages.set(`3.${page}.2`, Uint8Array.of(1));
      });
      expect(await store.removeOrphans(3)).toEqual({ kind: 'flushed' });
      expect(await storedPages()).toEqual(['3.0.1', '3.1.1', '3.2.1']);
    });

    test('an error of the visitor ends the reading', async () => {
      await makeFirst();
      const stop = new Error('stop');
      const reading = store.readPages(manifestOf(3, 1, first), () => {
        throw stop;
      });
      await expect(reading).rejects.toBe(stop);
    });

    test('says how much it stores', async () => {
      const { usedBytes } = store.stats();
      await makeFirst();
      expect(store.stats().usedBytes - usedBytes).toBeGreaterThanOrEqual(3 * CHECKPOINT_PAGE_BYTES);
      expect(store.stats().pagesStored).toBe(3);
      expect(store.stats().fileBytes).toBeGreaterThanOrEqual(3 * CHECKPOINT_PAGE_BYTES);
    });

    describe('damage is LOG_CORRUPT', () => {
      const corrupted = (message: RegExp) =>
        expect(readAll(3)).rejects.toMatchObject({ code: 'LOG_CORRUPT', message: expect.stringMatching(message) });

      test('a flipped bit anywhere in a manifest', async () => {
        await makeFirst();
        const { length } = encodeManifest(manifestOf(3, 1, first));
        expect(length).toBe(72 + 3 * 12);
        for (let at = 0; at < length; at++) {
          const flip = ({ manifests }: StoredCheckpoints) => {
            const manifest = manifests.get(3);
            if (manifest) manifest[at] = (manifest[at] ?? 0) ^ (1 << (at % 8));
          };
          await edit(flip);
          await corrupted(/^LOG_CORRUPT: The manifest of the checkpoint of partition 3: /);
          await edit(flip);
        }
        expect((await readAll(3)).hashes).toEqual(first.map(hashOf));
      });

      test('a truncated manifest', async () => {
        await makeFirst();
        const whole = encodeManifest(manifestOf(3, 1, first));
        for (const length of [0, 71, 72, whole.length - 1]) {
          await edit(({ manifests }) => manifests.set(3, whole.slice(0, length)));
          await corrupted(/The manifest/);
        }
      });

      test('the manifest of another partition', async () => {
        await makeFirst();
        await edit(({ manifests }) => manifests.set(3, encodeManifest(manifestOf(2, 1, first))));
        await corrupted(/it is of partition 2/);
      });

      test.each([0, 40_000, CHECKPOINT_PAGE_BYTES - 1])('a flipped bit of a page, at %i', async (at) => {
        await makeFirst();
        await edit(({ pages }) => {
          const page = pages.get('3.1.1');
          if (page) page[at] = (page[at] ?? 0) ^ 1;
        });
        await corrupted(/Page 1 of the checkpoint of partition 3 \(generation 1\): its XXH64 differs/);
      });

      test('a missing page, a page of another length, and one under another generation', async () => {
        await makeFirst();
        await edit(({ pages }) => pages.delete('3.2.1'));
        await corrupted(/Page 2 .*: it is missing/);
        await edit(({ pages }) => pages.set('3.2.1', pageOf(3).slice(1)));
        await corrupted(/Page 2 .*: it has 65535 bytes/);
        await edit(({ pages }) => {
          pages.delete('3.2.1');
          pages.set('3.2.2', pageOf(3));
        });
        await corrupted(/Page 2 .*: it is missing/);
      });

      test('swapped pages', async () => {
        await makeFirst();
        await edit(({ pages }) => pages.set('3.0.1', pageOf(2)).set('3.1.1', pageOf(1)));
        await corrupted(/Page 1 .*: its XXH64 differs/);
      });
    });

    test('a manifest of another kernel or format is DIRECTORY_INVALID, not corruption', async () => {
      await makeFirst();
      const other = { ...manifestOf(3, 1, first), kernelVersion: SHAPE.kernelVersion + 1 };
      await edit(({ manifests }) => manifests.set(3, encodeManifest(other)));
      expect(() => store.manifest(3)).toThrow(expect.objectContaining({ code: 'DIRECTORY_INVALID' }));
    });
  });
}
