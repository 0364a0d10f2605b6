/**
 * Plain requests, answered beneath `node:http`, which takes a third of a small request's time:
 *
 *   bytes ─► strict-head.ts ─► Service.begin ─► Service.answer ─► one write
 *      └─── whatever is not plain and whole: back into the socket, which is node:http's from then on
 *
 * So a doubtful byte has one reader, and it is not ours: what is read here is a whole request, in one piece, that nobody can read in
 * another way. Half a head, half a body, a large one, a stream, a body that is no UTF-8, no room for it: node:http's, with its deadlines.
 * Requests of a connection are answered one after the other; what comes meanwhile waits in the socket, which is not read. All read
 * into the same bytes, so what is to stay is copied.
 */

import { isUtf8 } from 'node:buffer';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock, Timer } from '../clock.js';
import { readingInto } from '../transport/reading-into.js';
import { headerOf, type Reply } from './reply.js';
import type { Exchange, Service } from './service.js';
import { type StrictHead, StrictHeadReader } from './strict-head.js';

export interface FastOptions {
  readonly service: Service;
  readonly clock: Clock;
  /** For the first byte of a connection to come. */
  readonly firstMilliseconds: number;
  /** Of a connection on which nothing happens. */
  readonly idleMilliseconds: number;
  /** How often it looks for those that are late. */
  readonly checkMilliseconds: number;
  /** Takes a socket for good, and what is in it. */
  readonly handOver: (socket: Socket) => void;
  /** Tells a client that it is no request, or why; `reason` is a code of Node's. Ends the connection. */
  readonly refuse: (socket: Socket, reason: string | undefined) => void;
}

const LATE = 'ERR_HTTP_REQUEST_TIMEOUT';
/** What is read at a time, by all connections of a listener into the same bytes. */
const READ_BYTES = 65_536;
const NO_BODY = Buffer.alloc(0);

/** All connections of a listener that are not handed over. */
export class FastConnections {
  readonly options: FastOptions;
  readonly buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  readonly #open = new Set<FastConnection>();
  #timer: Timer;
  /** As of the last look at who is late: nobody asks for the time at each request. */
  #now: number;
  readonly #idleSeconds: number;
  #second = -1;
  #date = '';
  /** Of the last good answer and of the last second, what was written at its begin and its end. */
  #begin = { status: 0, type: '', method: '', text: '' };
  #end = { date: '', text: '' };

  constructor(options: FastOptions) {
    this.options = options;
    this.#idleSeconds = Math.floor(options.idleMilliseconds / 1_000);
    this.#now = options.clock.monotonicMilliseconds();
    this.#timer = this.#check();
  }

  get now(): number {
    return this.#now;
  }

  /** Of an answer, up to its body, as node:http writes it. */
  headOf(reply: Reply, bytes: number, method: string, isLast: boolean): string {
    const begin = `${this.#beginOf(reply, method)}Content-Length: ${bytes}\r\n`;
    return isLast ? `${begin}Date: ${this.#dateNow()}\r\nConnection: close\r\n\r\n` : begin + this.#endNow();
  }

  accept(socket: Socket): void {
    this.#open.add(new FastConnection(this, socket));
  }

  left(connection: FastConnection): void {
    this.#open.delete(connection);
  }

  /** Ends those that wait for their next request. */
  closeIdle(): void {
    for (const connection of this.#open) if (connection.isIdle) connection.destroy();
  }

  /** Ends all. */
  close(): void {
    this.#timer.cancel();
    for (const connection of this.#open) connection.destroy();
  }

  /** Most answers are good ones, and begin as the one before did. */
  #beginOf(reply: Reply, method: string): string {
    const { status, type, code, headers } = reply;
    if (code !== undefined || headers) return beginOf(reply, method);
    const { status: lastStatus, type: lastType, method: lastMethod } = this.#begin;
    if (status !== lastStatus || type !== lastType || method !== lastMethod)
      this.#begin = { status, type, method, text: beginOf(reply, method) };
    return this.#begin.text;
  }

  #endNow(): string {
    const date = this.#dateNow();
    if (date !== this.#end.date) {
      const text = `Date: ${date}\r\nConnection: keep-alive\r\nKeep-Alive: timeout=${this.#idleSeconds}\r\n\r\n`;
      this.#end = { date, text };
    }
    return this.#end.text;
  }

  #dateNow(): string {
    const second = Math.floor(this.options.clock.wallMilliseconds() / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#date = new Date(second * 1_000).toUTCString();
    }
    return this.#date;
  }

  #check(): Timer {
    const { clock, checkMilliseconds } = this.options;
    return clock.setTimer(checkMilliseconds, () => {
      this.#now = clock.monotonicMilliseconds();
      for (const connection of this.#open) connection.check(this.#now);
      this.#timer = this.#check();
    });
  }
}

function beginOf(reply: Reply, method: string): string {
  let begin = `HTTP/1.1 ${reply.status} ${STATUS_CODES[reply.status]}\r\n`;
  const fields = headerOf(reply, method);
  for (let i = 0; i < fields.length; i += 2) begin += `${fields[i]}: ${fields[i + 1]}\r\n`;
  return begin;
}

/**
 *   fresh ─┬──────────────────────────────► answering ──► idle ──► …       what is not plain: left, to node:http
 *          └─► waiting, for a whole body ──┘      └─► unread ─┘             closed: left
 */
class FastConnection {
  readonly #all: FastConnections;
  readonly #service: Service;
  readonly #socket: Socket;
  readonly #heads = new StrictHeadReader();
  #state: 'fresh' | 'waiting' | 'answering' | 'unread' | 'idle' | 'left' = 'fresh';
  /** When it became fresh, or of the look before it became idle. */
  #since: number;
  /** That waits for its body. */
  #head: Buffer | undefined;
  /** Of the request that is being answered. */
  #method = '';
  #bodyBytes = 0;

