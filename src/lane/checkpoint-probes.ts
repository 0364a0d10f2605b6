import type { Partition } from '../partition/partition.js';
import type { Probe } from './checkpoint-messages.js';

/** Pages of one probe, 1 MiB: what the lane hashes in about a third of a millisecond. */
const PAGES_PER_PROBE = 16;

/** Probes of one partition, from its first page to its last, taken one at a time while it goes on. */
export class Probes {
  readonly partition: number;
  readonly #kernel: Partition;
  readonly #taken: Probe[] = [];
  #next = 0;
  #complete = false;

  constructor(partition: number, kernel: Partition) {
    this.partition = partition;
    this.#kernel = kernel;
  }

  get taken(): readonly Probe[] {
    return this.#taken;
  }

  /** Whether every page was hashed that was there at the last probe. */
  get isComplete(): boolean {
    return this.#complete;
  }

  /** The sequence of the last one: the checkpoint must not be of an earlier place. */
  get sequence(): number {
    return this.#taken.at(-1)?.sequence ?? 0;
  }

  /** Hashes the next pages. To be called while it is not complete. */
  take(): void {
    const { sequence, pages } = this.#kernel;
    const first = this.#next;
    const count = Math.min(PAGES_PER_PROBE, pages - first);
    this.#taken.push({ sequence, first, count, hash: this.#kernel.hashPages(first, count) });
    this.#next = first + count;
    this.#complete = this.#next === pages;
  }
}
