import type { Clock, Timer } from '../clock.js';
import type { AppendWatch } from '../log/group-commit.js';

/**
 * Sees from the main thread that appends within the call end (log/own-thread.ts): while a lane's thread waits for its device it
 * can't say itself that this takes too long.
 *
 *   0          4
 *   +----------+----------+-- -
 *   | lane 0   | lane 1   |      changes as an append begins, to an odd number, and as it ends, to an even one;
 *   |   i32    |   i32    |      written by the lane, read by the main thread once a second
 *   +----------+----------+-- -
 *
 * A number that is odd and stays what it is is one append, which has not ended.
 */

const LOOK_MILLISECONDS = 1_000;
/** Looks that find the same append under way: then it will not end any more. */
const UNANSWERED_LOOKS = 10;

/** Shared memory for so many lanes. */
export function createAppends(lanes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(lanes * Int32Array.BYTES_PER_ELEMENT);
}

/** What a lane tells of its appends. */
export function appendsOf(memory: SharedArrayBuffer, lane: number): AppendWatch {
  const words = new Int32Array(memory);
  const change = (): void => {
    Atomics.add(words, lane, 1);
  };
  return { began: change, ended: change };
}

/** Looks after all lanes, until it is closed. */
export class AppendGuard {
  readonly #words: Int32Array;
  readonly #clock: Clock;
  readonly #onUnanswered: (lane: number) => void;
  /** By lane, what was there at the last look, and how many have found it. */
  readonly #seen: { word: number; looks: number }[];
  #timer: Timer;

  /** @param onUnanswered is called once for a lane whose append has taken 10 s, or up to 11 */
  constructor(memory: SharedArrayBuffer, clock: Clock, onUnanswered: (lane: number) => void) {
    this.#words = new Int32Array(memory);
    this.#clock = clock;
    this.#onUnanswered = onUnanswered;
    this.#seen = Array.from(this.#words, (word) => ({ word, looks: 0 }));
    this.#timer = this.#next();
  }

  close(): void {
    this.#timer.cancel();
  }

  #next(): Timer {
    return this.#clock.setTimer(LOOK_MILLISECONDS, () => {
      this.#timer = this.#next();
      for (const [lane, seen] of this.#seen.entries()) this.#look(seen, lane);
    });
  }

  #look(seen: { word: number; looks: number }, lane: number): void {
    const word = Atomics.load(this.#words, lane);
    const isUnderWay = (word & 1) === 1;
    seen.looks = isUnderWay && word === seen.word ? seen.looks + 1 : 0;
    seen.word = word;
    if (seen.looks === UNANSWERED_LOOKS) this.#onUnanswered(lane);
  }
}
