import type { Clock, Timer } from '../clock.js';
import { Share } from './share.js';

/** Work that is done a part at a time, at the ends of turns: while writers write, only within its share of the lane's time. */
export class Turns {
  readonly #clock: Clock;
  readonly #isHeld: () => boolean;
  readonly #work: () => void;
  readonly #share: Share;
  #isScheduled = false;
  #waiting: Timer | undefined;

  /** @param isHeld whether it is held to its share now */
  constructor(clock: Clock, isHeld: () => boolean, work: () => void) {
    this.#clock = clock;
    this.#isHeld = isHeld;
    this.#work = work;
    this.#share = new Share(clock.monotonicMilliseconds());
  }

  /** Does a part at the end of the turn, or when its share allows. */
  schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.endOfTurn(() => {
      const wait = this.#isHeld() ? this.#share.waitAt(this.#clock.monotonicMilliseconds()) : 0;
      if (wait > 0) this.#waiting = this.#clock.setTimer(Math.ceil(wait), () => this.#do());
      else this.#do();
    });
  }

  /** What others took from one time to another, in monotonic milliseconds, counts as its own. */
  count(from: number, to: number): void {
    this.#share.take(from, to);
  }

  cancel(): void {
    this.#waiting?.cancel();
  }

  #do(): void {
    this.#isScheduled = false;
    const from = this.#clock.monotonicMilliseconds();
    this.#work();
    this.#share.take(from, this.#clock.monotonicMilliseconds());
  }
}
