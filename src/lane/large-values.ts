import type { Clock, Timer } from '../clock.js';
import type { Partition } from '../partition/partition.js';

/**
 * How many counters of a lane are so large, either way, that they have used 1/8 of what a value can be: far from where steps are refused, and worth a look.
 * A pass goes through all slots, a step at a time; what it tells is what the last one found.
 */

const LARGE = 2n ** 60n;
/** Slots of a step, which are some tens of microseconds, and the time between two. */
const STEP = 1_024;
const STEP_MILLISECONDS = 5;
/** Between two passes. */
const REST_MILLISECONDS = 600_000;

export class LargeValues {
  readonly #partitions: readonly (readonly [number, Partition])[];
  readonly #clock: Clock;
  readonly #found = new Map<number, number>();
  #index = 0;
  #slot = 0;
  #count = 0;
  #timer: Timer;

  constructor(partitions: ReadonlyMap<number, Partition>, clock: Clock) {
    this.#partitions = [...partitions];
    this.#clock = clock;
    this.#timer = this.#after(STEP_MILLISECONDS);
  }

  /** What the last pass found in a partition; undefined before the first one. */
  of(partition: number): number | undefined {
    return this.#found.get(partition);
  }

  close(): void {
    this.#timer.cancel();
  }

  #after(milliseconds: number): Timer {
    return this.#clock.setTimer(milliseconds, () => {
      this.#timer = this.#after(this.#step() ? STEP_MILLISECONDS : REST_MILLISECONDS);
    });
  }

  /** Returns whether there is more of this pass. */
  #step(): boolean {
    const [number, partition] = this.#partitions[this.#index] as readonly [number, Partition];
    const end = Math.min(this.#slot + STEP, partition.slots);
    for (; this.#slot < end; this.#slot++) {
      const value = partition.valueOfSlot(this.#slot);
      if (value !== undefined && (value >= LARGE || value <= -LARGE)) this.#count++;
    }
    if (end < partition.slots) return true;
    this.#found.set(number, this.#count);
    this.#count = 0;
    this.#slot = 0;
    this.#index = (this.#index + 1) % this.#partitions.length;
    return this.#index > 0;
  }
}
