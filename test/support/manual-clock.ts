import { type Timer, type TurnClock, Turns } from '../../src/clock.js';

interface PendingTimer extends Timer {
  readonly due: number;
  readonly callback: () => void;
}

/**
 * A clock that moves only when a test says so. Timers fire in the order of their due times, and of their setting
 * where those are equal. A turn ends only in `endTurn`, `settle` and `advance`.
 */
export class ManualClock implements TurnClock {
  #wall: number;
  #monotonic = 0;
  #timers: PendingTimer[] = [];
  readonly #turns = new Turns();

  constructor(wallMilliseconds = 1_700_000_000_000) {
    this.#wall = wallMilliseconds;
  }

  wallMilliseconds(): number {
    return this.#wall;
  }

  monotonicMilliseconds(): number {
    return this.#monotonic;
  }

  setTimer(milliseconds: number, callback: () => void): Timer {
    const timer: PendingTimer = {
      due: this.#monotonic + Math.max(0, milliseconds),
      callback,
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
    const later = this.#timers.findIndex(({ due }) => due > timer.due);
    this.#timers.splice(later < 0 ? this.#timers.length : later, 0, timer);
    return timer;
  }

  endOfTurn(callback: () => void): void {
    this.#turns.endOfTurn(callback);
  }

  afterTurn(callback: () => void): void {
    this.#turns.afterTurn(callback);
  }

  /** Timers that are set and have not fired. */
  get pendingTimers(): number {
    return this.#timers.length;
  }

  /** Callbacks that wait for the end of the turn. */
  get pendingCallbacks(): number {
    return this.#turns.pending;
  }

  /** Ends the turn: runs what waits for it. What these callbacks add waits for the next end, as with setImmediate. */
  endTurn(): void {
    this.#turns.end();
  }

  /** Ends turns until nothing waits for one. Throws when that takes more than 10,000 turns. */
  settle(): void {
    for (let turns = 0; this.pendingCallbacks > 0; turns++) {
      if (turns === 10_000) throw new Error('The turns never settle.');
      this.endTurn();
    }
  }

  /** Lets time pass: ends the turn, then fires each timer that falls due at its own time, a turn for each. */
  advance(milliseconds: number): void {
    const until = this.#monotonic + milliseconds;
    this.endTurn();
    for (let next = this.#timers[0]; next && next.due <= until; next = this.#timers[0]) {
      this.#timers.shift();
      this.#pass(next.due - this.#monotonic);
      next.callback();
      this.endTurn();
    }
    this.#pass(until - this.#monotonic);
  }

  /** Steps the wall clock alone, in either direction. */
  stepWall(milliseconds: number): void {
    this.#wall += milliseconds;
  }

  #pass(milliseconds: number): void {
    this.#monotonic += milliseconds;
    this.#wall += milliseconds;
  }
}
