import { build, type Histogram } from 'hdr-histogram-js';

export type { Histogram };

/** A histogram of whole numbers up to that one, with two digits. */
export function histogram(highestTrackableValue: number): Histogram {
  return build({ lowestDiscernibleValue: 1, highestTrackableValue, numberOfSignificantValueDigits: 2 });
}

/** A histogram of microseconds, up to a minute. */
export const microseconds = (): Histogram => histogram(60_000_000);

export function percentiles(values: Histogram): Record<'p50' | 'p99' | 'p999' | 'max', number> {
  const at = (percentile: number) => (values.totalCount === 0 ? 0 : values.getValueAtPercentile(percentile));
  return { p50: at(50), p99: at(99), p999: at(99.9), max: at(100) };
}
