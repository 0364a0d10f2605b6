import type { BatchKind } from './batch.js';
import type { Waiter } from './call.js';
import { STAGE, touchNames } from './touch.js';

/** Writes one into the batch of its partition, or fails its caller. */
export type WriteIncrement = (name: string, delta: number | bigint, kind: BatchKind, caller: Waiter) => void;

/**
 * The increments of one turn that were called last and say nothing but a name and a step. They are written many at a time and in two loops, the
 * first of which only loads their names: each is a miss of the cache among a million, and in a loop as short as that the misses overlap. Nothing
 * looks into a name before.
 */
export class Increments {
  readonly #write: WriteIncrement;
  #length = 0;
  #names: string[] = [];
  #deltas: (number | bigint)[] = [];
  #kinds: BatchKind[] = [];
  #callers: Waiter[] = [];
  /** Means nothing; keeps what is loaded from being optimised away. */
  touched = 0;

  constructor(write: WriteIncrement) {
    this.#write = write;
  }

  /** Takes one, for which `deliver` must be called before anything else is written. */
  add(name: string, delta: number | bigint, kind: BatchKind, caller: Waiter): void {
    const at = this.#length;
    this.#names[at] = name;
    this.#deltas[at] = delta;
    this.#kinds[at] = kind;
    this.#callers[at] = caller;
    this.#length = at + 1;
    if (at + 1 === STAGE) this.deliver();
  }

  /** Writes all, in the order in which they were called. */
  deliver(): void {
    const length = this.#length;
    if (length === 0) return;
    this.#length = 0;
    this.touched = touchNames(this.#names, length);
    for (let i = 0; i < length; i++) {
      this.#write(
        this.#names[i] as string,
        this.#deltas[i] as number | bigint,
        this.#kinds[i] as BatchKind,
        this.#callers[i] as Waiter,
      );
    }
  }

  /** The same, and lets go of what it held. */
  endTurn(): void {
    if (this.#names.length === 0) return;
    this.deliver();
    this.#names = [];
    this.#deltas = [];
    this.#callers = [];
  }
}
