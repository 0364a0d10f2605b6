import { TallystickError } from '../errors.js';
import type { ByteWriter } from '../protocol/bytes.js';
import { writeOperationById, writeOperationByName } from '../protocol/request.js';
import type { Batcher } from './batcher.js';

/** A counter that is added to without waiting. */
export interface Counter {
  readonly name: string;
  /**
   * Adds to the handle's sum, which goes out with the next batch. `delta` is 1 unless given.
   *
   * Returns false where `await client.drain()` is due before more is added. Throws INVALID_ARGUMENT for a number that
   * is no safe integer or beyond 64 bits, CLOSED on a closed client. What fails later, `client.flush()` reports.
   */
  add(delta?: number | bigint): boolean;
}

// In place of an epoch
const NO_ID = -2;
const OPENING = -3;

/** A signed 64-bit number. Throws INVALID_ARGUMENT for what is none, or a number that is no safe integer. */
export function toInt64(value: number | bigint): bigint {
  const isExact = typeof value === 'bigint' ? BigInt.asIntN(64, value) === value : Number.isSafeInteger(value);
  if (!isExact) throw new TallystickError('INVALID_ARGUMENT', `${value} is no safe integer of 64 bits.`);
  return BigInt(value);
}

/**
 * Sums what is added until its batcher takes the sum. There may be millions, and each access to another one misses the
 * caches: so they are small, of one shape, and what `add` touches comes first.
 */
export class CounterHandle implements Counter {
  // What was added: a safe integer, or a sum that was none at some point
  #sum = 0;
  #large: bigint | undefined;
  /** Whether its batcher has it on its list. */
  isDirty = false;
  readonly #batcher: Batcher;
  // The id, and the epoch in which it is valid
  #epoch = NO_ID;
  #slot = 0;
  #generation = 0;
  readonly name: string;

  constructor(name: string, batcher: Batcher) {
    this.name = name;
    this.#batcher = batcher;
  }

  /** Loads the first and the last part of the handle. The number means nothing. */
  touch(): number {
    return this.#generation + (this.isDirty ? 1 : 0);
  }

  add(delta: number | bigint = 1): boolean {
    if (typeof delta !== 'number') return this.#addLarge(delta);
    const sum = this.#sum + delta;
    const isSafe = Number.isSafeInteger(delta) && Number.isSafeInteger(sum);
    if (!isSafe || this.#large !== undefined) return this.#addLarge(delta);
    if (!this.isDirty) this.#batcher.markDirty(this);
    this.#sum = sum;
    return this.#batcher.backlog.hasRoom;
  }

  /** Whether it has no id, and none was asked for; it is taken for asked then. */
  startOpening(): boolean {
    if (this.#epoch === this.#batcher.epoch || this.#epoch === OPENING) return false;
    this.#epoch = OPENING;
    return true;
  }

  opened(slot: number, generation: number, epoch: number): void {
    this.#slot = slot;
    this.#generation = generation;
    this.#epoch = epoch;
  }

  forgetId(): void {
    this.#epoch = NO_ID;
  }

  /** Adds again what a batch carried by an id that the server does not know. */
  giveBack(delta: bigint): void {
    this.forgetId();
    this.#batcher.takeBack(this);
    this.#addLarge(delta);
  }

  /** Writes the sum as an operation and forgets it; returns whether it is by an id of this epoch and not by name. */
  writeSum(payload: ByteWriter, epoch: number): boolean {
    const sum = this.#large ?? this.#sum;
    const hasId = this.#epoch === epoch;
    if (hasId) writeOperationById(payload, this.#slot, this.#generation, sum);
    else writeOperationByName(payload, this.name, sum);
    this.#sum = 0;
    this.#large = undefined;
    return hasId;
  }

  #addLarge(delta: number | bigint): boolean {
    const step = toInt64(delta);
    if (!this.isDirty) this.#batcher.markDirty(this);
    let sum = (this.#large ?? BigInt(this.#sum)) + step;
    if (BigInt.asIntN(64, sum) !== sum) {
      // the server takes the sum so far as one step and this one as another
      this.#batcher.sendSum(this);
      sum = step;
    }
    this.#large = sum;
    return this.#batcher.backlog.hasRoom;
  }
}
