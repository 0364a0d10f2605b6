import type { LanePlace } from '../directory.js';
import { History } from '../history/history.js';
import { createHistory, openHistory } from '../history/storage.js';
import { type CheckpointManifest, type CheckpointStore, type NewPage, PAGES_PER_WRITE } from '../log/checkpoint.js';
import { createLaneStorage, openCheckpoints } from '../log/lane-storage.js';
import type { AppendOutcome, ChainHead } from '../log/log.js';
import { KERNEL_VERSION, timeOfState } from '../partition/partition.js';

const MINUTE = 60_000;
/** The time of an increment may lie so far ahead of the clock. */
const MINUTES_AHEAD = 1;

/** A lane of a directory in the making: a checkpoint of each partition, and at last a log that begins where they end. */
export class LaneTarget {
  readonly place: LanePlace;
  readonly heads = new Map<number, ChainHead>();
  /** For each partition the milliseconds of its last body. */
  readonly #times = new Map<number, number>();
  #checkpoints: CheckpointStore | undefined;

  constructor(place: LanePlace) {
    this.place = place;
  }

  /**
   * Stores the state that a manifest describes. The log of the new directory begins at its sequence.
   *
   * @param pageOf is asked for the pages from the last to the first
   * @throws TallystickError STORAGE_FULL, STORAGE_FAILED
   */
  async take(
    manifest: CheckpointManifest,
    pageOf: (index: number) => Uint8Array | Promise<Uint8Array>,
    progressed: () => void = () => {},
  ): Promise<void> {
    const { partition, pages, place } = manifest;
    const { sequence, hash } = place;
    this.#checkpoints ??= await openCheckpoints(this.place.path, this.#shape);
    const store = this.#checkpoints;
    for (let index = pages.length - 1; index >= 0; ) {
      const batch: NewPage[] = [];
      for (; index >= 0 && batch.length < PAGES_PER_WRITE; index--) {
        batch.push({ index, bytes: (await pageOf(index)).slice() });
      }
      if (index < 0) this.#times.set(partition, timeOfState((batch.at(-1) as NewPage).bytes));
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

  /** Once all partitions are there, and it is closed. Of what was before, its history knows nothing. */
  async begin(): Promise<void> {
    await createHistory(this.place.path);
    const history = new History(openHistory(this.place.path));
    try {
      for (const [partition, { sequence }] of this.heads) {
        const since = (Math.floor((this.#times.get(partition) ?? 0) / MINUTE) + 1 + MINUTES_AHEAD) * MINUTE;
        mustBeFlushed(await history.begin(partition, sequence, since));
      }
    } finally {
      await history.close();
    }
    await createLaneStorage(this.place.path, this.#shape, {
      begin: { group: 0, records: 0, bytes: 0, heads: this.heads },
    });
  }

  get #shape() {
    return { partitions: this.place.partitions, kernelVersion: KERNEL_VERSION };
  }
}

function mustBeFlushed(outcome: AppendOutcome): void {
  if (outcome.kind !== 'flushed') throw outcome.error;
}
