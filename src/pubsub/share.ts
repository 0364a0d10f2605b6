/** What feeds may take of a lane's time while there is something to write. */
const SHARE = 1 / 3;
/** Milliseconds that may be used at once, where less was used before. */
const MOST_SAVED = 50;

/** Holds feeds to their share of a lane's time: what they take over it is waited for. */
export class Share {
  #saved = MOST_SAVED;
  #at: number;

  /** @param now monotonic milliseconds, as all times here */
  constructor(now: number) {
    this.#at = now;
  }

  /** The feeds were served from one time to another. */
  take(from: number, to: number): void {
    this.#saved = Math.min(MOST_SAVED, this.#saved + (to - this.#at) * SHARE) - (to - from);
    this.#at = to;
  }

  /** Milliseconds until they may be served again. */
  waitAt(now: number): number {
    return Math.max(0, -this.#saved / SHARE - (now - this.#at));
  }
}
