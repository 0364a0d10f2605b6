import { TallystickError } from '../errors.js';
import { recover } from '../lane/recovery.js';
import type { CheckpointManifest } from '../log/checkpoint.js';
import { closeLaneStorage, openLaneStorage } from '../log/lane-storage.js';
import { KERNEL_VERSION, Partition } from '../partition/partition.js';

/** The partitions of a lane as its storage has them, and where its log ends: read beside a server that may go on writing. */

export interface PartitionState {
  readonly partition: Partition;
  /** For the state as a checkpoint. */
  readonly manifest: CheckpointManifest;
}

/** A server that publishes a checkpoint or drops a segment in the middle of a reading takes away what it was about to read. */
const ATTEMPTS = 5;

/**
 * Recovers the lane in `directory` into partitions of its own, as a server does at start, without changing anything.
 * What it comes to is one place of the log: everything up to a flushed group, and nothing after it.
 *
 * @param milliseconds when: since 1970
 * @throws TallystickError LOG_CORRUPT, DIRECTORY_INVALID
 */
export async function readLaneState(
  directory: string,
  partitions: readonly number[],
  kernel: WebAssembly.Module,
  milliseconds: number,
): Promise<PartitionState[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await read(directory, partitions, kernel, milliseconds);
    } catch (error) {
      // What is really damaged is so the next time too.
      const mayHaveMoved = error instanceof TallystickError && error.code === 'LOG_CORRUPT';
      if (!mayHaveMoved || attempt === ATTEMPTS) throw error;
    }
  }
}

async function read(
  directory: string,
  numbers: readonly number[],
  kernel: WebAssembly.Module,
  milliseconds: number,
): Promise<PartitionState[]> {
  const shape = { partitions: numbers, kernelVersion: KERNEL_VERSION };
  const storage = await openLaneStorage(directory, shape, { readOnly: true, isGrowing: true });
  try {
    const partitions = new Map(numbers.map((number) => [number, new Partition(kernel)]));
    const end = await recover(storage, partitions);
    return [...partitions].map(([number, partition]) => {
      const { group, records, bytes } = end;
      const { sequence, hash } = end.heads.get(number) ?? { sequence: 0, hash: 0n };
      const place = { group, records, bytes, sequence, hash };
      return { partition, manifest: describe(number, partition, place, milliseconds) };
    });
  } finally {
    await closeLaneStorage(storage);
  }
}

/** The state of a partition at some place, as a checkpoint. */
export function describe(
  number: number,
  partition: Partition,
  place: CheckpointManifest['place'],
  milliseconds: number,
): CheckpointManifest {
  const pages = Array.from({ length: partition.pages }, (_, index) => ({
    generation: 1,
    hash: partition.hashPages(index, 1),
  }));
  return { partition: number, kernelVersion: KERNEL_VERSION, generation: 1, place, milliseconds, pages };
}
