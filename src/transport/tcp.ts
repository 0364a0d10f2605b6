/** TCP as a transport: the only server-side file that knows `node:net`. */

import { createServer, type Socket } from 'node:net';
import { listen, OpenConnections } from './listening.js';
import { readingInto } from './reading-into.js';
import type { Listener, ListenOptions, Transport, TransportHandler } from './transport.js';

/** What is handed to the socket at a time, so that progress of a slow client is seen in steps of about this size. */
const SOCKET_BYTES = 65_536;
/** What is read at a time, by all connections of a listener into the same bytes. */
const READ_BYTES = 262_144;
/** After so long without traffic the system asks whether the other machine still lives. */
const KEEP_ALIVE_MILLISECONDS = 60_000;

/** Settles when it listens. Rejects with the system's error, as EADDRINUSE; an error later on is thrown. */
export function listenTcp({ host, port, maxConnections, accept }: ListenOptions): Promise<Listener> {
  const buffer = new Uint8Array(READ_BYTES);
  const open = new OpenConnections();
  const server = createServer(
    { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MILLISECONDS, pauseOnConnect: true },
    (accepted) => {
      if (open.count >= maxConnections) {
        accepted.destroy();
        return;
      }
      open.began();
      const transport = new TcpTransport(accepted, buffer, () => open.ended());
      transport.start(accept(transport));
    },
  );
  return listen(server, open, host, port);
}

class TcpTransport implements Transport {
  readonly remote: string;
  readonly #socket: Socket;
  // What the socket has not been given; it gets the next piece when it sent the last
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #closing = false;
  #read: (bytes: Uint8Array) => void = () => {};
  // Told of each piece: the socket's event `drain` does not come after pieces that its own buffer had room for
  #sent: (error?: Error | null) => void = () => {};
  readonly #ended: () => void;

  /** Reads through `buffer`, whose bytes are valid only while they are told. `ended` is called once, last of all. */
  constructor(accepted: Socket, buffer: Uint8Array, ended: () => void) {
    this.remote = `${accepted.remoteAddress}:${accepted.remotePort}`;
    const read = (bytes: Uint8Array): boolean => {
      this.#read(bytes);
      return true;
    };
    this.#socket = readingInto(accepted, { buffer, read });
    accepted.destroy();
    this.#ended = ended;
  }

  start(handler: TransportHandler): void {
    const socket = this.#socket;
    this.#read = (bytes) => handler.data(bytes);
    this.#sent = (error) => {
      if (error) return;
      this.#pump();
      if (this.unsentBytes === 0) handler.drain();
    };
    // Resets and broken pipes are the normal end of clients; `close` follows each error, and tells
    socket.on('error', () => socket.destroy());
    // A client that ended its side is answered no more: the socket then ends ours when it sent what it has
    socket.on('close', () => {
      handler.closed();
      this.#ended();
    });
    socket.resume();
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
      const isWhole = next.length <= SOCKET_BYTES;
      const piece = isWhole ? next : next.subarray(0, SOCKET_BYTES);
      if (isWhole) this.#queue.shift();
      else this.#queue[0] = next.subarray(SOCKET_BYTES);
      this.#queuedBytes -= piece.length;
      socket.write(piece, this.#sent);
    }
    if (this.#closing && this.#queue.length === 0) socket.end();
  }
}
