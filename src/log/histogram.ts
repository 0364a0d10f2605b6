import { createRequire } from 'node:module';
import type * as Float64 from 'hdr-histogram-js/dist/Float64Histogram.js';

const require = createRequire(import.meta.url);
/** Not by the package's entry, which loads WebAssembly and a compressor with it: 70 ms of CPU time in each lane, instead of 5. */
const { default: Float64Histogram } = require('hdr-histogram-js/dist/Float64Histogram.js') as typeof Float64.default;

export type Histogram = InstanceType<typeof Float64Histogram>;

/** Whole numbers, with two digits. Its counts are doubles: those of 32 bits would begin again at 0, after 50 days of 1,000 a second. */
export function histogram(highestTrackableValue: number): Histogram {
  return new Float64Histogram(1, highestTrackableValue, 2);
}

const MOST_MICROSECONDS = 60_000_000;

/** A histogram of microseconds, up to a minute. */
export const microseconds = (): Histogram => histogram(MOST_MICROSECONDS);

/** Adds a duration to a histogram of microseconds; what is longer than a minute counts as one. */
export function recordMilliseconds(values: Histogram, milliseconds: number): void {
  values.recordValue(Math.min(Math.round(milliseconds * 1_000), MOST_MICROSECONDS));
}

export function percentiles(values: Histogram): Record<'p50' | 'p99' | 'p999' | 'max', number> {
  const at = (percentile: number) => (values.totalCount === 0 ? 0 : values.getValueAtPercentile(percentile));
  return { p50: at(50), p99: at(99), p999: at(99.9), max: at(100) };
}

/** Upper ends of buckets, in microseconds and in bytes. */
export const LATENCY_BOUNDS = [
  100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000,
] as const;
export const SIZE_BOUNDS = [256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304] as const;

/** What STATS tells of a histogram: since the start, for people, and to be compared with what was told before. */
export interface Distribution extends Record<'p50' | 'p99' | 'p999' | 'max' | 'count' | 'sum', number> {
  /** For each bound how many values were no larger, to two digits. */
  readonly upTo: Record<string, number>;
}

export function distribution(values: Histogram, bounds: readonly number[]): Distribution {
  const upTo: Record<string, number> = {};
  let index = 0;
  let count = 0;
  for (const bound of bounds) {
    for (const end = values.countsArrayIndex(bound); index <= end; index++) count += values.getCountAtIndex(index);
    upTo[bound] = count;
  }
  const sum = Math.round(values.mean * values.totalCount);
  return { ...percentiles(values), count: values.totalCount, sum, upTo };
}
