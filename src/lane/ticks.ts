import type { Timer } from '../clock.js';
import { OK, TallystickError } from '../errors.js';
import { Kind, type Partition } from '../partition/partition.js';
import type { LaneParts } from './lane.js';

const TICK_MILLISECONDS = 60_000;
/** Until the next one where a tick left counters that are past their time. */
const NEXT_MILLISECONDS = 10;
/** The most that a request waits for: each ends up to 4,096 counters, in about two milliseconds. */
const TICKS_OF_A_REQUEST = 8;
const NO_BYTES = new Uint8Array(0);

/**
 * Lets time pass in the log where a partition has work for it, so that what time brings happens at the same place in every replay: each
 * minute, and before whatever would meet a counter that is past its time.
 */
export class Ticks {
  readonly #parts: LaneParts;
  /** Why nothing can be written. */
  readonly #obstacle: () => TallystickError | undefined;
  /** Is told of the partition of each body. */
  readonly #applied: (partition: number) => void;
  #timer: Timer;

  constructor(parts: LaneParts, obstacle: () => TallystickError | undefined, applied: (partition: number) => void) {
    this.#parts = parts;
    this.#obstacle = obstacle;
    this.#applied = applied;
    this.#timer = this.#schedule(TICK_MILLISECONDS);
  }

  /**
   * Ends the counters of a partition that are past their time, and lets a new day begin for those that roll over.
   *
   * @returns the time as of which nothing is due, in milliseconds since 1970: what comes next is applied as of then, for by the clock something may
   * be due again
   * @throws TallystickError why that cannot be written; OVERLOADED where there are so many that it takes more than one request
   */
  settle(number: number, partition: Partition): number {
    const milliseconds = this.#parts.clock.wallMilliseconds();
    for (let ticks = 0; partition.hasDue(milliseconds); ticks++) {
      const obstacle = this.#obstacle();
      if (obstacle) throw new TallystickError(obstacle.code, undefined, { outcome: 'refused' });
      if (ticks < TICKS_OF_A_REQUEST && this.#settle(number, partition, milliseconds)) continue;
      throw new TallystickError('OVERLOADED', 'Very many counters have come to their end.');
    }
    return milliseconds;
  }

  cancel(): void {
    this.#timer.cancel();
  }

  #schedule(milliseconds: number): Timer {
    return this.#parts.clock.setTimer(milliseconds, () => {
      const { partitions, clock } = this.#parts;
      const now = clock.wallMilliseconds();
      let isLeft = false;
      for (const [number, partition] of partitions) {
        if (!partition.needsTicks || this.#obstacle()) continue;
        const isDone = this.#apply(number, partition, now, Kind.TICK, NO_BYTES);
        if (isDone && partition.needsDays(now)) this.#settle(number, partition, now);
        isLeft ||= isDone && partition.hasDue(now);
      }
      this.#timer = this.#schedule(isLeft ? NEXT_MILLISECONDS : TICK_MILLISECONDS);
    });
  }

  /** Does a part of what is due: whether there was room for it. */
  #settle(number: number, partition: Partition, milliseconds: number): boolean {
    const { kind, body } = this.#parts.days.settling(partition, milliseconds);
    return this.#apply(number, partition, milliseconds, kind, body);
  }

  #apply(number: number, partition: Partition, milliseconds: number, kind: number, body: Uint8Array): boolean {
    const { commit, feed } = this.#parts;
    if (feed.isFull || !commit.canAppend(number, body.length)) return false;
    if (partition.apply(kind, 0, 0, 0, milliseconds, body) !== OK) return false;
    commit.append(number, { kind, flags: 0, producer: 0, incarnation: 0, milliseconds }, body);
    feed.take(number, partition);
    this.#applied(number);
    return true;
  }
}
