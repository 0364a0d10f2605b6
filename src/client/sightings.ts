import { TallystickError } from '../errors.js';
import { encodeUtf8 } from '../protocol/bytes.js';
import { Flag, Opcode } from '../protocol/opcode.js';
import { type Seen, seenOfBits } from '../protocol/uniques.js';
import type { BatchKind } from './batch.js';
import { Call, type CallOptions, type Waiter } from './call.js';
import type { Ack } from './writer.js';

/** What is seen under a name: text, which counts as its UTF-8, or bytes; 1 to 1,024 of them. */
export type Item = string | Uint8Array;

export interface SeeOptions extends CallOptions {
  /** The client's `ack` unless given. */
  readonly ack?: Ack;
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
