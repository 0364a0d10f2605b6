/** TCP as a transport: the only server-side file that knows `node:net`. */

import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Transport, TransportHandler } from './transport.js';

/** What is handed to the socket at a time, so that progress of a slow client is seen in steps of about this size. */
const SOCKET_BYTES = 65_536;
/** After so long without traffic the system asks whether the other machine still lives. */
const KEEP_ALIVE_MILLISECONDS = 60_000;

export interface TcpListenOptions {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** Connections beyond it are closed as they come. */
  readonly maxConnections: number;
  /** Called for each new connection. */
  readonly accept: (transport: Transport) => TransportHandler;
}

export interface TcpListener {
  readonly host: string;
  /** The port that is really listened on. */
  readonly port: number;
  /** Stops listening at once; settles when the last connection, which is not closed by this, has ended. */
  close(): Promise<void>;
}

/** Settles when it listens. Rejects with the system's error, as EADDRINUSE; an error later on is thrown. */
export async function listenTcp({ host, port, maxConnections, accept }: TcpListenOptions): Promise<TcpListener> {
  const server = createServer(
    { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MILLISECONDS },
    (socket) => {
      const transport = new TcpTransport(socket);
      transport.start(accept(transport));
    },
  );
  server.maxConnections = maxConnections;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const address = server.address() as AddressInfo;
  return {
    host: address.address,
    port: address.port,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error ? reject(error) : resolve()));
      }),
  };
}

class TcpTransport implements Transport {
  readonly remote: string;
  readonly #socket: Socket;
  // What the socket has not been given; it gets the next piece when it sent the last
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #closing = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.remote = `${socket.remoteAddress}:${socket.remotePort}`;
  }

  start(handler: TransportHandler): void {
    const socket = this.#socket;
    socket.on('data', (chunk) => {
      // plain bytes: a Buffer's subarray and slice cost more and mean something else
      handler.data(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    });
    socket.on('drain', () => {
      this.#pump();
      if (this.unsentBytes === 0) handler.drain();
    });
    // Resets and broken pipes are the normal end of clients; `close` follows each error, and tells
    socket.on('error', () => socket.destroy());
    // A client that ended its side is answered no more: the socket then ends ours when it sent what it has
    socket.on('close', () => handler.closed());
  }

  get unsentBytes(): number {
    return this.#queuedBytes + this.#socket.writableLength;
  }

  write(bytes: Uint8Array): void {
    if (this.#closing || !this.#socket.writable) return;
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    this.#pump();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#pump();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #pump(): void {
    const socket = this.#socket;
    while (this.#queue.length > 0 && socket.writable && socket.writableLength < SOCKET_BYTES) {
      const next = this.#queue[0] as Uint8Array;
      const piece = next.subarray(0, SOCKET_BYTES);
      if (piece.length < next.length) this.#queue[0] = next.subarray(SOCKET_BYTES);
      else this.#queue.shift();
      this.#queuedBytes -= piece.length;
      socket.write(piece);
    }
    if (this.#closing && this.#queue.length === 0) socket.end();
  }
}
