import { type Bucket, endOf, lengthOf, MILLISECONDS, type Resolution } from './bucket.js';
import type { Steps } from './steps.js';

/**
 * Answers from buckets of different resolutions. All are exact for the time that they name, or say that they are not:
 *
 * - Where only buckets are kept that are longer than the steps, a point is as long as the bucket.
 * - A bucket that lies across the edge between two points (an hour of UTC across midnight in Kolkata) counts where it begins,
 *   and both points are not exact. Nothing is divided by guess.
 *
 * The buckets are those of `History.read` for at least the time that is asked for, with what is not closed or not stored yet
 * added (`withPending`).
 */

interface Answer {
  /** The coarsest resolution of the buckets that have a part in it; minute where nothing happened. */
  readonly resolution: Resolution;
  readonly exact: boolean;
}

/** The net sum of the deltas in `[start, end)`. */
export interface Point extends Answer {
  readonly start: number;
  readonly end: number;
  readonly sum: bigint;
}

interface OpenPoint {
  start: number;
  end: number;
  sum: bigint;
  resolution: Resolution;
  exact: boolean;
}

/** The points of a series, one after the other without a gap. */
export function series(buckets: readonly Bucket[], steps: Steps): Point[] {
  const points = pointsOf(edgesOf(buckets, steps));
  for (const bucket of buckets) {
    const { start, sum } = bucket;
    const end = endOf(bucket);
    // The first point that ends after the bucket begins.
    let at = firstAbove(points.length, (index) => (points[index] as OpenPoint).end, start);
    const first = points[at];
    if (!first || first.start >= end) continue;
    const begins = start >= first.start;
    if (begins) first.sum += sum;
    const whole = begins && end <= first.end;
    for (let point = points[at]; point && point.start < end; point = points[++at]) {
      point.exact &&= whole;
      point.resolution = coarser(point.resolution, bucket.resolution);
    }
  }
  return points;
}

/** The net sum of the deltas in `[from, to)`, or in the time around it that is kept. */
export function range(buckets: readonly Bucket[], from: number, to: number): Point {
  const start = Math.min(minuteOf(from), ...across(buckets, from).map((bucket) => bucket.start));
  const end = Math.max(minuteEnd(to), ...across(buckets, to).map(endOf));
  const within = buckets.filter((bucket) => bucket.start >= start && endOf(bucket) <= end);
  return {
    ...{ start, end, sum: total(within), resolution: coarsest(within) },
    exact: start === from && end === to,
  };
}

export interface ValueAt extends Answer {
  readonly value: bigint;
  /** The instant before which all deltas are in the value, and from which none is: that asked for, or the next that is kept. */
  readonly at: number;
}

/**
 * The value that a counter had at an instant: its value less what came since.
 *
 * @param buckets with all deltas from `instant` up to the present, those of open hours too
 */
export function valueAt(present: bigint, buckets: readonly Bucket[], instant: number): ValueAt {
  const unsure = across(buckets, instant);
  const at = Math.max(minuteEnd(instant), ...unsure.map(endOf));
  const since = buckets.filter(({ start }) => start >= at);
  return {
    ...{ value: present - total(since), at },
    resolution: coarsest([...since, ...unsure]),
    exact: at === instant,
  };
}

/** Within a minute nothing is known for sure: one whose deltas come to 0 has no bucket. */
const minuteOf = (instant: number): number => Math.floor(instant / MILLISECONDS.minute) * MILLISECONDS.minute;
const minuteEnd = (instant: number): number => Math.ceil(instant / MILLISECONDS.minute) * MILLISECONDS.minute;

const total = (buckets: readonly Bucket[]): bigint => buckets.reduce((sum, bucket) => sum + bucket.sum, 0n);

/** Those that begin before an instant and end after it. */
function across(buckets: readonly Bucket[], instant: number): Bucket[] {
  return buckets.filter((bucket) => bucket.start < instant && endOf(bucket) > instant);
}

function coarser(a: Resolution, b: Resolution): Resolution {
  return MILLISECONDS[a] < MILLISECONDS[b] ? b : a;
}

function coarsest(buckets: readonly Bucket[]): Resolution {
  return buckets.reduce<Resolution>((found, { resolution }) => coarser(found, resolution), 'minute');
}

/** The edges of the steps, without those within a bucket that is longer than they are, and reaching to the ends of such ones. */
function edgesOf(buckets: readonly Bucket[], { edges, length }: Steps): number[] {
  const long = buckets.filter((bucket) => lengthOf(bucket) > length);
  const [first, last] = [edges[0] as number, edges.at(-1) as number];
  const kept = [...edges];
  kept[0] = Math.min(first, ...across(long, first).map(({ start }) => start));
  kept[kept.length - 1] = Math.max(last, ...across(long, last).map(endOf));
  const dropped = new Set<number>();
  for (const bucket of long) {
    const from = firstAbove(kept.length, (index) => kept[index] as number, bucket.start);
    // The last edge that is not behind its end stays, also where it is not its end: else all buckets of such a zone were one.
    const to = firstAbove(kept.length, (index) => kept[index] as number, endOf(bucket)) - 1;
    for (let index = Math.max(from, 1); index < to; index++) dropped.add(index);
  }
  return kept.filter((_, index) => !dropped.has(index));
}

function pointsOf(edges: readonly number[]): OpenPoint[] {
  return edges.slice(1).map((end, index) => {
    return { start: edges[index] as number, end, sum: 0n, resolution: 'minute', exact: true };
  });
}

/** The first index whose value is above: the values rise. */
function firstAbove(length: number, valueAtIndex: (index: number) => number, value: number): number {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (valueAtIndex(middle) > value) high = middle;
    else low = middle + 1;
  }
  return low;
}
