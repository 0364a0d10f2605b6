import type { GroupObserver } from '../log/group-commit.js';
import type { Partition } from '../partition/partition.js';

/** So many groups after a partition was asked about last, nobody asks any more. */
const IDLE_GROUPS = 1_024;

/**
 * Which reads show nothing that is not flushed yet. While everything is written to, a partition is never flushed as a whole, but nearly all of its
 * counters are: who asks for one of those need not wait for the others' groups. Kernels note what they touch only while such reads come, and for
 * two groups after the first one they know nothing. What a group touches counts until the next one is sealed.
 */
export class Unflushed implements GroupObserver {
  /** By partition: how many groups were sealed since it was asked about. */
  readonly #idle = new Map<Partition, number>();

  /** Whether the GET that the partition has just read shows flushed counters alone. To be asked before its next call. */
  isReadFlushed(partition: Partition): boolean {
    const isKept = partition.dirty.isKept;
    if (!isKept) partition.dirty.keep();
    this.#idle.set(partition, 0);
    return isKept && partition.dirty.areReadClean;
  }

  sealed(): void {
    for (const [partition, groups] of this.#idle) {
      partition.dirty.seal();
      if (groups < IDLE_GROUPS) this.#idle.set(partition, groups + 1);
      else this.#end(partition);
    }
  }

  #end(partition: Partition): void {
    partition.dirty.end();
    this.#idle.delete(partition);
  }
}
