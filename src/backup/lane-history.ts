import { type HistoryItem, type HistoryPlace, isAfter, placeOf } from '../history/bucket.js';
import { type CopiedSlots, copyOf } from '../history/copy.js';
import { minuteKeyOf } from '../history/key.js';
import { decodeState } from '../history/partition-state.js';
import { RowCodec } from '../history/row.js';
import { type GoneCounter, rowBytes } from '../history/row-list.js';
import { openHistoryReader } from '../history/storage.js';
import type { Put } from '../history/tables.js';
import type { CheckpointManifest } from '../log/checkpoint.js';
import { corrupt } from '../log/replay.js';
import type { LaneState } from './lane-state.js';

/** Of a part of the backup. */
const PART_BYTES = 262_144;
const GONE_OF_A_PART = 10_000;
/** After so much was copied the log is read on: a server may drop what recovery does not need. */
const BYTES_BETWEEN_CATCHING_UP = 67_108_864;

/** Takes the history of partitions: its rows, the counters whose rows do not count, and at last what they are. */
export interface HistorySink {
  rows(partition: number, rows: readonly Put[]): Promise<void>;
  gone(partition: number, counters: readonly GoneCounter[]): Promise<void>;
  /** All rows up to a sequence are there, of what came from `since` on, in milliseconds since 1970. */
  history(partition: number, sequence: number, since: number): Promise<void>;
}

/** As of where the slots from one on are copied. */
type CopiedFrom = Pick<CopiedSlots, 'from' | 'place'>;

/**
 * The history of a lane for a copy of it, so that each row is in once. The history in the directory goes on, and its slots are copied as of different
 * places (src/history/copy.ts); the state comes last, from a log that has all of them by then; what the log has behind a slot's place is added.
 *
 * ```
 *  checkpoint ≤ what is in  ≤  places of the slots  ≤  the log is read to its end: the state
 *               └─────────── emitted, kept ──────────────┘
 * ```
 *
 * A checkpoint is made when all that was emitted before it is in, so the log behind it has the rest.
 */
export class LaneHistory {
  readonly #reader: ReturnType<typeof openHistoryReader>;
  readonly #codec = new RowCodec();
  readonly #partitions: readonly number[];
  readonly #sink: HistorySink;
  /** By partition, in the order of the slots. */
  readonly #copied = new Map<number, CopiedFrom[]>();
  readonly #since = new Map<number, number>();
  #bytes = 0;

  /** @throws TallystickError LOG_CORRUPT */
  constructor(directory: string, partitions: readonly number[], sink: HistorySink) {
    this.#reader = openHistoryReader(directory);
    this.#partitions = partitions;
    this.#sink = sink;
  }

  close(): void {
    this.#reader.close();
  }

  /** Up to where the history of a partition is in by now. @throws TallystickError DATA_DAMAGED */
  placeOf(partition: number): HistoryPlace {
    return decodeState(partition, this.#reader.state(partition));
  }

  /** Writes what is in, and brings the lane to where its log has all of it. @throws TallystickError DATA_DAMAGED, LOG_CORRUPT */
  async write(lane: LaneState): Promise<void> {
    for (const partition of this.#partitions) {
      const copied: CopiedFrom[] = [];
      for (const { from, place, since, rows } of copyOf(this.#reader, this.#codec, partition)) {
        copied.push({ from, place });
        this.#since.set(partition, since);
        await this.#writeRows(partition, rows);
        if (this.#bytes < BYTES_BETWEEN_CATCHING_UP) continue;
        this.#bytes = 0;
        await lane.catchUp();
      }
      this.#copied.set(partition, copied);
    }
    await lane.catchUp();
  }

  /** Writes what a partition emitted after what was copied, and since when it is known. @throws TallystickError LOG_CORRUPT */
  async writeRest({ partition, place: { sequence } }: CheckpointManifest, lane: LaneState): Promise<void> {
    const copied = this.#copied.get(partition) ?? [];
    const ahead = copied.find(({ place }) => isAfter(place, { watermark: sequence, items: 0 }));
    if (ahead) {
      throw corrupt(
        `The log of partition ${partition} ends at ${sequence}, its history is of ${ahead.place.watermark}.`,
      );
    }
    const rest = [...lane.emittedOf(partition)].filter((item) =>
      isAfter(placeOf(item), placeOfSlot(copied, item.slot)),
    );
    const gone = rest.filter(({ minutes }) => !minutes);
    const names = new Set(gone.map(nameOf));
    await this.#writeRows(partition, this.#putsOf(partition, rest, names));
    for (const some of cut(gone, () => 1, GONE_OF_A_PART)) await this.#sink.gone(partition, some);
    await this.#sink.history(partition, sequence, this.#since.get(partition) ?? 0);
  }

  *#putsOf(partition: number, items: readonly HistoryItem[], gone: ReadonlySet<string>): Generator<Put> {
    for (const item of items) {
      if (!item.minutes || gone.has(nameOf(item))) continue;
      const key = minuteKeyOf(partition, item);
      const value = this.#codec.encode('minute', key, item.minutes);
      if (value) yield { resolution: 'minute', key, value };
    }
  }

  async #writeRows(partition: number, rows: Iterable<Put>): Promise<void> {
    for (const some of cut(rows, rowBytes, PART_BYTES)) {
      await this.#sink.rows(partition, some);
      for (const row of some) this.#bytes += rowBytes(row);
    }
  }
}

const nameOf = ({ slot, generation }: GoneCounter): string => `${slot}.${generation}`;

/** As of where a slot was copied: that of the last one that begins at or before it. */
function placeOfSlot(copied: readonly CopiedFrom[], slot: number): HistoryPlace {
  let [low, high] = [0, copied.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((copied[middle] as CopiedFrom).from <= slot) low = middle + 1;
    else high = middle;
  }
  return copied[low - 1]?.place ?? { watermark: 0, items: 0 };
}

/** Cuts items into groups that come to the size, or a little more. */
function* cut<T>(items: Iterable<T>, sizeOf: (item: T) => number, most: number): Generator<T[]> {
  let some: T[] = [];
  let size = 0;
  for (const item of items) {
    some.push(item);
    size += sizeOf(item);
    if (size < most) continue;
    yield some;
    some = [];
    size = 0;
  }
  if (some.length > 0) yield some;
}
