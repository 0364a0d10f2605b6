/**
 * WebSocket as a transport: the only server-side file that knows `node:http` and `ws`. Its binary messages are pieces of the
 * stream of bytes, cut anywhere.
 *
 *   HTTP -> no upgrade: 426      a page that may not: 403      half a request: 408, after 5 s
 *     upgrade -> binary messages <-> handler      text: closed with 1003      too long: closed with 1009
 */

import { createServer, type IncomingMessage, type ServerOptions } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer, type ServerOptions as WebSocketServerOptions } from 'ws';
import type { Clock, Timer } from '../clock.js';
import { DEFAULT_LIMITS } from '../protocol/opcode.js';
import { listen, OpenConnections } from './listening.js';
import { mayConnect } from './origin.js';
import type { Listener, ListenOptions, Transport, TransportHandler } from './transport.js';

/** The most that a message has, and that is handed to the socket at a time. */
const PIECE_BYTES = 65_536;
/** A client may send each frame as one message. All of a message is in memory before any of it is told. */
const LENGTH_BYTES = 4;
const LARGEST_MESSAGE = DEFAULT_LIMITS.frame + LENGTH_BYTES;
/** A message in crumbs takes far more memory than its bytes. Packets of a network are no crumbs. */
const MOST_FRAGMENTS = 1_024;
const MOST_CHUNKS = 4_096;
const REQUEST_MILLISECONDS = 5_000;
const PING_MILLISECONDS = 30_000;
/** For the client to end after it was told to. */
const CLOSE_MILLISECONDS = 5_000;

const NORMAL = 1000;
const UNSUPPORTED_DATA = 1003;

export interface WebSocketListenOptions extends ListenOptions {
  readonly clock: Clock;
  /** Origins of pages that may connect, besides those of this host by its IP address. */
  readonly origins: readonly string[];
  /** For a request to come in full. */
  readonly requestMilliseconds?: number;
}

/** Settles when it listens. Rejects with the system's error, as EADDRINUSE; an error later on is thrown. */
export async function listenWebSocket(options: WebSocketListenOptions): Promise<Listener> {
  const { host, port, maxConnections, origins, clock, accept } = options;
  const open = new OpenConnections();
  const upgrade = new WebSocketServer(UPGRADE_OPTIONS);
  const server = createServer(httpOptions(options.requestMilliseconds ?? REQUEST_MILLISECONDS), (_, response) => {
    response.writeHead(426, { 'Content-Type': 'text/plain', Upgrade: 'websocket', Connection: 'Upgrade, close' });
    response.end('This port speaks WebSocket, and nothing else.\n');
  });
  // Counts those that have not asked for anything yet too
  server.maxConnections = maxConnections;
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (!mayConnect(request.headers, origins)) {
      refuse(
        socket,
        '403 Forbidden',
        'Pages of this origin may not connect; the server names in wsOrigins those that may.\n',
      );
      return;
    }
    upgrade.handleUpgrade(request, socket, head, (accepted) => {
      open.began();
      const transport = new WebSocketTransport(accepted, request, clock, () => open.ended());
      transport.start(accept(transport));
    });
  });
  const listener = await listen(server, open, host, port);
  return {
    ...listener,
    close: () => {
      const closed = listener.close();
      // Those that are not upgraded: from here on nothing else would end them
      server.closeAllConnections();
      return closed;
    },
  };
}

/** `closeTimeout` is an option of ws that its types lack: for the client's end, where ws itself began or answered one. */
const UPGRADE_OPTIONS: WebSocketServerOptions & { readonly closeTimeout: number } = {
  noServer: true,
  clientTracking: false,
  // Compression costs a window for each connection, and most of what is sent is numbers
  perMessageDeflate: false,
  maxPayload: LARGEST_MESSAGE,
  maxFragments: MOST_FRAGMENTS,
  maxBufferedChunks: MOST_CHUNKS,
  closeTimeout: CLOSE_MILLISECONDS,
};

function httpOptions(milliseconds: number): ServerOptions {
  return {
    headersTimeout: milliseconds,
    requestTimeout: milliseconds,
    // How often Node looks for those that are late
    connectionsCheckingInterval: Math.ceil(milliseconds / 5),
    maxHeaderSize: 8_192,
    noDelay: true,
  };
}

