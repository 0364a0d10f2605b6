import { TallystickError } from '../errors.js';
import type { StatsMap } from '../protocol/control.js';

/**
 * What a lane keeps for those who read and must wait, for a flush or for a position. It has a bound, beyond which reads are refused at once:
 * connections have bounds of their own, but there may be ten thousand. Writes wait too, and are not refused: what they keep is in proportion to
 * the groups that they are in, and those are full before they take more. So reads are shed first, and who counts goes on.
 */
export interface WaitingLimits {
  readonly reads: number;
  /** Of answers that wait for a flush, and of questions that wait for a position. */
  readonly bytes: number;
}

export const DEFAULT_WAITING: WaitingLimits = { reads: 65_536, bytes: 64 * 1_048_576 };

export class WaitingReads {
  readonly #limits: WaitingLimits;
  #reads = 0;
  #bytes = 0;

  constructor(limits: WaitingLimits = DEFAULT_WAITING) {
    this.#limits = limits;
  }

  /** To be called before a read that may wait, and before it costs anything. @throws TallystickError OVERLOADED */
  check(): void {
    if (this.#reads < this.#limits.reads && this.#bytes < this.#limits.bytes) return;
    throw new TallystickError('OVERLOADED', `${this.#reads} reads wait.`);
  }

  /** Counts one that waits; the result, called once, ends it. */
  begin(bytes: number): () => void {
    this.#reads++;
    this.#bytes += bytes;
    return () => {
      this.#reads--;
      this.#bytes -= bytes;
    };
  }

  /** For STATS. */
  describe(): StatsMap {
    return { count: this.#reads, bytes: this.#bytes };
  }
}
