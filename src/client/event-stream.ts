import { TallystickError } from '../errors.js';

interface Waiter<E> {
  resolve(result: IteratorResult<E, undefined>): void;
  reject(error: TallystickError): void;
}

/** Events for whoever reads them, one at a time: what is kept until then, and where it comes from, is the matter of the class that extends it. */
export abstract class EventStream<E> implements AsyncIterableIterator<E, undefined> {
  readonly #waiting: Waiter<E>[] = [];
  #signal: AbortSignal | undefined;
  #error: TallystickError | undefined;
  /** Whether nothing new comes, and whether what has come is dropped too. */
  #isOver = false;
  #isClosed = false;

  /** The next event, if there is one; it then counts as read. */
  protected abstract take(): E | undefined;

  /** It is over: nothing new is wanted. What has come may be taken still, unless it was closed. Called once. */
  protected abstract release(): void;

  /** Lets it end with ABORTED when the signal says so; for the end of a constructor. */
  protected endBy(signal: AbortSignal | undefined): void {
    this.#signal = signal;
    signal?.addEventListener('abort', this.#onAbort);
    if (signal?.aborted) this.#onAbort();
  }

  protected get isOver(): boolean {
    return this.#isOver;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next event. Rejects with what ended it, once. */
  next(): Promise<IteratorResult<E, undefined>> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.serve();
    });
  }

  /** Ends it. */
  async return(): Promise<IteratorResult<E, undefined>> {
    this.close();
    return { done: true, value: undefined };
  }

  /** Ends it: what has not been read is dropped. */
  close(): void {
    this.#isClosed = true;
    this.#end();
    this.serve();
  }

  /** Ends it with an error, behind what there is to take. */
  protected fail(error: TallystickError): void {
    if (!this.#isOver) this.#error = error;
    this.#end();
    this.serve();
  }

  /** Gives whoever waits what there is. */
  protected serve(): void {
    while (this.#waiting.length > 0) {
      const event = this.#isClosed ? undefined : this.take();
      if (event !== undefined) this.#waiting.shift()?.resolve({ done: false, value: event });
      else if (!this.#isOver) return;
      else this.#conclude();
    }
  }

  #conclude(): void {
    const error = this.#error;
    this.#error = undefined;
    if (error) this.#waiting.shift()?.reject(error);
    else this.#waiting.shift()?.resolve({ done: true, value: undefined });
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.release();
  }

  readonly #onAbort = () => {
    this.#isClosed = true;
    this.fail(new TallystickError('ABORTED', undefined, { outcome: 'refused' }));
  };
}
