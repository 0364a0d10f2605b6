import type { FailedOperation } from '../../client/index.js';
import type { Operation } from './aggregate.js';

/** What an ingest needs of the SDK's client. */
export interface IngestTarget {
  readonly partitions: number;
  /** By partition, what the last batch with a cursor of this producer left there. */
  readonly cursors: ReadonlyMap<number, Uint8Array>;
  partitionOf(name: string): number;
  /** Says that items were seen under a name; rejects where any of them could not be counted. */
  see(name: string, items: readonly string[]): Promise<unknown>;
  /** Applies one batch exactly once, also through reconnects; rejects if it had to give up. */
  batchTo(
    partition: number,
    operations: readonly Operation[],
    options: { readonly values: false; readonly cursor?: Uint8Array },
  ): Promise<readonly FailedOperation[]>;
}
