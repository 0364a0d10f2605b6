import type { BacklogLimits } from '../../src/client/backlog.js';
import type { Client } from '../../src/client/client.js';
import { type ConnectOptions, connectIn } from '../../src/client/connect.js';
import type { TallystickError } from '../../src/errors.js';
import { ManualClock } from './manual-clock.js';
import { MemoryNetwork } from './memory-network.js';
import { type ModelOptions, ModelServer } from './model-server.js';

const SEED = 'tallystick://model:7400';
const MOST_MILLISECONDS = 600_000;

/** A client library and a model server in a world whose time the test moves. */
export class Harness {
  readonly clock = new ManualClock();
  readonly server: ModelServer;
  readonly network: MemoryNetwork;
  readonly #backlog: BacklogLimits | undefined;
  #producers = 0;
  /** What chance gives. */
  random: () => number = () => 0.5;

  constructor(options: Omit<ModelOptions, 'clock'> & { readonly backlog?: BacklogLimits } = {}) {
    this.server = new ModelServer({ ...options, clock: this.clock });
    this.network = new MemoryNetwork(this.clock, this.server);
    this.#backlog = options.backlog;
  }

  connecting<O extends ConnectOptions>(options: O, urls: string | string[] = SEED): Promise<Client> {
    const environment = {
      clock: this.clock,
      random: () => this.random(),
      randomBytes: (count: number) => new Uint8Array(count).fill(++this.#producers),
      transport: this.network,
      ...(this.#backlog && { backlog: this.#backlog }),
    };
    return connectIn(environment, urls, options);
  }

  connect(options: ConnectOptions = {}): Promise<Client> {
    return this.until(this.connecting(options));
  }

  /** Lets everything happen that needs no time to pass. */
  async settle(): Promise<void> {
    do {
      this.clock.settle();
      await new Promise(setImmediate);
    } while (this.clock.pendingCallbacks > 0);
  }

  /** Lets time pass, a millisecond or more at a time, and everything happen that happens meanwhile. */
  async advance(milliseconds: number, step = milliseconds): Promise<void> {
    for (let passed = 0; passed < milliseconds; passed += step) {
      await this.settle();
      this.clock.advance(Math.min(step, milliseconds - passed));
    }
    await this.settle();
  }

  /** The promise's result, for which as much time passes as it needs. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settled = () => {
      isSettled = true;
    };
    promise.then(settled, settled);
    await this.settle();
    for (let passed = 0; !isSettled; passed += 25) {
      if (passed > MOST_MILLISECONDS) throw new Error('The promise never settles.');
      await this.advance(25);
    }
    return promise;
  }

  /** The error with which the promise rejects. */
  async failure(promise: Promise<unknown>): Promise<TallystickError> {
    return this.until(
      promise.then(
        (value) => {
          throw new Error(`It resolved to ${value}.`);
        },
        (error: TallystickError) => error,
      ),
    );
  }
}

/** Does something to the first request that fits, once. */
export function once<T, F>(fits: (request: T) => boolean, fault: F): (request: T) => F | undefined {
  let isDone = false;
  return (request) => {
    if (isDone || !fits(request)) return undefined;
    isDone = true;
    return fault;
  };
}
