import { DataDirectory } from '../directory.js';
import { TallystickError } from '../errors.js';
import { KERNEL_VERSION } from '../partition/partition.js';
import { BackupReader } from './backup-file.js';
import { LaneTarget } from './lane-target.js';

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
        await target.take(
          manifest,
          (index) => reader.page(manifest, index),
          () => progressed(reader.bytes, read),
        );
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
