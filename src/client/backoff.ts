import type { Clock, Timer } from '../clock.js';

const FIRST_MILLISECONDS = 50;
const LONGEST_MILLISECONDS = 1_000;

/**
 * Delays that double from 50 ms to 1 s, each drawn uniformly between nothing and its bound, so that clients that
 * failed together do not come back together ("full jitter": Marc Brooker, Exponential Backoff And Jitter, 2015).
 */
export class Backoff {
  readonly #clock: Clock;
  readonly #random: () => number;
  #attempts = 0;
  #timer: Timer | undefined;

  /** `random` gives numbers from 0 up to 1. */
  constructor(clock: Clock, random: () => number) {
    this.#clock = clock;
    this.#random = random;
  }

  /** Whether a delay is running. */
  get isWaiting(): boolean {
    return this.#timer !== undefined;
  }

  /** Starts the next delay; one that is running goes on instead. */
  wait(callback: () => void): void {
    if (this.#timer) return;
    const bound = Math.min(LONGEST_MILLISECONDS, FIRST_MILLISECONDS * 2 ** Math.min(this.#attempts++, 30));
    this.#timer = this.#clock.setTimer(this.#random() * bound, () => {
      this.#timer = undefined;
      callback();
    });
  }

  /** After a success: the next delay is short again. */
  reset(): void {
    this.#attempts = 0;
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