/** Answers a request to upgrade, and ends. Node has given the socket away, so nobody else would. */
function refuse(socket: Duplex, status: string, body: string): void {
  socket.on('error', () => socket.destroy());
  socket.once('finish', () => socket.destroy());
  const headers = ['Connection: close', 'Content-Type: text/plain', `Content-Length: ${body.length}`];
  socket.end(`HTTP/1.1 ${status}\r\n${headers.join('\r\n')}\r\n\r\n${body}`);
}

class WebSocketTransport implements Transport {
  readonly remote: string;
  readonly #webSocket: WebSocket;
  readonly #clock: Clock;
  readonly #socket: IncomingMessage['socket'];
  readonly #ended: () => void;
  // What ws has not been given; it gets the next piece when it sent the last
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  // Of pieces alone: pings and the heads of messages are no progress of the client's
  #sendingBytes = 0;
  #closing = false;
  #isRefused = false;
  #drained: () => void = () => {};
  #pingTimer: Timer | undefined;
  /** What had been read of the client when it was asked; undefined while it has nothing to prove. */
  #readWhenAsked: number | undefined;

  /** `ended` is called once, last of all. */
  constructor(webSocket: WebSocket, { socket }: IncomingMessage, clock: Clock, ended: () => void) {
    this.remote = `${socket.remoteAddress}:${socket.remotePort}`;
    this.#webSocket = webSocket;
    this.#socket = socket;
    this.#clock = clock;
    this.#ended = ended;
  }

  start(handler: TransportHandler): void {
    const webSocket = this.#webSocket;
    // The parts of a message as they came, where the default is a copy of them in one piece
    webSocket.binaryType = 'fragments';
    webSocket.on('message', (message, isBinary) => {
      if (this.#isRefused) return;
      if (isBinary) for (const part of message as Buffer[]) handler.data(part);
      else this.#refuseText();
    });
    this.#drained = () => handler.drain();
    // A message that is none, or too long: ws answers with the code that says so. What breaks the socket ends it. `close` follows
    // each error, and tells
    webSocket.on('error', () => this.#forget());
    webSocket.on('close', () => {
      this.#pingTimer?.cancel();
      this.#forget();
      handler.closed();
      this.#ended();
    });
    this.#schedulePing();
  }

  get unsentBytes(): number {
    return this.#queuedBytes + this.#sendingBytes;
  }

  write(bytes: Uint8Array): void {
    if (this.#closing || !this.#isOpen) return;
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    this.#pump();
  }

  pause(): void {
    this.#webSocket.pause();
  }

  resume(): void {
    // Its answer may have waited for this
    this.#readWhenAsked = undefined;
    this.#webSocket.resume();
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#pump();
  }

  destroy(): void {
    this.#webSocket.terminate();
  }

  get #isOpen(): boolean {
    return this.#webSocket.readyState === this.#webSocket.OPEN;
  }

  #pump(): void {
    while (this.#queue.length > 0 && this.#isOpen && this.#sendingBytes < PIECE_BYTES) {
      const next = this.#queue[0] as Uint8Array;
      const piece = next.subarray(0, PIECE_BYTES);
      if (piece.length < next.length) this.#queue[0] = next.subarray(PIECE_BYTES);
      else this.#queue.shift();
      this.#queuedBytes -= piece.length;
      this.#sendingBytes += piece.length;
      this.#webSocket.send(piece, (error) => this.#sent(piece.length, error));
    }
    if (this.#closing && this.#queue.length === 0) this.#webSocket.close(NORMAL);
  }

  #sent(bytes: number, error: Error | null | undefined): void {
    if (error || this.#sendingBytes === 0) return;
    this.#sendingBytes -= bytes;
    this.#pump();
    if (this.unsentBytes === 0) this.#drained();
  }

  #forget(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#sendingBytes = 0;
  }

  #refuseText(): void {
    this.#isRefused = true;
    this.#forget();
    this.#webSocket.close(UNSUPPORTED_DATA, 'Messages are binary.');
    // To see the client's end
    this.#webSocket.resume();
  }

  /** Whoever is asked must have sent something, be it the answer, before it is asked again; while it is not read from it is not asked. */
  #schedulePing(): void {
    this.#pingTimer = this.#clock.setTimer(PING_MILLISECONDS, () => {
      if (!this.#webSocket.isPaused) {
        const { bytesRead } = this.#socket;
        if (this.#readWhenAsked === bytesRead) {
          this.destroy();
          return;
        }
        this.#readWhenAsked = bytesRead;
        this.#webSocket.ping();
      }
      this.#schedulePing();
    });
  }
}
