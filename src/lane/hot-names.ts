import type { Clock, Timer } from '../clock.js';
import type { Partition } from '../partition/partition.js';
import { SampleDistances } from './sample-distances.js';

/**
 * Which counters of a lane take the most operations: a summary of a sample, which a batch pays for with some nanoseconds.
 *
 * One operation of 64, at random distances, goes into a Misra-Gries summary (Misra and Gries, "Finding repeated elements", 1982, in the
 * form of Agarwal et al., "Mergeable summaries", 2012): a counter that has more than 1/256 of a window is in it, and its
 * count is at most that share too small. A window is ten seconds; rates are of the last one and the one that is open.
 */

export interface HotName {
  readonly name: string;
  /** Operations, by the sample. */
  readonly perSecond: number;
}

const WINDOW_MILLISECONDS = 10_000;
/** The mean distance of operations that are looked at. */
const SAMPLE = 64;
const KEPT = 256;
/** Slots have 26 bits. */
const SLOTS = 2 ** 26;
/** Rates of a window that has hardly begun say nothing. */
const LEAST_MILLISECONDS = 1_000;

/** The counts of the heaviest keys. */
export class HeavyHitters {
  readonly #kept: number;
  #counts = new Map<number, number>();

  /** `kept`: so many are there at least, if there are so many. */
  constructor(kept: number) {
    this.#kept = kept;
  }

  get counts(): ReadonlyMap<number, number> {
    return this.#counts;
  }

  add(key: number): void {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    if (this.#counts.size >= 2 * this.#kept) this.#shrink();
  }

  /** Takes from all what the heaviest of those that go has: each loses at most its share of what was added. */
  #shrink(): void {
    const sorted = [...this.#counts.values()].sort((a, b) => b - a);
    const least = sorted[this.#kept] as number;
    const left = [...this.#counts].filter(([, count]) => count > least);
    this.#counts = new Map(left.map(([key, count]) => [key, count - least]));
  }
}

export interface HotNamesParts {
  readonly partitions: ReadonlyMap<number, Partition>;
  readonly clock: Clock;
  /** Told at the end of a window of the counter that has more operations a second than that; never at 0. */
  readonly threshold: number;
  readonly warn: (hot: HotName) => void;
}

export class HotNames {
  readonly #parts: HotNamesParts;
  #last = new HeavyHitters(KEPT);
  #open = new HeavyHitters(KEPT);
  #began: number;
  #hasLast = false;
  /** Operations to pass over. */
  #skip = 0;
  readonly #distances = new SampleDistances(SAMPLE);
  #timer: Timer;

  constructor(parts: HotNamesParts) {
    this.#parts = parts;
    this.#began = parts.clock.monotonicMilliseconds();
    this.#timer = this.#schedule();
  }

  /** To be called when the partition has applied a body. */
  take(number: number, partition: Partition): void {
    const { operations } = partition;
    let at = this.#skip;
    for (; at < operations; at += this.#distances.next()) {
      const slot = partition.slotOfOperation(at);
      if (slot !== undefined) this.#open.add(number * SLOTS + slot);
    }
    this.#skip = at - operations;
  }

  /** The hottest names, hottest first. */
  top(count: number): HotName[] {
    const { clock, partitions } = this.#parts;
    const passed = Math.max(LEAST_MILLISECONDS, clock.monotonicMilliseconds() - this.#began);
    const seconds = (passed + (this.#hasLast ? WINDOW_MILLISECONDS : 0)) / 1_000;
    const counts = new Map(this.#last.counts);
    for (const [key, more] of this.#open.counts) counts.set(key, (counts.get(key) ?? 0) + more);
    const heaviest = [...counts].sort(([, a], [, b]) => b - a);
    const names: HotName[] = [];
    for (const [key, samples] of heaviest) {
      if (names.length === count) break;
      const name = partitions.get(Math.floor(key / SLOTS))?.nameOfSlot(key % SLOTS);
      if (name !== undefined) names.push({ name, perSecond: Math.round((samples * SAMPLE) / seconds) });
    }
    return names;
  }

  close(): void {
    this.#timer.cancel();
  }

  #schedule(): Timer {
    return this.#parts.clock.setTimer(WINDOW_MILLISECONDS, () => {
      this.#endWindow();
      this.#timer = this.#schedule();
    });
  }

  #endWindow(): void {
    this.#last = this.#open;
    this.#hasLast = true;
    this.#open = new HeavyHitters(KEPT);
    this.#began = this.#parts.clock.monotonicMilliseconds();
    const { threshold, warn } = this.#parts;
    const [hottest] = this.top(1);
    if (threshold > 0 && hottest && hottest.perSecond >= threshold) warn(hottest);
  }
}
