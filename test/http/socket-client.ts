import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import type { BatchOperation, Client, Reading } from '../../src/client/index.js';
import { type Clock, systemClock } from '../../src/clock.js';
import { TallystickError } from '../../src/errors.js';
import { Backend } from '../../src/http/backend.js';
import { IdempotencyKeys } from '../../src/http/idempotency.js';
import { type HttpListenOptions, listenHttp } from '../../src/http/listener.js';
import { routes } from '../../src/http/routes.js';
import { Service } from '../../src/http/service.js';

/** HTTP before lanes that always say the same, and a client that sends bytes as they are told. */

/** Answers from what it is asked alone, so that two servers can be held against each other. */
class ConstantLanes {
  /** Each increment, in the order in which they came. */
  readonly incremented: string[] = [];
  /** Held back until it resolves. */
  until: Promise<void> = Promise.resolve();

  async read(names: readonly string[]): Promise<Reading<bigint>[]> {
    await this.until;
    return names.map((name) => {
      if (name.length > 1_024) throw new TallystickError('NAME_INVALID');
      const value = name.includes('huge') ? 2n ** 60n : BigInt(name.length);
      return { name, value, exists: true, durable: true } as Reading<bigint>;
    });
  }

  async batch(operations: readonly BatchOperation[]): Promise<unknown> {
    this.incremented.push(...operations.map(({ name }) => name));
    await this.until;
    return operations.map(({ name, delta }) =>
      name.includes('full')
        ? { name, error: new TallystickError('OVERFLOW', `${name} is full.`) }
        : { name, value: BigInt(delta as number) + 1n },
    );
  }

  async stats(): Promise<void> {}
  async close(): Promise<void> {}
}

export interface HttpBeforeConstantLanes {
  readonly port: number;
  readonly service: Service;
  readonly lanes: ConstantLanes;
  close(): Promise<void>;
}

export async function openConstant(listen: Partial<HttpListenOptions> = {}): Promise<HttpBeforeConstantLanes> {
  const lanes = new ConstantLanes();
  const clock: Clock = listen.clock ?? systemClock;
  const backend = await Backend.open(async () => lanes as unknown as Client, systemClock);
  const keys = new IdempotencyKeys(systemClock, 600_000);
  const service = new Service({ backend, routes, keys, hosts: [], clock: systemClock });
  const listener = await listenHttp(service, { host: '127.0.0.1', port: 0, maxConnections: 1_000, clock, ...listen });
  return { port: listener.port, service, lanes, close: () => listener.close() };
}

/** A connection of a client. */
export class SocketClient {
  readonly socket: Socket;
  readonly #chunks: string[] = [];
  #answers = 0;
  /** Where an answer may have begun. */
  #last = '';
  #whenMore: () => void = () => {};
  #isClosed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (bytes) => {
      const chunk = bytes.toString('latin1');
      this.#chunks.push(chunk);
      const begun = `${this.#last}${chunk}`.split(/HTTP\/1\.1 [2-5]/);
      this.#answers += begun.length - 1;
      this.#last = (begun.at(-1) as string).slice(-9);
      this.#whenMore();
    });
    // A server may end a connection before it read all
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#isClosed = true;
      this.#whenMore();
    });
  }

  static async connect(port: number): Promise<SocketClient> {
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    return new SocketClient(socket);
  }

  /** What the server sent so far. */
  get text(): string {
    return this.#chunks.join('');
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends pieces, and gives the server a turn to read each before the next. */
  async send(...pieces: readonly (string | Uint8Array)[]): Promise<void> {
    for (const piece of pieces) {
      if (!this.socket.writable) return;
      this.socket.write(typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece);
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Waits until so many answers have begun, which go out whole where they are small, or for the end of the connection. */
  async answers(count: number): Promise<void> {
    while (!this.#isClosed && this.#answers < count)
      await new Promise<void>((resolve) => {
        this.#whenMore = resolve;
      });
  }

  /** All that the server sent until it ended the connection, without the times. */
  async rest(): Promise<string> {
    await this.answers(Number.POSITIVE_INFINITY);
    return this.text.replaceAll(/\r\nDate: [^\r]+/g, '');
  }
}
