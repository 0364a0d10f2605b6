import { type Outcome, TallystickError } from '../errors.js';
import type { DeadlineList, Deadlines, Timed } from './deadlines.js';

/** How long a caller waits, and what ends the wait early. */
export interface CallOptions {
  /** Milliseconds; the client's `timeout` unless given. */
  readonly timeout?: number;
  /** Aborting it rejects the call with ABORTED. A write that was sent already may still be applied. */
  readonly signal?: AbortSignal;
}

/** Of calls that say nothing: one object for all. */
export const NO_OPTIONS = Object.freeze({});

type Resolve<T> = (value: T) => void;
type Reject = (error: TallystickError) => void;

/** What settles the promise that `keepSettlers` was given last: one function for all promises, which needs no closure for each. */
let resolveLast: Resolve<never>;
let rejectLast: Reject;
const keepSettlers = (resolve: (value: never) => void, reject: Reject): void => {
  resolveLast = resolve;
  rejectLast = reject;
};

/** A caller that waits. It is settled once: by its answer, by its deadline or by its signal, whichever comes first. */
export class Call<T> implements Timed {
  due = 0;
  previous: Timed | undefined;
  next: Timed | undefined;
  list: DeadlineList | undefined;
  /** What became of the operation if the wait ends now: refused until it may have been sent. */
  outcome: Outcome = 'refused';
  readonly #resolve: Resolve<T>;
  readonly #reject: Reject;
  #isSettled = false;
  #stopListening: (() => void) | undefined;

  constructor(resolve: Resolve<T>, reject: Reject) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** Starts the wait. */
  limit(deadlines: Deadlines, timeout: number, signal: AbortSignal | undefined): void {
    if (signal?.aborted) {
      this.#abort();
      return;
    }
    deadlines.add(this, timeout);
    if (signal) this.#listenTo(signal);
  }

  expired(milliseconds: number): void {
    this.reject(new TallystickError('TIMEOUT', `${milliseconds} ms passed.`, { outcome: this.outcome }));
  }

  resolve(value: T): void {
    if (this.#settle()) this.#resolve(value);
  }

  reject(error: TallystickError): void {
    if (this.#settle()) this.#reject(error);
  }

  #listenTo(signal: AbortSignal): void {
    const onAbort = () => this.#abort();
    signal.addEventListener('abort', onAbort);
    this.#stopListening = () => signal.removeEventListener('abort', onAbort);
  }

  #abort(): void {
    this.reject(new TallystickError('ABORTED', undefined, { outcome: this.outcome }));
  }

  #settle(): boolean {
    if (this.#isSettled) return false;
    this.#isSettled = true;
    this.list?.remove(this);
    this.#stopListening?.();
    return true;
  }
}

/** Who waits for operations of a batch; `index` tells the waiter which of its own operations is meant. */
export interface Waiter {
  readonly isSettled: boolean;
  /** `existed` is false only for a DELETE or EXPIRE that found no counter, and a MERGE whose number is an estimate, and a ONCE that did not count. */
  succeed(index: number, value: bigint, existed: boolean): void;
  fail(index: number, error: TallystickError): void;
}

/** Makes what callers get of a counter's value. Throws VALUE_UNSAFE. */
export type ToValue<V> = (value: bigint) => V;

export const bigintValue: ToValue<bigint> = (value) => value;

export const numberValue: ToValue<number> = (value) => {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new TallystickError('VALUE_UNSAFE', `The value is ${value}.`);
  return number;
};

/** A caller of one operation, which answers one value, and what it awaits. */
export class ValueCall<V> extends Call<V> implements Waiter {
  readonly promise: Promise<V>;
  readonly #toValue: ToValue<V>;

  constructor(toValue: ToValue<V>) {
    const promise = new Promise<never>(keepSettlers);
    super(resolveLast as Resolve<V>, rejectLast);
    this.promise = promise;
    this.#toValue = toValue;
  }

  succeed(_index: number, value: bigint): void {
    try {
      this.resolve(this.#toValue(value));
    } catch (error) {
      this.reject(error as TallystickError);
    }
  }

  fail(_index: number, error: TallystickError): void {
    this.reject(error);
  }
}

/** A caller of SET, DELETE, MERGE, EXPIRE or one ONCE. `toResult` makes what the caller gets; it may throw VALUE_UNSAFE. */
export class ChangeCall<R> extends Call<R> implements Waiter {
  readonly #toResult: (previous: bigint, existed: boolean) => R;

