import type { TallystickError } from '../errors.js';
import type { Waiter } from './call.js';

/**
 * Callers of increments of one counter that go out as one operation, their sum. Each is told the value that the counter had after its own
 * increment and those called before it: the operation's, less what was called later. All are of one sign, so that these values lie between the
 * one before the operation and the one after it, which the counter both had.
 */
export class SummedCalls implements Waiter {
  readonly name: string;
  readonly #tryAlone: (call: Waiter, delta: number) => void;
  readonly #calls: Waiter[] = [];
  /** With each call, and those before it. */
  readonly #sums: number[] = [];
  #sum = 0;

  /** @param tryAlone tries the increment of one of them by itself */
  constructor(name: string, tryAlone: (call: Waiter, delta: number) => void) {
    this.name = name;
    this.#tryAlone = tryAlone;
  }

  /** What is to be added to the counter. */
  get sum(): number {
    return this.#sum;
  }

  get isSettled(): boolean {
    return this.#calls.every(({ isSettled }) => isSettled);
  }

  /** Takes an increment by a safe integer; false where it is not to be summed with those that are there. */
  take(call: Waiter, delta: number): boolean {
    const sum = this.#sum + delta;
    if (!Number.isSafeInteger(sum) || Math.abs(sum) < Math.abs(this.#sum) || this.#sum * delta < 0) return false;
    this.#sum = sum;
    this.#calls.push(call);
    this.#sums.push(sum);
    return true;
  }

  succeed(_index: number, value: bigint, existed: boolean): void {
    const before = value - BigInt(this.#sum);
    for (const [i, call] of this.#calls.entries()) call.succeed(0, before + BigInt(this.#sums[i] as number), existed);
  }

  /** A sum that leaves 64 bits says nothing of its parts: they are tried one by one. */
  fail(_index: number, error: TallystickError): void {
    // They are another's from now on.
    const calls = this.#calls.splice(0);
    const isOfSum = error.code === 'OVERFLOW' && calls.length > 1;
    for (const [i, call] of calls.entries()) {
      if (!isOfSum) call.fail(0, error);
      else if (!call.isSettled) this.#tryAlone(call, (this.#sums[i] as number) - (this.#sums[i - 1] ?? 0));
    }
  }
}
