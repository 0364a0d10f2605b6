import { DataDirectory, type LanePlace } from '../directory.js';
import { TallystickError } from '../errors.js';
import { type CheckpointManifest, type CheckpointStore, type NewPage, PAGES_PER_WRITE } from '../log/checkpoint.js';
import { createLaneStorage, openCheckpoints } from '../log/lane-storage.js';
import type { AppendOutcome, ChainHead } from '../log/log.js';
import { KERNEL_VERSION } from '../partition/partition.js';
import { BackupReader } from './backup-file.js';

export interface Restored {
  /** SHA-256 of the backup in hexadecimal. */
  readonly checksum: string;
  readonly epoch: number;
  readonly partitions: number;
  readonly lanes: number;
}

/**
 * Makes a data directory of a backup, under a new epoch. Its log is empty and begins where the backup ends. If the process
 * dies on the way, what is there is no directory that a server takes.
 *
 * @param lanes of the new directory
 * @param progressed is told how many bytes and partitions were read
 * @throws TallystickError BACKUP_INVALID, DIRECTORY_INVALID, CONFIG_INVALID, STORAGE_FULL, STORAGE_FAILED
 */
export async function restoreBackup(
  source: AsyncIterable<Uint8Array>,
  dataDir: string,
  lanes: number,
  progressed: (bytes: number, partitions: number) => void,
): Promise<Restored> {
  const reader = new BackupReader(source);
  const { partitions, secret } = await reader.header(KERNEL_VERSION);
  const directory = DataDirectory.createForRestore(dataDir, { lanes, partitions }, secret);
  try {
    const targets = directory.lanes.map((place) => new LaneTarget(place));
    try {
      for (let read = 0; read < partitions; read++) {
        const manifest = await reader.partition();
        const target = targets.find(({ place }) => place.partitions.includes(manifest.partition));
        if (!target || target.heads.has(manifest.partition)) {
          throw new TallystickError('BACKUP_INVALID', `partition ${manifest.partition} is not one of its partitions.`);
        }
        await target.take(manifest, reader, () => progressed(reader.bytes, read));
        progressed(reader.bytes, read + 1);
      }
    } finally {
      for (const target of targets) await target.close();
    }
    const checksum = await reader.end();
    for (const target of targets) await target.begin();
    directory.markReady();
    return { checksum, epoch: directory.manifest.epoch, partitions, lanes: targets.length };
  } finally {
    directory.close();
  }
}

/** A lane of the new directory: its checkpoints, and at last a log that begins where they end. */
class LaneTarget {
  readonly place: LanePlace;
  readonly heads = new Map<number, ChainHead>();
  #checkpoints: CheckpointStore | undefined;

  constructor(place: LanePlace) {
    this.place = place;
  }

  /** Stores the partition whose manifest was just read. */
  async take(manifest: CheckpointManifest, reader: BackupReader, progressed: () => void): Promise<void> {
    const { partition, pages, place } = manifest;
    const { sequence, hash } = place;
    this.#checkpoints ??= await openCheckpoints(this.place.path, this.#shape);
    const store = this.#checkpoints;
    for (let index = pages.length - 1; index >= 0; ) {
      const batch: NewPage[] = [];
      for (; index >= 0 && batch.length < PAGES_PER_WRITE; index--) {
        batch.push({ index, bytes: (await reader.page(manifest, index)).slice() });
      }
      mustBeFlushed(await store.write(partition, 1, batch));
      progressed();
    }
    const fresh = pages.map((page) => ({ ...page, generation: 1 }));
    const begin = { group: 0, records: 0, bytes: 0, sequence, hash };
    mustBeFlushed(await store.publish({ ...manifest, generation: 1, place: begin, pages: fresh }));
    this.heads.set(partition, { sequence, hash });
  }

  async close(): Promise<void> {
    await this.#checkpoints?.close();
  }

  async begin(): Promise<void> {
    await createLaneStorage(this.place.path, this.#shape, { group: 0, records: 0, bytes: 0, heads: this.heads });
  }

  get #shape() {
    return { partitions: this.place.partitions, kernelVersion: KERNEL_VERSION };
  }
}

function mustBeFlushed(outcome: AppendOutcome): void {
  if (outcome.kind !== 'flushed') throw outcome.error;
}
