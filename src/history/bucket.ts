/**
 * What history keeps: sums of the deltas of a counter, by minute, by hour or by day, all of UTC. A row holds the sums of a
 * span, so that spans nest: 60 minutes are an hour, 24 hours a day, 64 days stand together for ever.
 */

export type Resolution = 'minute' | 'hour' | 'day';

/** From the finest to the coarsest. */
export const RESOLUTIONS: readonly Resolution[] = ['minute', 'hour', 'day'];

/** How long a bucket of each resolution is. */
export const MILLISECONDS: Readonly<Record<Resolution, number>> = {
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
};

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

/** What a partition emits of one counter and one hour. Several rows of one hour add up. */
export interface HistoryRow {
  readonly slot: number;
  readonly generation: number;
  /** Hours since 1970. */
  readonly hour: number;
  /** The sequence of the body that caused it. */
  readonly asOf: number;
  /** The net deltas of its 60 minutes. */
  readonly minutes: Sums;
}

/** The net sum of the deltas from `start`, in milliseconds since 1970, for as long as the resolution says. */
export interface Bucket {
  readonly resolution: Resolution;
  readonly start: number;
  readonly sum: bigint;
}

export const endOf = ({ start, resolution }: Bucket): number => start + MILLISECONDS[resolution];

/** What is kept of a counter, as far as the partition's log is in: up to and with the sequence `watermark`. */
export interface Kept {
  readonly watermark: number;
  /** By start, the coarser first, without those in which nothing happened. They may lie within each other, and add up. */
  readonly buckets: readonly Bucket[];
}

/** Adds buckets up. */
export class BucketSums {
  /** By the number of the row. */
  readonly #rows: Readonly<Record<Resolution, Map<number, (bigint | undefined)[]>>> = {
    minute: new Map(),
    hour: new Map(),
    day: new Map(),
  };

  /** @param start of a bucket, in milliseconds */
  add(resolution: Resolution, start: number, sum: bigint): void {
    const unit = start / MILLISECONDS[resolution];
    const row = this.#row(resolution, Math.floor(unit / UNITS[resolution]));
    const at = unit % UNITS[resolution];
    row[at] = (row[at] ?? 0n) + sum;
  }

  /** Adds the sums of the row number `at` of a resolution. */
  addRow(resolution: Resolution, at: number, sums: Sums): void {
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
    // Three sorted runs, of which the coarser is the first.
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
 * Adds what is not stored yet to what is kept of a counter: the rows that were emitted, of which those that are in already are
 * not added again, and the hours that are open.
 */
export function withPending(
  { watermark, buckets }: Kept,
  rows: readonly HistoryRow[],
  open: readonly OpenHour[],
): Kept {
  const pending = rows.filter(({ asOf }) => asOf > watermark);
  const sums = new BucketSums();
  for (const { resolution, start, sum } of buckets) sums.add(resolution, start, sum);
  for (const { hour, minutes } of [...pending, ...open]) sums.addRow('minute', hour, minutes);
  return {
    watermark: pending.reduce((last, { asOf }) => Math.max(last, asOf), watermark),
    buckets: sums.within(0, Number.POSITIVE_INFINITY),
  };
}
