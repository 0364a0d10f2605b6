import type { Clock, Timer } from '../clock.js';
import { asTallystickError, type TallystickError } from '../errors.js';
import type { History } from '../history/history.js';
import type { Retention, RollUpPlanner } from '../history/roll-up.js';

/** After the lane begins to serve, and then between two rounds: what is rolled up is days old. */
const FIRST_MILLISECONDS = 60_000;
const ROUND_MILLISECONDS = 3_600_000;
/** Between two steps, each of which holds the lane's thread for about a millisecond. */
const STEP_MILLISECONDS = 10;

export interface RollUpsParts {
  readonly history: History;
  readonly planner: RollUpPlanner;
  readonly retention: Retention;
  readonly partitions: Iterable<number>;
  readonly clock: Clock;
  readonly onFailed: (error: TallystickError) => void;
}

/**
 * Rolls the history of a lane up, hour after hour, one partition after the other and step by step: the planner computes, the lane
 * writes. A step that finds no room is left to the next round.
 */
export class RollUps {
  readonly #parts: RollUpsParts;
  #timer: Timer;
  /** The partitions that this round has yet to come to. */
  #left: number[] = [];
  #working: Promise<void> | undefined;
  #stopped = false;

  constructor(parts: RollUpsParts) {
    this.#parts = parts;
    this.#timer = this.#after(FIRST_MILLISECONDS, () => this.#begin());
  }

  /** Resolves when the step at hand is done. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer.cancel();
    await this.#working;
  }

  #begin(): void {
    this.#left = [...this.#parts.partitions];
    this.#step();
  }

  #step(): void {
    const [partition] = this.#left;
    if (this.#stopped) return;
    if (partition === undefined) {
      this.#timer = this.#after(ROUND_MILLISECONDS, () => this.#begin());
      return;
    }
    this.#working = this.#rollUp(partition).catch((error: unknown) => this.#fail(error));
  }

  async #rollUp(partition: number): Promise<void> {
    const { history, planner, retention, clock } = this.#parts;
    const outcome = await history.rollUp(planner, { partition, retention, now: clock.wallMilliseconds() });
    if (outcome?.kind === 'unknown') throw outcome.error;
    if (!outcome) this.#left.shift();
    else if (outcome.kind === 'not-written') this.#left = [];
    this.#timer = this.#after(STEP_MILLISECONDS, () => this.#step());
  }

  #after(milliseconds: number, callback: () => void): Timer {
    return this.#parts.clock.setTimer(milliseconds, callback);
  }

  #fail(error: unknown): void {
    this.#stopped = true;
    this.#parts.onFailed(asTallystickError(error));
  }
}
