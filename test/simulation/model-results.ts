import type { LogEntry } from '../../src/log/record.js';

/** What the model of a partition (partition-model.ts) says of its changes. */

export interface AddResult {
  readonly refused: readonly { readonly index: number; readonly status: number }[];
  readonly values: readonly bigint[];
}

/** Of SET and DELETE. */
export interface SetResult {
  readonly status: number;
  readonly previous: bigint;
}

/** Of ONCE. */
export interface OnceResult extends AddResult {
  readonly counted: readonly boolean[];
}

/** Of SEE. */
export interface SeeResult {
  readonly refused: AddResult['refused'];
  /** The two bits of each item. */
  readonly seen: readonly number[];
}

/** Of EXPIRE. */
export interface ExpireResult {
  readonly status: number;
  readonly expires: number;
}

/** A change of the partition, and what takes it back. */
export interface Applied {
  readonly position: number;
  readonly kind: number;
  readonly flags: number;
  readonly body: Uint8Array;
  /** As the log has it. */
  readonly entry: LogEntry;
  /** Of a sequenced one: `producer/incarnation/sequence`. */
  readonly batch: string | undefined;
  readonly result: AddResult | SetResult | ExpireResult | OnceResult | SeeResult | undefined;
  /** How many counters came to their end. */
  readonly ended: number;
  readonly undo: (() => void)[];
}
