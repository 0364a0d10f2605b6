import type { Clock } from '../clock.js';

/**
 * How many operations a second the clients of one token may write, through all lanes together: the generic cell rate algorithm
 * (ITU-T I.371, 1996), whose whole state is one word of shared memory.
 *
 *   0
 *   +-----+
 *   | DUE |  microseconds: when all that was taken so far has been paid for
 *   | i64 |  moved on by any lane (compare and exchange), read by any lane before it applies a batch; nobody waits for it
 *   +-----+
 *
 * A batch is counted when it was applied, since only the kernel knows what is in it. So all lanes together may overdraw by
 * one batch each; what is overdrawn is paid for like the rest, by the next ones.
 *
 * Until there are tokens all clients are of one.
 */

/** Of unused quota so much is kept. */
const BURST_MICROSECONDS = 1_000_000n;

/** Shared memory for one token. */
export function createQuota(): SharedArrayBuffer {
  return new SharedArrayBuffer(8);
}

export class Quota {
  readonly #due: BigInt64Array;
  readonly #microsecondsOfOne: number;
  readonly #clock: Clock;
  /** Threads count their time from their starts. */
  readonly #start: number;

  /** @param perSecond operations, more than 0 */
  constructor(memory: SharedArrayBuffer, perSecond: number, clock: Clock) {
    this.#due = new BigInt64Array(memory);
    this.#microsecondsOfOne = 1_000_000 / perSecond;
    this.#clock = clock;
    this.#start = clock.wallMilliseconds() - clock.monotonicMilliseconds();
  }

  /** Whether no more is to be applied for now. */
  get isSpent(): boolean {
    return Atomics.load(this.#due, 0) - this.#now() > BURST_MICROSECONDS;
  }

  /** Counts what was applied. */
  take(operations: number): void {
    const cost = BigInt(Math.ceil(operations * this.#microsecondsOfOne));
    for (let due = Atomics.load(this.#due, 0); ; ) {
      let from = this.#now();
      if (due > from) from = due;
      const found = Atomics.compareExchange(this.#due, 0, due, from + cost);
      if (found === due) return;
      due = found;
    }
  }

  #now(): bigint {
    return BigInt(Math.round((this.#start + this.#clock.monotonicMilliseconds()) * 1_000));
  }
}
