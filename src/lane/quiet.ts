import type { Clock, Timer } from '../clock.js';

/**
 * How long it has to be quiet. What comes first afterwards pays: a tenth of a second goes at four fifths of the speed, as memory is taken again and the
 * engine, which forgot what it saw, compiles some code anew. Load that comes in bursts, every few seconds, is not to feel that.
 */
const QUIET_MILLISECONDS = 10_000;
/** And then once more: the engine takes room for young objects away only at a collection that comes after five seconds with few of them. */
const STILL_QUIET_MILLISECONDS = 6_000;
/** What a lane may take and log in a second, on average, and be quiet all the same: a pause of milliseconds is felt by few then. */
const QUIET_BYTES_PER_SECOND = 65_536;
/** What it has taken and logged in all since the last time, or else it has little to give back. */
const LOADED_BYTES = 8 * 1_048_576;

export interface QuietParts {
  readonly clock: Clock;
  /** Bytes that came in and went to the log, since any time. */
  readonly bytes: () => number;
  /** Gives back what only load needs. It is called twice, and the second time may free what the first one could not. */
  readonly release: () => void;
}

/**
 * Finds out when a lane that was under load has become quiet, and gives memory back then. There is a timer only while something comes in.
 *
 * ```
 *           worked              loaded, quiet for ten seconds: release           quiet for six more: release
 *  resting ---------> watching -------------------------------------> released -----------------------------> resting
 *     ^___________________/ ^___________________________________________/
 *       quiet, little came                       not quiet
 * ```
 */
export class Quiet {
  readonly #parts: QuietParts;
  #timer: Timer | undefined;
  /** The bytes when memory was given back. */
  #released: number;
  #stopped = false;

  /** It begins as one that was loaded: a start reads a log, and compiles. */
  constructor(parts: QuietParts) {
    this.#parts = parts;
    this.#released = parts.bytes() - LOADED_BYTES;
    this.worked();
  }

  /** To be called when something has been done. */
  worked(): void {
    if (!this.#timer) this.#watch(QUIET_MILLISECONDS, () => this.#quiet());
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #watch(milliseconds: number, whenQuiet: () => void): void {
    if (this.#stopped) return;
    const before = this.#parts.bytes();
    this.#timer = this.#parts.clock.setTimer(milliseconds, () => {
      this.#timer = undefined;
      const perSecond = ((this.#parts.bytes() - before) / milliseconds) * 1_000;
      if (perSecond > QUIET_BYTES_PER_SECOND) this.worked();
      else whenQuiet();
    });
  }

  #quiet(): void {
    const bytes = this.#parts.bytes();
    if (bytes - this.#released < LOADED_BYTES) return;
    this.#released = bytes;
    this.#parts.release();
    this.#watch(STILL_QUIET_MILLISECONDS, () => this.#parts.release());
  }
}
