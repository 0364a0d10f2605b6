export interface KnownCounters {
  readonly names: readonly string[];
  /** For each counter, in the order of the names. */
  readonly partitions: ArrayLike<number>;
  readonly slots: ArrayLike<number>;
  readonly generations: ArrayLike<number>;
}

export class Batches {
  constructor(
    counters: KnownCounters,
    options: {
      readonly size: number;
      readonly count: number;
      readonly key: 'name' | 'id';
      readonly pick: () => number;
      readonly kind?: 'deltas' | 'keys' | 'items';
    },
  );
  readonly size: number;
  readonly count: number;
  readonly partitions: readonly number[];
  readonly starts: readonly number[];
  readonly bytes: Uint8Array;
}
