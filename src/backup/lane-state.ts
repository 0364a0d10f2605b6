import { TallystickError } from '../errors.js';
import type { HistoryItem, HistoryPlace } from '../history/bucket.js';
import { replayBehind, restoreCheckpoints } from '../lane/recovery.js';
import type { CheckpointManifest } from '../log/checkpoint.js';
import { closeLaneStorage, type LaneStorage, openLaneStorage } from '../log/lane-storage.js';
import type { ReplayEnd } from '../log/log.js';
import { decodeEmitted } from '../partition/emitted.js';
import { KERNEL_VERSION, Partition } from '../partition/partition.js';

/** The partitions of a lane as its storage has them, and where its log ends: read beside a server that may go on writing. */

export interface PartitionState {
  readonly partition: Partition;
  /** For the state as a checkpoint. */
  readonly manifest: CheckpointManifest;
}

type Partitions = ReadonlyMap<number, Partition>;

/** A server that publishes a checkpoint or drops a segment in the middle of a reading takes away what it was about to read. */
const ATTEMPTS = 5;
const EVERYTHING: HistoryPlace = { watermark: Number.MAX_SAFE_INTEGER, items: 0 };

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
  const state = await LaneState.read(directory, partitions, kernel, () => EVERYTHING);
  return state.describe(milliseconds);
}

/** Of a partition what one body emitted, for its history. */
interface EmittedOfBody {
  readonly asOf: number;
  /** The bytes of src/partition/emitted.ts, a copy. */
  readonly bytes: Uint8Array;
}

/** A lane that is recovered, and may be brought on to where its log ends by now. */
export class LaneState {
  readonly partitions: Partitions;
  readonly #directory: string;
  readonly #emitted: ReadonlyMap<number, EmittedOfBody[]>;
  #end: ReplayEnd;

  private constructor(
    directory: string,
    partitions: Partitions,
    emitted: Map<number, EmittedOfBody[]>,
    end: ReplayEnd,
  ) {
    this.#directory = directory;
    this.partitions = partitions;
    this.#emitted = emitted;
    this.#end = end;
  }

  /**
   * @param known what of the history need not be kept; asked when the checkpoints are loaded, so that all that was emitted before them is in
   * @throws TallystickError LOG_CORRUPT, DIRECTORY_INVALID
   */
  static async read(
    directory: string,
    numbers: readonly number[],
    kernel: WebAssembly.Module,
    known: (partition: number) => HistoryPlace,
  ): Promise<LaneState> {
    for (let attempt = 1; ; attempt++) {
      const partitions = new Map(numbers.map((number) => [number, new Partition(kernel)]));
      const emitted = new Map(numbers.map((number): [number, EmittedOfBody[]] => [number, []]));
      try {
        const end = await withStorage(directory, numbers, async (storage) => {
          const manifests = await restoreCheckpoints(storage, partitions);
          const places = new Map(numbers.map((number) => [number, known(number)]));
          return replayBehind(storage, manifests, partitions, (number) =>
            keepEmitted(partitions, emitted, number, places.get(number)),
          );
        });
        return new LaneState(directory, partitions, emitted, end);
      } catch (error) {
        // What is really damaged is so the next time too.
        const mayHaveMoved = error instanceof TallystickError && error.code === 'LOG_CORRUPT';
        if (!mayHaveMoved || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** @throws TallystickError LOG_CORRUPT, also where the server has dropped what comes next; DIRECTORY_INVALID */
  async catchUp(): Promise<void> {
    const numbers = [...this.partitions.keys()];
    const from = new Map(numbers.map((number) => [number, { place: this.#placeOf(number) }]));
    this.#end = await withStorage(this.#directory, numbers, (storage) =>
      replayBehind(storage, from, this.partitions, (number) => keepEmitted(this.partitions, this.#emitted, number)),
    );
  }

  /** What a partition has emitted that was not known, in order. */
  *emittedOf(partition: number): Generator<HistoryItem> {
    for (const { asOf, bytes } of this.#emitted.get(partition) ?? []) {
      let index = 0;
      for (const { slot, generation, hour, minutes } of decodeEmitted(bytes)) {
        const item = { slot, generation, asOf, index: index++ };
        yield minutes ? { ...item, hour, minutes } : item;
      }
    }
  }

  describe(milliseconds: number): PartitionState[] {
    return [...this.partitions].map(([number, partition]) => ({
      partition,
      manifest: describe(number, partition, this.#placeOf(number), milliseconds),
    }));
  }

  #placeOf(number: number): CheckpointManifest['place'] {
    const { group, records, bytes, heads } = this.#end;
    const { sequence, hash } = heads.get(number) ?? { sequence: 0, hash: 0n };
    return { group, records, bytes, sequence, hash };
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

/** Keeps what the body emitted that a partition applied last, unless all of it is known. */
function keepEmitted(
  partitions: Partitions,
  emitted: ReadonlyMap<number, EmittedOfBody[]>,
  number: number,
  known?: HistoryPlace,
): void {
  const partition = partitions.get(number);
  if (!partition?.hasEmitted || (known && partition.sequence <= known.watermark)) return;
  emitted.get(number)?.push({ asOf: partition.sequence, bytes: partition.emitted.slice() });
}

async function withStorage<T>(
  directory: string,
  partitions: readonly number[],
  use: (storage: LaneStorage) => Promise<T>,
): Promise<T> {
  const shape = { partitions, kernelVersion: KERNEL_VERSION };
  const storage = await openLaneStorage(directory, shape, { readOnly: true, isGrowing: true });
  try {
    return await use(storage);
  } finally {
    await closeLaneStorage(storage);
  }
}
