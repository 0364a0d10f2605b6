import { DataDirectory } from '../directory.js';
import { KERNEL_VERSION } from '../partition/partition.js';
import { BackupWriter, type ByteSink } from './backup-file.js';
import { copyLane, type LaneSink } from './copy-lane.js';

export interface TakenBackup {
  /** SHA-256 in hexadecimal. */
  readonly checksum: string;
  readonly bytes: number;
  readonly counters: number;
  /** The last change of each partition that is in it, by the partition's number. */
  readonly positions: readonly number[];
}

/**
 * Writes the state and the history of a data directory, which a server may have open, as of one place of each lane's log.
 *
 * @param milliseconds when: since 1970
 * @param progressed is told how many partitions are written, and of how many
 * @throws TallystickError DIRECTORY_INVALID, LOG_CORRUPT, DATA_DAMAGED, and what the sink throws
 */
export async function takeBackup(
  dataDir: string,
  kernel: WebAssembly.Module,
  milliseconds: number,
  sink: ByteSink,
  progressed: (bytes: number, partitions: number) => void,
): Promise<TakenBackup> {
  const { epoch, secret, lanes } = DataDirectory.look(dataDir);
  const writer = new BackupWriter(sink);
  const partitions = lanes.flatMap((lane) => lane.partitions).length;
  await writer.header({ kernelVersion: KERNEL_VERSION, partitions, epoch, milliseconds, secret });
  const positions: number[] = [];
  let written = 0;
  let counters = 0;
  const told = async (part: Promise<void>) => {
    await part;
    progressed(writer.bytes, written);
  };
  const parts: LaneSink = {
    rows: (partition, rows) => told(writer.rows(partition, rows)),
    gone: (partition, gone) => told(writer.gone(partition, gone)),
    history: (partition, sequence, since) => told(writer.history(partition, sequence, since)),
    state: async (manifest, partition) => {
      await writer.state(manifest);
      for (let index = manifest.pages.length - 1; index >= 0; index--) await told(writer.page(partition.page(index)));
      positions[manifest.partition] = manifest.place.sequence;
      counters += partition.statistics.counters;
      progressed(writer.bytes, ++written);
    },
  };
  for (const lane of lanes) await copyLane(lane, kernel, milliseconds, parts);
  return { checksum: await writer.end(), bytes: writer.bytes, counters, positions };
}
