import type { Clock } from '../clock.js';
import type { TallystickError } from '../errors.js';
import type { Call } from './call.js';

/** Bytes of unanswered batches: when to ask for patience, when it ends, when calls must wait. */
export interface BacklogLimits {
  /** `add` returns false from here on … */
  readonly high: number;
  /** … and `drain` resolves below this. */
  readonly low: number;
  /** From here on calls wait before they are encoded. */
  readonly full: number;
}

// The server should work on one half while the other is made: more would only wait.
export const DEFAULT_BACKLOG: BacklogLimits = { high: 1 << 20, low: 512 << 10, full: 64 << 20 };

interface Admission {
  readonly call: { readonly isSettled: boolean; reject(error: TallystickError): void };
  readonly run: () => void;
}

/** Counts the bytes that wait for their answers, and lets callers wait for fewer of them. */
export class Backlog {
  readonly #limits: BacklogLimits;
  readonly #clock: Clock;
  #bytes = 0;
  #isAdmitting = false;
  #waiting: Admission[] = [];
  #draining: Call<void>[] = [];

  constructor(limits: BacklogLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  get hasRoom(): boolean {
    return this.#bytes < this.#limits.high;
  }

  get isFull(): boolean {
    return this.#bytes >= this.#limits.full;
  }

  /** Whether who comes now need not wait. */
  get isOpen(): boolean {
    return this.#waiting.length === 0 && !this.isFull;
  }

  /** Counts bytes that came, or, below 0, that went. */
  change(bytes: number): void {
    this.#bytes += bytes;
    if (bytes >= 0) return;
    if (this.#draining.length > 0 && this.#bytes < this.#limits.low) this.#drained();
    if (this.#waiting.length === 0 || this.isFull || this.#isAdmitting) return;
    this.#isAdmitting = true;
    // not now: whoever runs may send, and the caller is in the middle of something
    this.#clock.endOfTurn(() => {
      this.#isAdmitting = false;
      this.#admit();
    });
  }

  /** Runs when there is room, after those that came before; not at all once the call is settled. */
  whenRoom(call: Admission['call'], run: () => void): void {
    if (this.isOpen) run();
    else this.#waiting.push({ call, run });
  }

  /** Resolves the call below the low mark. */
  whenDrained(call: Call<void>): void {
    this.#draining.push(call);
    if (this.#bytes < this.#limits.low) this.#drained();
  }

  /** Rejects all who wait. */
  fail(error: TallystickError): void {
    const calls = [...this.#waiting.map(({ call }) => call), ...this.#draining];
    this.#waiting = [];
    this.#draining = [];
    for (const call of calls) call.reject(error);
  }

  #admit(): void {
    let admitted = 0;
    while (admitted < this.#waiting.length && !this.isFull) {
      const { call, run } = this.#waiting[admitted++] as Admission;
      if (!call.isSettled) run();
    }
    if (admitted > 0) this.#waiting.splice(0, admitted);
  }

  #drained(): void {
    const calls = this.#draining;
    this.#draining = [];
    for (const call of calls) call.resolve();
  }
}
