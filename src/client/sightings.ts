import { TallystickError } from '../errors.js';
import { encodeUtf8 } from '../protocol/bytes.js';
import { Flag, Opcode } from '../protocol/opcode.js';
import { type Seen, seenOfBits } from '../protocol/uniques.js';
import type { BatchKind } from './batch.js';
import { Call, type CallOptions, type Waiter } from './call.js';
import { parseDuration } from './duration.js';
import type { Ack } from './write-options.js';

/** What is seen under a name: text, which counts as its UTF-8, or bytes; 1 to 1,024 of them. */
export type Item = string | Uint8Array;

export interface SeeOptions extends CallOptions {
  /** The client's `ack` unless given. */
  readonly ack?: Ack;
}

export interface OnceOptions extends SeeOptions {
  /** For how long the item is not to count again, "24h" or milliseconds: what the counter's class must say, else NOT_TRACKED. Unless given: whatever it says. */
  readonly within?: string | number;
  /** 1 unless given. */
  readonly delta?: number | bigint;
}

/** What became of an increment that counts once for its item. */
export interface CountedOnce<V> {
  /** Whether it counted: false where the item had been counted already. */
  readonly counted: boolean;
  /** The counter's value after it. */
  readonly value: V;
}

export const COUNTED: BatchKind = { opcode: Opcode.ONCE, flags: Flag.VALUES, applied: false };
export const COUNTED_APPLIED: BatchKind = { ...COUNTED, applied: true };

/** Milliseconds; 0 where it is not said. @throws TallystickError INVALID_ARGUMENT */
export function withinOf({ within }: OnceOptions): number {
  return within === undefined ? 0 : parseDuration(within);
}

export const SEEN: BatchKind = { opcode: Opcode.SEE, flags: Flag.VALUES, applied: false };
export const SEEN_APPLIED: BatchKind = { ...SEEN, applied: true };

/** @throws TallystickError INVALID_ARGUMENT */
export function bytesOfItem(item: Item, most: number): Uint8Array {
  const bytes = typeof item === 'string' ? encodeUtf8(item) : item;
  if (bytes instanceof Uint8Array && bytes.length >= 1 && bytes.length <= most) return bytes;
  throw new TallystickError('INVALID_ARGUMENT', `An item has 1 to ${most} bytes.`);
}

/** A caller who has seen items. It rejects with the first error, whatever became of the others: seeing them again does no harm. */
export class SeeCall extends Call<Seen[]> implements Waiter {
  readonly #seen: Seen[];
  #open: number;

  constructor(items: number, resolve: (seen: Seen[]) => void, reject: (error: TallystickError) => void) {
    super(resolve, reject);
    this.#seen = new Array(items);
    this.#open = items;
  }

  succeed(index: number, bits: bigint): void {
    if (this.isSettled || this.#seen[index] !== undefined) return;
    this.#seen[index] = seenOfBits(Number(bits));
    if (--this.#open === 0) this.resolve(this.#seen);
  }

  fail(_index: number, error: TallystickError): void {
    this.reject(error);
  }
}
