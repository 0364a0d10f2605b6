import { DataDirectory } from '../directory.js';
import { TallystickError } from '../errors.js';
import { KERNEL_VERSION } from '../partition/partition.js';
import { type BackupPart, BackupReader } from './backup-file.js';
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
      for (let states = 0; states < partitions; ) {
        const part = await reader.part();
        const target = targets.find(({ place }) => place.partitions.includes(part.partition));
        if (!target || target.heads.has(part.partition)) {
          throw new TallystickError('BACKUP_INVALID', `partition ${part.partition} is not one of its partitions.`);
        }
        await take(target, part, reader, () => progressed(reader.bytes, states));
        if (part.kind === 'state') states++;
        progressed(reader.bytes, states);
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

async function take(target: LaneTarget, part: BackupPart, reader: BackupReader, progressed: () => void): Promise<void> {
  const { partition } = part;
  if (part.kind === 'rows') await target.takeRows(partition, part.rows);
  else if (part.kind === 'gone') await target.removeRows(partition, part.counters);
  else if (part.kind === 'history') target.knowsHistory(partition, part);
  else await target.take(part.manifest, (index) => reader.page(part.manifest, index), progressed);
}
