import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  CHECKPOINT_PAGE_BYTES,
  type CheckpointManifest,
  type CheckpointReader,
  type CheckpointStats,
  type CheckpointStore,
  decodeManifest,
  encodeManifest,
  type NewPage,
  PAGES_PER_WRITE,
  PageVerifier,
} from './checkpoint.js';
import { type BinaryDatabase, LmdbEnvironment } from './lmdb.js';
import { LmdbReader, ValueRoom } from './lmdb-reader.js';
import type { AppendOutcome, LogShape } from './log.js';

/**
 * The checkpoints of a lane in an LMDB environment of its own: page puts in the log's transactions would hold up its
 * commits. The key of a page is big-endian, so that the generations of a page lie together, and the pages of a partition.
 *
 * ```
 *  pages: 0           2      6            10     manifests: 0           2
 *         +-----------+------+------------+                 +-----------+
 *         | partition | page | generation |                 | partition |
 *         |  u16 BE   | u32  |    u32     |                 |  u16 BE   |
 *         +-----------+------+------------+                 +-----------+
 * ```
 */
const PAGE_KEY_BYTES = 10;
/** A page, and what stands before a value. */
const PAGE_ROOM_BYTES = CHECKPOINT_PAGE_BYTES + 64;
/** Pages that are read in one turn of the event loop: 16 MiB. */
const PAGES_PER_TURN = 256;
/** Keys that are read, or removed, at a time. */
const KEYS_PER_TURN = 1_024;
/** Twice what the log keeps, so that a checkpoint never takes the room of the log. */
const DEFAULT_RESERVE_BYTES = 128 * 1_048_576;

const DATABASES = ['pages', 'manifests'];
const [PAGES, MANIFESTS] = [0, 1] as const;

/** Reads them, beside whoever writes them. */
export class LmdbCheckpointReader implements CheckpointReader {
  readonly #reader: LmdbReader;
  readonly #kernelVersion: number;
  readonly #verifier = new PageVerifier();

  constructor(path: string, shape: LogShape) {
    this.#reader = LmdbReader.open(path, DATABASES);
    this.#kernelVersion = shape.kernelVersion;
  }

  manifest(partition: number): CheckpointManifest | undefined {
    const stored = this.#reader.get(MANIFESTS, manifestKey(partition));
    return stored && decodeManifest(stored, partition, this.#kernelVersion);
  }

  async readPages(manifest: CheckpointManifest, visit: (index: number, bytes: Uint8Array) => void): Promise<void> {
    const room = new ValueRoom(PAGE_ROOM_BYTES);
    for (let index = manifest.pages.length - 1; index >= 0; index--) {
      const key = pageKey(manifest.partition, index, manifest.pages[index]?.generation ?? 0);
      visit(index, this.#verifier.verify(manifest, index, this.#reader.get(PAGES, key, room)));
      if (index % PAGES_PER_TURN === 0) await nextTurn();
    }
  }

  stats(): CheckpointStats {
    return { ...this.#reader.stats(), pagesStored: this.#reader.count(PAGES) };
  }

  async close(): Promise<void> {
    this.#reader.close();
  }
}

export interface LmdbCheckpointsOptions {
  /** Nothing is written that would leave less free than this on its file system. */
  readonly reserveBytes?: number;
}

export class LmdbCheckpoints implements CheckpointStore {
  readonly #environment: LmdbEnvironment;
  readonly #pages: BinaryDatabase;
  readonly #manifests: BinaryDatabase;
  readonly #reader: LmdbCheckpointReader;

  /** Opens the environment in the file `path`, and makes it if it is not there. */
  constructor(path: string, shape: LogShape, { reserveBytes = DEFAULT_RESERVE_BYTES }: LmdbCheckpointsOptions = {}) {
    this.#environment = new LmdbEnvironment(path, DATABASES, { reserveBytes });
    this.#pages = this.#environment.database(PAGES);
    this.#manifests = this.#environment.database(MANIFESTS);
    this.#reader = new LmdbCheckpointReader(path, shape);
  }

  manifest(partition: number): CheckpointManifest | undefined {
    return this.#reader.manifest(partition);
  }

  readPages(manifest: CheckpointManifest, visit: (index: number, bytes: Uint8Array) => void): Promise<void> {
    return this.#reader.readPages(manifest, visit);
  }

  async removeOrphans(partition: number): Promise<AppendOutcome> {
    const manifest = this.manifest(partition);
    const end = manifestKey(partition + 1);
    for (let start = manifestKey(partition); ; ) {
      const from = start;
      const keys = this.#environment.read(() => [...this.#pages.getKeys({ start: from, end, limit: KEYS_PER_TURN })]);
      const orphans = keys.filter((key) => isOrphan(key, manifest));
      const outcome = orphans.length > 0 ? await this.#remove(orphans) : undefined;
      const last = keys.at(-1);
      if ((outcome && outcome.kind !== 'flushed') || !last || keys.length < KEYS_PER_TURN) {
        return outcome ?? { kind: 'flushed' };
      }
      // The smallest key that is greater than the last one.
      start = Buffer.concat([last, Buffer.alloc(1)]);
      await nextTurn();
    }
  }

  write(partition: number, generation: number, pages: readonly NewPage[]): Promise<AppendOutcome> {
    if (pages.length > PAGES_PER_WRITE) throw new RangeError(`${pages.length} pages in one transaction.`);
    const keys = pages.map(({ index }) => pageKey(partition, index, generation));
    return this.#environment.commit({
      bytes: pages.length * CHECKPOINT_PAGE_BYTES,
      change: () => {
        pages.forEach(({ bytes }, at) => {
          void this.#pages.put(keys[at] as Uint8Array, bytes);
        });
      },
      isAbsent: () => keys.every((key) => this.#pages.get(key) === undefined),
    });
  }

  async publish(manifest: CheckpointManifest): Promise<AppendOutcome> {
    const { partition, pages } = manifest;
    const key = manifestKey(partition);
    const before = this.manifest(partition);
    const replaced = (before?.pages ?? []).flatMap(({ generation }, index) =>
      pages[index]?.generation === generation ? [] : [pageKey(partition, index, generation)],
    );
    const value = encodeManifest(manifest);
    return this.#environment.commit({
      bytes: value.length,
      change: () => {
        void this.#manifests.put(key, value);
        for (const page of replaced) void this.#pages.remove(page);
      },
      isAbsent: () => this.manifest(partition)?.generation === before?.generation,
    });
  }

  stats(): CheckpointStats {
    return this.#reader.stats();
  }

  async close(): Promise<void> {
    await this.#reader.close();
    await this.#environment.close();
  }

  #remove(keys: readonly Uint8Array[]): Promise<AppendOutcome> {
    return this.#environment.commit({
      bytes: 0,
      change: () => {
        for (const key of keys) void this.#pages.remove(key);
      },
      isAbsent: () => keys.every((key) => this.#pages.get(key) !== undefined),
    });
  }
}

function isOrphan(key: Uint8Array, manifest: CheckpointManifest | undefined): boolean {
  const view = new DataView(key.buffer, key.byteOffset, key.length);
  return manifest?.pages[view.getUint32(2)]?.generation !== view.getUint32(6);
}

function pageKey(partition: number, page: number, generation: number): Uint8Array {
  const key = Buffer.alloc(PAGE_KEY_BYTES);
  key.writeUInt16BE(partition, 0);
  key.writeUInt32BE(page, 2);
  key.writeUInt32BE(generation, 6);
  return key;
}

function manifestKey(partition: number): Uint8Array {
  const key = Buffer.alloc(2);
  key.writeUInt16BE(partition);
  return key;
}
