/** Sums of the deltas of a counter, by minute, by hour or by day, all of UTC. */

export type Resolution = 'minute' | 'hour' | 'day';

/** From the finest to the coarsest. */
export const RESOLUTIONS: readonly Resolution[] = ['minute', 'hour', 'day'];

/** How long a bucket of each resolution is. */
export const MILLISECONDS: Readonly<Record<Resolution, number>> = {
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
};

/** The net sum of the deltas from `start`, in milliseconds since 1970, for as long as the resolution says. */
export interface Bucket {
  readonly resolution: Resolution;
  readonly start: number;
  readonly sum: bigint;
  /** How long it is, where all of that resolution in it were added up: minutes by the hour. */
  readonly span?: Resolution;
}

export const lengthOf = ({ resolution, span }: Bucket): number => MILLISECONDS[span ?? resolution];

export const endOf = (bucket: Bucket): number => bucket.start + lengthOf(bucket);