  /** `accepted` stands for the connection in what its server counts, and has nothing else to do. */
  constructor(all: FastConnections, accepted: Socket) {
    this.#all = all;
    this.#service = all.options.service;
    this.#socket = readingInto(accepted, {
      buffer: all.buffer,
      read: (bytes) => this.#read(bytes),
      allowHalfOpen: true,
    });
    this.#socket.on('close', () => accepted.destroy());
    this.#since = all.options.clock.monotonicMilliseconds();
    for (const [event, listener] of Object.entries(this.#listeners)) this.#socket.on(event, listener);
  }

  get isIdle(): boolean {
    return this.#state === 'idle';
  }

  destroy(): void {
    this.#socket.destroy();
  }

  check(now: number): void {
    const { firstMilliseconds, idleMilliseconds, checkMilliseconds, refuse } = this.#all.options;
    if (this.#head) this.#handOver(this.#head);
    if (this.#state === 'fresh' && now - this.#since >= firstMilliseconds) refuse(this.#socket, LATE);
    // It may have become idle just before the look that followed, and Keep-Alive promised all of the time
    if (this.#state === 'idle' && now - this.#since >= idleMilliseconds + checkMilliseconds) this.destroy();
  }

  readonly #listeners: Readonly<Record<string, (bytes: Buffer) => void>> = {
    data: (bytes) => this.#take(bytes),
    drain: () => this.#drained(),
    end: () => this.#end(),
    // Resets are a normal end of clients; the socket closes itself
    error: () => this.destroy(),
    timeout: () => this.destroy(),
    close: () => this.#leave(),
  };

  /** Of a connection that was handed over node:http gets what comes as of any other. */
  #read(bytes: Buffer): boolean {
    if (this.#state === 'left') return this.#socket.push(Buffer.from(bytes));
    this.#take(bytes);
    return true;
  }

  #take(piece: Buffer): void {
    if (this.#state === 'answering' || this.#state === 'unread') {
      this.#putBack(piece);
      return;
    }
    const bytes = this.#head ? Buffer.concat([this.#head, piece]) : piece;
    this.#head = undefined;
    const head = this.#service.isDraining ? undefined : this.#heads.read(bytes);
    if (head && head.bodyBytes > 0 && bytes.length === head.bytes) {
      this.#state = 'waiting';
      this.#head = Buffer.from(bytes);
    } else if (!head || !this.#begin(head, bytes)) this.#handOver(bytes);
  }

  /** Whether it is whole, and nothing that node:http is to answer: else nothing has happened. */
  #begin(head: StrictHead, bytes: Buffer): boolean {
    const { method } = head;
    const end = head.bytes + head.bodyBytes;
    if (bytes.length < end) return false;
    const body = head.bodyBytes === 0 ? NO_BODY : bytes.subarray(head.bytes, end);
    if (head.bodyBytes > 0 && !(isUtf8(body) && this.#service.admission.hasRoom(body.length))) return false;
    const exchange = this.#service.begin(method, head.target, head.fields);
    if ('route' in exchange && exchange.route.open) return false;
    this.#state = 'answering';
    this.#method = method;
    if (bytes.length > end) this.#putBack(bytes.subarray(end));
    if ('status' in exchange) this.#send(exchange);
    else this.#answer(exchange, body);
    return true;
  }

  #answer(exchange: Exchange, body: Buffer): void {
    this.#bodyBytes = body.length;
    this.#service.admission.takeBytes(body.length);
    this.#service.answer(exchange, exchange.route.body ? body.toString() : undefined, this.#reply);
  }

  readonly #reply = (reply: Reply): void => {
    const bytes = this.#bodyBytes;
    this.#send(reply);
    this.#service.admission.giveBytes(bytes);
  };

  #send(reply: Reply): void {
    const socket = this.#socket;
    if (!socket.writable) return;
    const isLast = this.#service.isDraining;
    const bytes = Buffer.byteLength(reply.body);
    const head = this.#all.headOf(reply, bytes, this.#method, isLast);
    const hasRoom = socket.write(head + reply.body, bytes === reply.body.length ? 'latin1' : 'utf8');
    if (isLast) socket.destroySoon();
    else if (hasRoom) this.#next();
    else {
      this.#state = 'unread';
      socket.setTimeout(this.#all.options.idleMilliseconds);
    }
  }

  /** As node:http has it: who ends their side is answered no more, except that half a request is none. */
  #end(): void {
    if (!this.#head) {
      this.#socket.end();
      return;
    }
    this.#head = undefined;
    this.#all.options.refuse(this.#socket, undefined);
  }

  #drained(): void {
    if (this.#state !== 'unread') return;
    this.#socket.setTimeout(0);
    this.#next();
  }

  #next(): void {
    this.#state = 'idle';
    this.#since = this.#all.now;
    if (this.#socket.isPaused()) this.#socket.resume();
  }

  /** What is put back is read again, before what comes behind it, when the socket resumes. */
  #putBack(bytes: Buffer): void {
    this.#socket.pause();
    this.#socket.unshift(Buffer.from(bytes));
  }

  #handOver(bytes: Buffer): void {
    const socket = this.#socket;
    this.#leave();
    this.#putBack(bytes);
    this.#all.options.handOver(socket);
    socket.resume();
  }

  #leave(): void {
    this.#state = 'left';
    this.#all.left(this);
    for (const [event, listener] of Object.entries(this.#listeners)) this.#socket.off(event, listener);
  }
}
