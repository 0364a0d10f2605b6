/**
 * HTTP/1.1 on a socket: of this room the only file that asks `node:http` for anything.
 *
 *   head -> Service.begin -> body, bounded -> Service.answer -> reply
 *   what is no HTTP, too long or too slow -> a problem, and the connection ends
 */

import { isUtf8 } from 'node:buffer';
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Clock } from '../clock.js';
import { type ErrorCode, TallystickError } from '../errors.js';
import type { Admission } from './admission.js';
import { FastConnections } from './fast-connection.js';
import type { HttpPlace } from './messages.js';
import { headerOf, JSON_TYPE, type Reply } from './reply.js';
import { fieldsOf } from './request-head.js';
import { STREAM_HEAD } from './server-sent-events.js';
import type { Exchange, Service } from './service.js';
import type { Sink } from './stream.js';

const MOST_BODY_BYTES = 1_048_576;
/** Of the request line and the headers. A name of 1,024 bytes takes three times as many in a path. */
const MOST_HEADER_BYTES = 16_384;
const HEADERS_MILLISECONDS = 10_000;
const REQUEST_MILLISECONDS = 30_000;
/** Of a connection on which nothing happens, between requests or while an answer is not read. For every request it would cost 4% of its time. */
const IDLE_MILLISECONDS = 60_000;
/** For clients to read their last answers. */
const GRACE_MILLISECONDS = 1_000;

export interface HttpListenOptions {
  readonly host: string;
  readonly port: number;
  readonly maxConnections: number;
  readonly clock: Clock;
  /** For a request's headers, and for all of it, to come in. */
  readonly headersMilliseconds?: number;
  readonly requestMilliseconds?: number;
  /** Leaves all to node:http: for tests to hold the fast path against it. */
  readonly nodeAlone?: boolean;
}

export interface HttpListener extends HttpPlace {
  /** Answers what was let in, then ends all connections. */
  close(): Promise<void>;
}

/** Settles when it listens. Rejects with the system's error, as EADDRINUSE; an error later on is thrown. */
export async function listenHttp(service: Service, options: HttpListenOptions): Promise<HttpListener> {
  const { host, port, maxConnections, clock } = options;
  const server = createServer(serverOptions(options), (request, response) => serve(service, request, response));
  server.maxConnections = maxConnections;
  server.keepAliveTimeout = IDLE_MILLISECONDS;
  const fast = options.nodeAlone ? undefined : beneath(server, service, options);
  server.on('connection', (socket) => {
    service.figures.connections++;
    socket.once('close', () => {
      service.figures.connections--;
    });
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => refuse(service, error.code, socket as Socket));
  server.on('checkExpectation', (_, response: ServerResponse) => {
    send(response, service.refuse(new TallystickError('INVALID_ARGUMENT', 'Expect is 100-continue.')));
  });
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
    close: () => close(service, server, fast, clock),
  };
}

function deadlines({ headersMilliseconds, requestMilliseconds }: HttpListenOptions) {
  const headersTimeout = headersMilliseconds ?? HEADERS_MILLISECONDS;
  const requestTimeout = requestMilliseconds ?? REQUEST_MILLISECONDS;
  // How often to look for those that are late
  const connectionsCheckingInterval = Math.ceil(Math.min(headersTimeout, requestTimeout) / 5);
  return { headersTimeout, requestTimeout, connectionsCheckingInterval };
}

function serverOptions(options: HttpListenOptions): ServerOptions {
  return {
    ...deadlines(options),
    maxHeaderSize: MOST_HEADER_BYTES,
    // The service says of each Host whether it may be, a missing one too
    requireHostHeader: false,
    noDelay: true,
  };
}

/**
 * Puts the fast path between the server's sockets and the listener by which Node makes requests of them, which gets those that are left to it. The
 * server listens itself, as Node looks for late requests only of one that does.
 */
function beneath(server: Server, service: Service, options: HttpListenOptions): FastConnections {
  const [byNode, ...others] = server.listeners('connection') as ((socket: Socket) => void)[];
  if (!byNode || others.length > 0)
    throw new TallystickError('INTERNAL', `The servers of Node ${process.version} take connections in another way.`);
  server.off('connection', byNode);
  const { headersTimeout: firstMilliseconds, connectionsCheckingInterval: checkMilliseconds } = deadlines(options);
  const fast = new FastConnections({
    ...{ service, clock: options.clock, firstMilliseconds, checkMilliseconds, idleMilliseconds: IDLE_MILLISECONDS },
    handOver: (socket) => byNode.call(server, socket),
    refuse: (socket, reason) => refuse(service, reason, socket),
  });
  server.on('connection', (socket) => fast.accept(socket));
  return fast;
}

async function close(service: Service, server: Server, fast: FastConnections | undefined, clock: Clock): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  fast?.closeIdle();
  await service.drain();
  // Connections between requests; the others end behind their answers, or when they had time to read them
  server.closeIdleConnections();
  fast?.closeIdle();
  const grace = clock.setTimer(GRACE_MILLISECONDS, () => {
    server.closeAllConnections();
    fast?.close();
  });
  await ended;
  grace.cancel();
  fast?.close();
}

function serve(service: Service, request: IncomingMessage, response: ServerResponse): void {
  const exchange = service.begin(request.method ?? '', request.url ?? '', fieldsOf(request.rawHeaders));
  if (service.isDraining) response.shouldKeepAlive = false;
  if ('status' in exchange) send(response, exchange);
  else if (exchange.route.open) follow(service, exchange, request, response);
  else if (exchange.route.body) new Body(service, exchange, request, response).read();
  else answer(service, exchange, undefined, response, nothing);
}

