import { type Bucket, endOf, MILLISECONDS, RESOLUTIONS, type Resolution } from '../series/bucket.js';

/**
 * What history keeps in its rows: the sums of a span, so that spans nest: 60 minutes are an hour, 24 hours a day, 64 days stand
 * together until they are dropped, if they ever are.
 */

/** The buckets of a row. */
export const UNITS: Readonly<Record<Resolution, number>> = { minute: 60, hour: 24, day: 64 };

/** The span of a row. */
export const rowMilliseconds = (resolution: Resolution): number => UNITS[resolution] * MILLISECONDS[resolution];

/** The sums of a row; undefined where nothing happened, which is more than that it came to 0. */
export type Sums = ArrayLike<bigint | undefined>;

/** Undefined where nothing happened in any of them. */
export function sumOf(sums: Sums): bigint | undefined {
  let total: bigint | undefined;
  for (let unit = 0; unit < sums.length; unit++) {
    const sum = sums[unit];
    if (sum !== undefined) total = (total ?? 0n) + sum;
  }
  return total;
}

/** A counter of one life of its slot. */
export interface CounterKey {
  readonly partition: number;
  readonly slot: number;
  readonly generation: number;
}

/** A place in what a partition emits: the items of all sequences up to `watermark`, and the first so many of the next. */
export interface HistoryPlace {
  readonly watermark: number;
  readonly items: number;
}

export const isAfter = (one: HistoryPlace, other: HistoryPlace): boolean =>
  one.watermark > other.watermark || (one.watermark === other.watermark && one.items > other.items);

/** Of what a partition emits, where one item stands. */
interface Emitted {
  readonly slot: number;
  readonly generation: number;
  /** The sequence of the body that caused it. */
  readonly asOf: number;
  /** Its number among the items of that sequence. */
  readonly index: number;
}

/** What a partition emits of one counter and one hour. Several rows of one hour add up. */
export interface HistoryRow extends Emitted {
  /** Hours since 1970. */
  readonly hour: number;
  /** The net deltas of its 60 minutes. */
  readonly minutes: Sums;
}

/** A counter is gone: what was kept of it goes too. */
export interface Forgotten extends Emitted {
  readonly minutes?: never;
}

export type HistoryItem = HistoryRow | Forgotten;

/** The place of what is up to and with an item. */
export const placeOf = ({ asOf, index }: Pick<Emitted, 'asOf' | 'index'>): HistoryPlace => ({
  watermark: asOf - 1,
  items: index + 1,
});

/** What is kept of a counter, as far as what its partition emitted is in. */
export interface Kept extends HistoryPlace {
  /** By start, the coarser first, without those in which nothing happened. They may lie within each other, and add up. */
  readonly buckets: readonly Bucket[];
}

/** What the minutes of an answer are: themselves, or added up by the hour. */
export type Fineness = 'minute' | 'hour';

/** Adds buckets up. */
export class BucketSums {
  readonly #finest: Fineness;
  /** Of minutes, by the hour, where they are asked for so. */
  readonly #hours = new Map<number, bigint>();
  /** By the number of the row. */
  readonly #rows: Readonly<Record<Resolution, Map<number, (bigint | undefined)[]>>> = {
    minute: new Map(),
    hour: new Map(),
    day: new Map(),
  };

  constructor(finest: Fineness) {
    this.#finest = finest;
  }

  /** Adds a bucket that is as fine as these are. */
  add({ resolution, start, sum, span }: Bucket): void {
    if (span) {
      this.addHour(start / MILLISECONDS.hour, sum);
      return;
    }
    const unit = start / MILLISECONDS[resolution];
    const row = this.#row(resolution, Math.floor(unit / UNITS[resolution]));
    const at = unit % UNITS[resolution];
    row[at] = (row[at] ?? 0n) + sum;
  }

  /** Adds what the minutes of an hour come to, where they are added up. */
  addHour(hour: number, sum: bigint): void {
    this.#hours.set(hour, (this.#hours.get(hour) ?? 0n) + sum);
  }

  /** Adds the sums of the row number `at` of a resolution. */
  addRow(resolution: Resolution, at: number, sums: Sums): void {
    if (resolution === 'minute' && this.#finest === 'hour') {
      const sum = sumOf(sums);
      if (sum !== undefined) this.addHour(at, sum);
      return;
    }
    const row = this.#row(resolution, at);
    for (let unit = 0; unit < row.length; unit++) {
      const sum = sums[unit];
      if (sum !== undefined) row[unit] = (row[unit] ?? 0n) + sum;
    }
  }

  /** Those that reach into `[from, to)`, by start, the coarser first. */
  within(from: number, to: number): Bucket[] {
    const found: Bucket[] = [];
    for (const resolution of [...RESOLUTIONS].reverse()) {
      const length = MILLISECONDS[resolution];
      for (const [at, sums] of [...this.#rows[resolution]].sort(([a], [b]) => a - b)) {
        let start = at * rowMilliseconds(resolution);
        for (const sum of sums) {
          if (sum !== undefined && start < to && start + length > from) found.push({ resolution, start, sum });
          start += length;
        }
      }
    }
    for (const [hour, sum] of [...this.#hours].sort(([a], [b]) => a - b)) {
      const bucket: Bucket = { resolution: 'minute', span: 'hour', start: hour * MILLISECONDS.hour, sum };
      if (bucket.start < to && endOf(bucket) > from) found.push(bucket);
    }
    // Sorted runs, of which the coarser is the first.
    return found.sort((a, b) => a.start - b.start);
  }

  #row(resolution: Resolution, at: number): (bigint | undefined)[] {
    const rows = this.#rows[resolution];
    const row = rows.get(at) ?? new Array<undefined>(UNITS[resolution]).fill(undefined);
    rows.set(at, row);
    return row;
  }
}

/** The minutes of an hour that the kernel has not emitted: it is not over. */
export type OpenHour = Pick<HistoryRow, 'hour' | 'minutes'>;

/**
 * The buckets of a counter with what is not stored yet: the rows that were emitted, of which those that are in already are not added
 * again, and the hours that are open.
 */
export function withPending(
  kept: Kept,
  rows: readonly HistoryRow[],
  open: readonly OpenHour[],
  finest: Fineness = 'minute',
): Bucket[] {
  const sums = new BucketSums(finest);
  for (const bucket of kept.buckets) sums.add(bucket);
  const pending = rows.filter((row) => isAfter(placeOf(row), kept));
  for (const { hour, minutes } of [...pending, ...open]) sums.addRow('minute', hour, minutes);
  return sums.within(0, Number.POSITIVE_INFINITY);
}
