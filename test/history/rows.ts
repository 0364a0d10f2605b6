import type { CounterKey, Forgotten, HistoryPlace, HistoryRow, Kept } from '../../src/history/bucket.js';

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
/** A Thursday at midnight, of UTC. */
export const NOW = Date.UTC(2026, 5, 18);

export const counterOf = (slot: number, partition = 3, generation = 1): CounterKey => ({ partition, slot, generation });

/** Everything up to and with a sequence. */
export const upTo = (watermark: number): HistoryPlace => ({ watermark, items: 0 });

export const goneAt = ({ slot, generation }: CounterKey, asOf: number, index = 0): Forgotten => ({
  ...{ slot, generation, asOf, index },
});

/** A row of the hour that an instant lies in, with sums by minute. */
export function rowAt(
  { slot, generation }: CounterKey,
  instant: number,
  asOf: number,
  sums: Readonly<Record<number, bigint>>,
  index = 0,
): HistoryRow {
  const minutes = Array.from({ length: 60 }, (_, minute) => sums[minute]);
  return { slot, generation, hour: Math.floor(instant / HOUR), asOf, index, minutes };
}

/** `resolution start sum`, the start relative to `since` as days, hours and minutes. */
export function textOf({ buckets }: Pick<Kept, 'buckets'>, since: number): string[] {
  return buckets.map(({ resolution, start, sum }) => {
    const minutes = (start - since) / MINUTE;
    const day = Math.floor(minutes / 1_440);
    const ofDay = minutes - day * 1_440;
    return `${resolution} ${day}d ${Math.floor(ofDay / 60)}:${String(ofDay % 60).padStart(2, '0')} ${sum}`;
  });
}
