import { build } from 'hdr-histogram-js';

/** Shorter latencies, in microseconds, are counted one by one at first: to record one in the histogram takes 65 ns, a tenth of what some clients take for a call. */
const COUNTED = 65_536;

/** Latencies, in a HdrHistogram of microseconds with three digits. */
class Latencies {
  #counts = new Uint32Array(COUNTED);
  #histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 600_000_000,
    numberOfSignificantValueDigits: 3,
  });

  record(microseconds) {
    if (microseconds < COUNTED) this.#counts[microseconds]++;
    else this.#histogram.recordValue(microseconds);
  }

  /** With all that was recorded. */
  get histogram() {
    // By index: an iterator takes 14 times as long, 0.35 ms and the first time 4.5, in which the load would do nothing else
    for (let microseconds = 0; microseconds < COUNTED; microseconds++) {
      const count = this.#counts[microseconds];
      if (count > 0) this.#histogram.recordValueWithCount(microseconds, count);
    }
    this.#counts.fill(0);
    return this.#histogram;
  }
}

export function latencies() {
  return new Latencies();
}

/** @param milliseconds what performance.now() counted */
export function record(latencies, milliseconds) {
  latencies.record(Math.max(1, Math.round(milliseconds * 1_000)));
}

const AT = { p50: 50, p90: 90, p99: 99, p999: 99.9, max: 100 };

/** Milliseconds. */
export function percentiles(histogram) {
  return Object.fromEntries(
    Object.entries(AT).map(([name, percentile]) => [name, histogram.getValueAtPercentile(percentile) / 1_000]),
  );
}

/** Points of a plot: how many nines, and the milliseconds there; as far as there are samples to say so. */
export function curve(histogram) {
  const points = [];
  for (let nines = 0; 10 ** nines <= histogram.totalCount; nines += 0.1) {
    points.push([nines, histogram.getValueAtPercentile(100 * (1 - 10 ** -nines)) / 1_000]);
  }
  return points;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The median, and between what the values lie. */
export function spread(values) {
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) };
}
