/**
 * Whether the next group is written and flushed within the call, by the lane's own thread, or by one of the pool.
 *
 * To hand a write to a thread of the pool, and to hear from it, wakes two threads. That costs as much as a small group takes a
 * fast device, and so gains nothing: those whose requests would be taken in meanwhile wait for this flush, or their group for the
 * next one. With a slow device, or a large group, the lane has time for a lot in between, and nobody should wait for it longer than
 * needed: then it is the pool's.
 *
 *   small, awaited by all in it, and small ones took little of late -> own thread       anything else -> pool
 */

/** Of records. What 1,024 callers make in one lane. */
const MOST_BYTES = 32_768;
/** What a flush takes, on the average of the last ones. */
const MOST_MILLISECONDS = 1;
/** What the last one counts for in the average: one that took long sends the next dozen to the pool. */
const WEIGHT = 1 / 8;

export class OwnThread {
  /** Milliseconds that small groups took; unknown at first. */
  #average = Number.POSITIVE_INFINITY;

  /** Whether a group of so many bytes of records is to be flushed within the call. */
  takes(bytes: number): boolean {
    return bytes <= MOST_BYTES && this.#average <= MOST_MILLISECONDS;
  }

  /** A group was flushed, by whichever thread. */
  flushed(bytes: number, milliseconds: number): void {
    if (bytes > MOST_BYTES) return;
    const isFirst = this.#average === Number.POSITIVE_INFINITY;
    this.#average = isFirst ? milliseconds : this.#average + WEIGHT * (milliseconds - this.#average);
  }
}