const nothing = (): void => {};

/** An answer that goes on for as long as the client stays. Its connection is for nothing else. */
function follow(service: Service, exchange: Exchange, request: IncomingMessage, response: ServerResponse): void {
  response.shouldKeepAlive = false;
  const stream = service.stream(exchange, sinkOf(exchange, response));
  if (!stream) return;
  response.on('drain', () => stream.drained());
  response.on('close', () => stream.close());
  // A wait for a client to read the answer before
  response.socket?.setTimeout(0);
  if (request.method !== 'HEAD') stream.start();
  else {
    stream.close();
    writeStreamHead(exchange, response);
    response.end();
  }
}

function sinkOf(exchange: Exchange, response: ServerResponse): Sink {
  return {
    begin: () => {
      writeStreamHead(exchange, response);
      response.write(STREAM_HEAD);
    },
    refuse: (reply) => send(response, reply),
    write: (text) => response.write(text),
    end: () => {
      response.end();
      response.socket?.setTimeout(IDLE_MILLISECONDS);
    },
  };
}

/** Proxies that gather answers are asked not to. */
function writeStreamHead({ route }: Exchange, response: ServerResponse): void {
  const head = ['Content-Type', route.type ?? JSON_TYPE, 'Cache-Control', 'no-store', 'X-Accel-Buffering', 'no'];
  response.writeHead(200, head);
}

function answer(
  service: Service,
  exchange: Exchange,
  text: string | undefined,
  response: ServerResponse,
  done: () => void,
): void {
  service.answer(exchange, text, (reply) => {
    if (service.isDraining) response.shouldKeepAlive = false;
    send(response, reply);
    done();
  });
}

/** A body on its way. What it takes of the memory is given back when it is answered, or when its client has gone. */
class Body {
  readonly #service: Service;
  readonly #exchange: Exchange;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #admission: Admission;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #isTaken = false;

  constructor(service: Service, exchange: Exchange, request: IncomingMessage, response: ServerResponse) {
    this.#service = service;
    this.#exchange = exchange;
    this.#request = request;
    this.#response = response;
    this.#admission = service.admission;
  }

  read(): void {
    this.#request.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#request.on('end', () => this.#end());
    // Of a client that went away half-way; nobody is left to be told
    this.#request.on('error', () => this.#giveBack());
  }

  #take(chunk: Buffer): void {
    if (this.#isTaken) return;
    try {
      if (this.#bytes + chunk.length > MOST_BODY_BYTES) throw new TallystickError('BODY_TOO_LARGE');
      this.#admission.takeBytes(chunk.length);
      this.#bytes += chunk.length;
      this.#chunks.push(chunk);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #end(): void {
    if (this.#isTaken) return;
    this.#isTaken = true;
    const bytes = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    this.#chunks = [];
    if (isUtf8(bytes)) {
      answer(this.#service, this.#exchange, bytes.toString(), this.#response, () => this.#free());
    } else {
      this.#free();
      send(this.#response, this.#service.refuse(new TallystickError('INVALID_ARGUMENT', 'The body is no UTF-8.')));
    }
  }

  /** What still comes of it is read and thrown away, so that its client, which may read only then, gets the answer. */
  #refuse(error: unknown): void {
    this.#giveBack();
    this.#response.shouldKeepAlive = false;
    send(this.#response, this.#service.refuse(error));
  }

  #giveBack(): void {
    if (this.#isTaken) return;
    this.#isTaken = true;
    this.#chunks = [];
    this.#free();
  }

  #free(): void {
    this.#admission.giveBytes(this.#bytes);
    this.#bytes = 0;
  }
}

function send(response: ServerResponse, reply: Reply): void {
  const { status, body } = reply;
  const fields = headerOf(reply, response.req.method ?? '');
  response.writeHead(status, [...fields, 'Content-Length', String(Buffer.byteLength(body))]);
  response.end(body);
  const { socket } = response;
  if (socket && socket.writableLength > 0) socket.setTimeout(IDLE_MILLISECONDS);
}

/** What Node could not make a request of, or not in time. `reason`: its code. */
function refuse(service: Service, reason: string | undefined, socket: Socket): void {
  // The answer that Node has begun, which it keeps there; it asks the same before it answers errors itself
  const { _httpMessage: begun } = socket as { readonly _httpMessage?: ServerResponse };
  // The client has gone; or it waits for the answer to a request before, and would take this one for it
  if (reason === 'ECONNRESET' || !socket.writable || begun?.headersSent || begun?.req.complete) {
    socket.destroy();
    return;
  }
  const code: ErrorCode = REFUSALS[reason ?? ''] ?? 'INVALID_ARGUMENT';
  const detail = code === 'INVALID_ARGUMENT' ? 'It is no request of HTTP/1.1.' : '';
  const { status, type, body } = service.refuse(new TallystickError(code, detail));
  const head = [`HTTP/1.1 ${status} ${code}`, 'Connection: close', `Content-Type: ${type}`];
  socket.end(`${head.join('\r\n')}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

const REFUSALS: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'HEADERS_TOO_LARGE',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'BODY_TOO_LARGE',
  ERR_HTTP_REQUEST_TIMEOUT: 'REQUEST_TIMEOUT',
};
