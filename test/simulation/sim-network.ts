import type { Transport, TransportHandler } from '../../src/transport/transport.js';
import type { World } from './world.js';

/** What a connection tells its client. */
export interface ClientEnd {
  data(bytes: Uint8Array): void;
  /** The last call. */
  closed(): void;
}

const LATENCY = [0.02, 0.5] as const;

/**
 * A simulated TCP connection: in each direction bytes arrive late, in order, in pieces, and from some moment on perhaps not at
 * all. This object is the server's end; the client's calls are `send` and `hangUp`.
 */
export class SimTransport implements Transport {
  readonly remote: string;
  unsentBytes = 0;
  /** The server's side, set by whoever accepts the connection. */
  handler!: TransportHandler;
  /** Sees what the server writes at the moment at which it does. */
  readonly #tap: (bytes: Uint8Array) => void;
  readonly #world: World;
  readonly #client: ClientEnd;
  #serverGone = false;
  #clientGone = false;
  #closing = false;
  #paused = false;
  #arrived: Uint8Array[] = [];
  #lastToServer = 0;
  #lastToClient = 0;

  constructor(world: World, remote: string, client: ClientEnd, tap: (bytes: Uint8Array) => void) {
    this.#world = world;
    this.remote = remote;
    this.#client = client;
    this.#tap = tap;
  }

  // --- for the server ---

  write(bytes: Uint8Array): void {
    if (this.#serverGone || this.#closing) return;
    this.#tap(bytes);
    this.unsentBytes += bytes.length;
    this.#toClient(() => {
      this.unsentBytes -= bytes.length;
      if (this.#clientGone) return;
      this.#client.data(bytes);
      if (this.unsentBytes === 0 && !this.#serverGone) this.handler.drain();
    });
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#world.clock.after(0, () => this.#handOver());
  }

  close(): void {
    if (this.#serverGone || this.#closing) return;
    this.#closing = true;
    this.#toClient(() => {
      this.#clientEnds();
      this.#toServer(() => this.#serverEnds());
    });
  }

  destroy(): void {
    this.drop();
  }

  // --- for the client ---

  send(bytes: Uint8Array): void {
    const { random, tally } = this.#world;
    if (bytes.length > 1 && random.chance(0.08)) {
      tally['split chunk']++;
      const at = random.between(1, bytes.length - 1);
      this.#arrive(bytes.slice(0, at));
      this.#arrive(bytes.slice(at));
    } else {
      this.#arrive(bytes.slice());
    }
  }

  /** The client ends, or the network does: what is under way in either direction may be lost. */
  drop(): void {
    this.#world.clock.after(this.#latency(), () => this.#serverEnds());
    this.#world.clock.after(this.#latency(), () => this.#clientEnds());
  }

  // --- for the machine ---

  /** The process is gone. What it has written is on its way all the same, or not. */
  serverDied(isLost: boolean): void {
    this.#serverGone = true;
    if (isLost) this.#world.clock.after(this.#latency(), () => this.#clientEnds());
    else this.#toClient(() => this.#clientEnds());
  }

  #arrive(bytes: Uint8Array): void {
    this.#toServer(() => {
      this.#arrived.push(bytes);
      this.#handOver();
    });
  }

  #handOver(): void {
    while (!this.#paused && !this.#serverGone && this.#arrived.length > 0) {
      const bytes = this.#arrived.shift() as Uint8Array;
      this.handler.data(bytes);
      bytes.fill(0xee); // a chunk is valid only during the call
    }
  }

  #serverEnds(): void {
    if (this.#serverGone) return;
    this.#serverGone = true;
    this.handler.closed();
  }

  #clientEnds(): void {
    if (this.#clientGone) return;
    this.#clientGone = true;
    this.#client.closed();
  }

  #toServer(callback: () => void): void {
    const { clock } = this.#world;
    this.#lastToServer = Math.max(this.#lastToServer, clock.now + this.#latency());
    clock.after(this.#lastToServer - clock.now, callback);
  }

  #toClient(callback: () => void): void {
    const { clock, random, tally } = this.#world;
    let latency = this.#latency();
    if (random.chance(0.005)) {
      tally['stalled client']++;
      latency += random.milliseconds(5, 200);
    }
    this.#lastToClient = Math.max(this.#lastToClient, clock.now + latency);
    clock.after(this.#lastToClient - clock.now, callback);
  }

  #latency(): number {
    return this.#world.random.milliseconds(...LATENCY);
  }
}
