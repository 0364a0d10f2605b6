/** Transactions a second. */
const SLOWEST = 4;
const FASTEST = 512;
const FIRST = 32;
/** What one transaction that nobody noticed adds. */
const STEP = 4;
/** Commits beside a checkpoint may take so many times what they take else, and so many milliseconds more. */
const TOLERATED_FACTOR = 2;
const TOLERATED_MILLISECONDS = 0.5;
/** The share of the newest commit in the mean. */
const NEWEST = 1 / 64;
/** From this share of the tail's bound on the pace rises, and from the second one on nothing is waited for. */
const RELAXED_SHARE = 1 / 2;
const URGENT_SHARE = 3 / 4;

/**
 * How fast a checkpoint is written, by what it does to the commits of the lane: additive increase, multiplicative decrease
 * (D.-M. Chiu, R. Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance", 1989). Never so slow
 * that the tail of the log would come to its bound for it.
 */
export class CheckpointPace {
  /** Mean milliseconds of the commits beside which nothing was being written. */
  #quiet: number | undefined;
  #rate = FIRST;
  #sum = 0;
  #count = 0;

  /** Transactions a second. */
  get rate(): number {
    return this.#rate;
  }

  /** A commit of the lane took so long; `beside` a transaction of the checkpoint, or not. */
  committed(milliseconds: number, beside: boolean): void {
    if (beside) {
      this.#sum += milliseconds;
      this.#count++;
    } else {
      const quiet = this.#quiet ?? milliseconds;
      this.#quiet = quiet + (milliseconds - quiet) * NEWEST;
    }
  }

  /** A transaction of the checkpoint has ended. */
  written(): void {
    const mean = this.#count === 0 ? 0 : this.#sum / this.#count;
    const tolerated = TOLERATED_FACTOR * (this.#quiet ?? mean) + TOLERATED_MILLISECONDS;
    this.#rate = mean > tolerated ? Math.max(SLOWEST, this.#rate / 2) : Math.min(FASTEST, this.#rate + STEP);
    this.#sum = 0;
    this.#count = 0;
  }

  /** Milliseconds to wait before the next transaction, where the tail has come to that share of its bound. */
  pause(tailShare: number): number {
    const relaxed = (URGENT_SHARE - tailShare) / (URGENT_SHARE - RELAXED_SHARE);
    return (1_000 / this.#rate) * Math.min(1, Math.max(0, relaxed));
  }
}
