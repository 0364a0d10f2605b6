import { mkdir } from 'node:fs/promises';
import type { LanePlace } from '../directory.js';
import { TallystickError } from '../errors.js';
import { History } from '../history/history.js';
import type { GoneCounter } from '../history/row-list.js';
import { createHistory, openHistory } from '../history/storage.js';
import type { Put } from '../history/tables.js';
import { type CheckpointManifest, type CheckpointStore, type NewPage, PAGES_PER_WRITE } from '../log/checkpoint.js';
import { createLaneStorage, openCheckpoints } from '../log/lane-storage.js';
import type { AppendOutcome, ChainHead } from '../log/log.js';
import { KERNEL_VERSION } from '../partition/partition.js';
import { timeOfState } from '../partition/partition-state.js';

const MINUTE = 60_000;
/** The time of an increment may lie so far ahead of the clock. */
const MINUTES_AHEAD = 1;

/** All that a partition has for its history up to a sequence, of what came from `since` on, in milliseconds since 1970. */
export interface KnownHistory {
  readonly sequence: number;
  readonly since: number;
}

/** A lane of a directory in the making: a checkpoint of each partition, and at last a log that begins where they end. */
export class LaneTarget {
  readonly place: LanePlace;
  readonly heads = new Map<number, ChainHead>();
  /** For each partition the milliseconds of its last body. */
  readonly #times = new Map<number, number>();
  readonly #histories = new Map<number, KnownHistory>();
  #checkpoints: CheckpointStore | undefined;
  #history: History | undefined;

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

  /** Stores rows of the history of a partition. @throws TallystickError STORAGE_FULL, STORAGE_FAILED */
  async takeRows(partition: number, rows: readonly Put[]): Promise<void> {
    mustBeFlushed(await (await this.#opened()).adopt(partition, rows));
  }

  /** Removes the rows of counters. @throws TallystickError STORAGE_FULL, STORAGE_FAILED */
  async removeRows(partition: number, counters: readonly GoneCounter[]): Promise<void> {
    mustBeFlushed(await (await this.#opened()).forget(partition, counters));
  }

  /** Says what the rows are that were taken of a partition. */
  knowsHistory(partition: number, known: KnownHistory): void {
    this.#histories.set(partition, known);
  }

  async close(): Promise<void> {
    await this.#checkpoints?.close();
    this.#checkpoints = undefined;
    await this.#history?.close();
    this.#history = undefined;
  }

  /** Once all partitions are there, and it is closed. Of what was before, a history that was not taken knows nothing. */
  async begin(): Promise<void> {
    const history = await this.#opened();
    try {
      for (const [partition, { sequence }] of this.heads) {
        const known = this.#histories.get(partition) ?? { sequence, since: this.#afterState(partition) };
        if (known.sequence !== sequence) {
          const detail = `the history of partition ${partition} is of sequence ${known.sequence}, its state of ${sequence}.`;
          throw new TallystickError('BACKUP_INVALID', detail);
        }
        mustBeFlushed(await history.begin(partition, sequence, known.since));
      }
    } finally {
      await this.close();
    }
    await createLaneStorage(this.place.path, this.#shape, {
      begin: { group: 0, records: 0, bytes: 0, heads: this.heads },
    });
  }

  /** The first minute of which the state of a partition has nothing yet. */
  #afterState(partition: number): number {
    return (Math.floor((this.#times.get(partition) ?? 0) / MINUTE) + 1 + MINUTES_AHEAD) * MINUTE;
  }

  async #opened(): Promise<History> {
    if (this.#history) return this.#history;
    await mkdir(this.place.path, { recursive: true, mode: 0o700 });
    await createHistory(this.place.path);
    this.#history = new History(openHistory(this.place.path));
    return this.#history;
  }

  get #shape() {
    return { partitions: this.place.partitions, kernelVersion: KERNEL_VERSION };
  }
}

function mustBeFlushed(outcome: AppendOutcome): void {
  if (outcome.kind !== 'flushed') throw outcome.error;
}
