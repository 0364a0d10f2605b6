import { Worker } from 'node:worker_threads';
import { TallystickError } from '../errors.js';
import type { FromHttp, HttpOptions, HttpPlace, ToHttp } from './messages.js';

/**
 * A request in hand lives for a flush, which is longer than the default is before it is full: each would be copied, and by threads that take
 * their time from the lanes.
 */
const YOUNG_MEGABYTES = 96;

/**
 * Starts the thread of HTTP and ends it.
 *
 *   starting -> serving -> draining -> drained
 *        \__________\__________\___-> failed (for good: the thread broke)
 */
export class HttpServer {
  readonly #worker: Worker;
  readonly #onFailed: (error: TallystickError) => void;
  readonly #exited: Promise<void>;
  #state: 'starting' | 'serving' | 'draining' | 'drained' | 'failed' = 'starting';
  #place: HttpPlace = { host: '', port: 0 };
  /** Ends the wait for the next state. */
  #settle: { readonly resolve: () => void; readonly reject: (error: TallystickError) => void } | undefined;

  private constructor(options: HttpOptions, onFailed: (error: TallystickError) => void) {
    this.#onFailed = onFailed;
    this.#worker = new Worker(new URL('./http-thread.js', import.meta.url), {
      workerData: options,
      name: 'http',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MEGABYTES },
    });
    this.#worker.on('message', (message: FromHttp) => this.#hear(message));
    this.#worker.on('error', (cause) =>
      this.#fail(new TallystickError('INTERNAL', `The thread of HTTP broke: ${cause}.`, { cause })),
    );
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        if (this.#state !== 'drained')
          this.#fail(new TallystickError('INTERNAL', 'The thread of HTTP ended by itself.'));
        resolve();
      });
    });
  }

  /**
   * Resolves when it listens; `onFailed` is called once if it breaks later.
   *
   * @throws TallystickError CONFIG_INVALID, …
   */
  static async start(options: HttpOptions, onFailed: (error: TallystickError) => void): Promise<HttpServer> {
    const server = new HttpServer(options, onFailed);
    try {
      await server.#next();
      return server;
    } catch (error) {
      await server.#worker.terminate();
      await server.#exited;
      throw error;
    }
  }

  get place(): HttpPlace {
    return this.#place;
  }

  /** Answers what it was asked, and ends. Rejects if that fails. */
  async drain(): Promise<void> {
    if (this.#state !== 'serving') throw new TallystickError('INTERNAL', `HTTP is ${this.#state} and cannot drain.`);
    this.#state = 'draining';
    const drained = this.#next();
    this.#worker.postMessage({ kind: 'drain' } satisfies ToHttp);
    try {
      await drained;
    } catch (error) {
      await this.#worker.terminate();
      throw error;
    }
    await this.#exited;
  }

  #next(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
  }

  #hear(message: FromHttp): void {
    if (message.kind === 'failed') {
      this.#fail(new TallystickError(message.code, message.detail));
      return;
    }
    if (message.kind === 'listening') this.#place = { host: message.host, port: message.port };
    this.#state = message.kind === 'listening' ? 'serving' : 'drained';
    this.#settle?.resolve();
  }

  #fail(error: TallystickError): void {
    if (this.#state === 'failed') return;
    const isServing = this.#state === 'serving';
    this.#state = 'failed';
    if (isServing) this.#onFailed(error);
    else this.#settle?.reject(error);
  }
}
