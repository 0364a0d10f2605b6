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
}

export const endOf = ({ start, resolution }: Bucket): number => start + MILLISECONDS[resolution];
