import type { Client } from '../client/index.js';
import type { Clock } from '../clock.js';
import { TallystickError } from '../errors.js';
import { Gatherer } from './gatherer.js';

/**
 * The client of the lanes. One lasts as long as the server knows its producer, which it forgets where nobody wrote for a day:
 * then the client is over, and another one takes its place.
 */
export class Backend {
  readonly gatherer: Gatherer;
  readonly #connect: () => Promise<Client>;
  #client: Client;
  #isConnecting = false;
  #isClosed = false;

  private constructor(connect: () => Promise<Client>, clock: Clock, client: Client) {
    this.gatherer = new Gatherer(clock, () => this.#client);
    this.#connect = connect;
    this.#client = client;
  }

  static async open(connect: () => Promise<Client>, clock: Clock): Promise<Backend> {
    return new Backend(connect, clock, await connect());
  }

  get client(): Client {
    return this.#client;
  }

  /** The error as callers of HTTP should see it. One that says that the client is over brings the next one. */
  failed(error: TallystickError): TallystickError {
    if (error.code !== 'CLOSED') return error;
    if (!this.#isConnecting && !this.#isClosed) this.#replace();
    return new TallystickError('CONNECTION_LOST', error.detail, { outcome: error.outcome, cause: error });
  }

  /** To be called when all calls are answered: what is applied and not flushed yet is for the lanes to flush, so it waits for none of that. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#client.close({ timeout: 1 }).catch(() => {});
  }

  #replace(): void {
    this.#isConnecting = true;
    this.#connect().then(
      (client) => {
        this.#isConnecting = false;
        this.#client = client;
        // Nobody else would end it
        if (this.#isClosed) client.close().catch(() => {});
      },
      // The next request that fails tries again
      () => {
        this.#isConnecting = false;
      },
    );
  }
}