  constructor(
    toResult: (previous: bigint, existed: boolean) => R,
    resolve: (result: R) => void,
    reject: (error: TallystickError) => void,
  ) {
    super(resolve, reject);
    this.#toResult = toResult;
  }

  succeed(_index: number, previous: bigint, existed: boolean): void {
    try {
      this.resolve(this.#toResult(previous, existed));
    } catch (error) {
      this.reject(error as TallystickError);
    }
  }

  fail(_index: number, error: TallystickError): void {
    this.reject(error);
  }
}

/** What became of one operation of a batch: the counter's new value, or why it was not applied. */
export type OperationResult<V> =
  | { readonly name: string; readonly value: V; readonly error?: never }
  | { readonly name: string; readonly error: TallystickError; readonly value?: never };

/** The results of a batch in the order of its operations. */
export type BatchResult<V> = readonly OperationResult<V>[];

/** A caller of many operations. It never rejects: what fails is told operation by operation. */
export class BatchCall<V> extends Call<BatchResult<V>> implements Waiter {
  readonly #operations: readonly { readonly name: string }[];
  readonly #toValue: ToValue<V>;
  readonly #results: (OperationResult<V> | undefined)[];
  #open: number;

  constructor(
    operations: readonly { readonly name: string }[],
    toValue: ToValue<V>,
    resolve: (results: BatchResult<V>) => void,
    reject: (error: TallystickError) => void,
  ) {
    super(resolve, reject);
    this.#operations = operations;
    this.#toValue = toValue;
    this.#results = new Array(operations.length);
    this.#open = operations.length;
  }

  succeed(index: number, value: bigint): void {
    try {
      this.#result(index, { name: this.#nameOf(index), value: this.#toValue(value) });
    } catch (error) {
      this.fail(index, error as TallystickError);
    }
  }

  fail(index: number, error: TallystickError): void {
    this.#result(index, { name: this.#nameOf(index), error });
  }

  /** The error of every operation that has no result. */
  override reject(error: TallystickError): void {
    if (this.isSettled) return;
    const results = Array.from(this.#results, (result, i) => result ?? { name: this.#nameOf(i), error });
    this.resolve(results);
  }

  #nameOf(index: number): string {
    return (this.#operations[index] as { name: string }).name;
  }

  #result(index: number, result: OperationResult<V>): void {
    if (this.isSettled || this.#results[index] !== undefined) return;
    this.#results[index] = result;
    if (--this.#open === 0) this.resolve(this.#results as OperationResult<V>[]);
  }
}

/** An operation of a batch that has an error: by its index among them. Its `outcome` says what became of it. */
export interface FailedOperation {
  readonly index: number;
  readonly name: string;
  readonly error: TallystickError;
}

/** A caller of many operations who wants no values. It never rejects: what fails is listed, in the order of operations. */
export class PlainBatchCall extends Call<readonly FailedOperation[]> implements Waiter {
  readonly #operations: readonly { readonly name: string }[];
  readonly #failed: FailedOperation[] = [];
  readonly #isDone: Uint8Array;
  #open: number;

  constructor(
    operations: readonly { readonly name: string }[],
    resolve: (failed: readonly FailedOperation[]) => void,
    reject: (error: TallystickError) => void,
  ) {
    super(resolve, reject);
    this.#operations = operations;
    this.#isDone = new Uint8Array(operations.length);
    this.#open = operations.length;
  }

  succeed(index: number): void {
    if (this.isSettled || this.#isDone[index] === 1) return;
    this.#isDone[index] = 1;
    if (--this.#open === 0) this.resolve(this.#inOrder());
  }

  fail(index: number, error: TallystickError): void {
    if (this.isSettled || this.#isDone[index] === 1) return;
    this.#failed.push({ index, name: (this.#operations[index] as { name: string }).name, error });
    this.succeed(index);
  }

  /** The error of every operation that has no result. */
  override reject(error: TallystickError): void {
    for (let i = 0; i < this.#isDone.length; i++) this.fail(i, error);
  }

  #inOrder(): readonly FailedOperation[] {
    return this.#failed.sort((a, b) => a.index - b.index);
  }
}

/** A caller of a batch that has no operations, only a cursor. */
export class CursorCall extends Call<readonly never[]> implements Waiter {
  succeed(): void {
    this.resolve([]);
  }

  fail(_index: number, error: TallystickError): void {
    this.reject(error);
  }
}
