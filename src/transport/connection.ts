/**
 * One client's connection: bytes in, requests out to the lane; answers in from the lane, bytes out. Everything that a
 * client can make grow is bounded here, and a bound is kept by not reading on:
 *
 *   data -> held? -> FrameReader -> table of headers -> handler.request
 *             ^                                             |
 *             +-- too much in flight or unsent <-- answer, refuse -> out -> one write at the end of the turn
 */

import type { Clock, Timer } from '../clock.js';
import { type ErrorCode, type Outcome, TallystickError } from '../errors.js';
import type { ByteWriter } from '../protocol/bytes.js';
import {
  FrameReader,
  type FrameStock,
  type FrameView,
  FramingError,
  finishFrame,
  writeHeader,
} from '../protocol/frame.js';
import { ANSWER, DEFAULT_LIMITS, Flag, LANE, Opcode, requestRule } from '../protocol/opcode.js';
import { encodeError, errorAnswer } from '../protocol/response.js';
import { InFlight } from './in-flight.js';
import { Outputs } from './outputs.js';
import type { Transport, TransportHandler } from './transport.js';

export interface ConnectionLimits {
  /** Bytes that the length of a frame may count, once HELLO is answered and before. */
  readonly frame: number;
  readonly preHelloFrame: number;
  /** Requests that wait for their answers, and the bytes that they had. Beyond either nothing more is read. */
  readonly inFlight: number;
  readonly inFlightBytes: number;
  /** Bytes of answers that the client has not taken. Beyond it nothing more is read. */
  readonly unsentBytes: number;
  /** Where the clients of the lane together have not taken so much, nothing more is read from those that are beyond their share. */
  readonly unsentOfAll: number;
  readonly unsentShare: number;
  /** For HELLO to come, from the start or from a HELLO that was refused. */
  readonly helloMilliseconds: number;
  /** For the rest of a frame to come. */
  readonly frameMilliseconds: number;
  /** For the client to take anything of its answers; it is noticed within a sixth of this time. */
  readonly stalledMilliseconds: number;
  /** For the client to end after we did. */
  readonly closeMilliseconds: number;
}

export const DEFAULT_CONNECTION_LIMITS: ConnectionLimits = {
  frame: DEFAULT_LIMITS.frame,
  preHelloFrame: DEFAULT_LIMITS.preHelloFrame,
  inFlight: DEFAULT_LIMITS.inFlight,
  inFlightBytes: 8 * 1024 * 1024,
  unsentBytes: 1024 * 1024,
  unsentOfAll: 128 * 1024 * 1024,
  unsentShare: 16 * 1024,
  helloMilliseconds: 5000,
  frameMilliseconds: 10_000,
  stalledMilliseconds: 30_000,
  closeMilliseconds: 5000,
};

/** What connections did, for STATS. All connections of a lane may count in one. */
export interface Traffic {
  bytesIn: number;
  bytesOut: number;
  /** Frames that came, those that were refused among them. */
  requests: number;
  /** ERROR answers, by their codes. */
  readonly refused: Map<ErrorCode, number>;
}

export const noTraffic = (): Traffic => ({ bytesIn: 0, bytesOut: 0, requests: 0, refused: new Map() });

/** Bytes of answers that the clients of a lane have not taken, all together; of one that takes some, as of when it is next written to or has taken all. */
export interface Unread {
  bytes: number;
}

/** What a connection tells the lane. */
export interface ConnectionHandler<Session> {
  /**
   * A request whose header is well-formed: known opcode, flags that it may have, a HELLO first and once. The frame is
   * valid only during the call. Each request is ended by one `answer` or `refuse`, now or later.
   */
  request(connection: Connection<Session>, frame: FrameView): void;
  /** Whether the lane takes no more requests for now. It calls the connection's `readOn` when it does again. */
  isFull(connection: Connection<Session>): boolean;
  /** Once; requests in flight need no answer any more. */
  closed(connection: Connection<Session>): void;
}

export interface ConnectionOptions<Session> {
  /** The lane's own. */
  readonly session: Session;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly handler: ConnectionHandler<Session>;
  readonly limits?: ConnectionLimits;
  readonly traffic?: Traffic;
  /** Of all connections of the lane, all three. */
  readonly unread?: Unread;
  readonly outputs?: Outputs;
  readonly frames?: FrameStock;
}

/** What an ERROR says beyond its code. */
export interface RefusalDetails {
  readonly outcome?: Outcome;
  /** With outcome `applied`, and with SEQUENCE_CONFLICT. */
  readonly position?: number;
  readonly detail?: string;
}

/** Answers that are written before the end of the turn, so that a wave of large ones is not gathered in one array. */
const LARGEST_GATHERED_WRITE = 262_144;

/** The part of the limit of unsent bytes beyond which feeds wait within a turn: there may be very many readers that take nothing. */
const CLOGGED = 16;
/** How often it is looked, within the time that a client has to take something, whether it did. */
const LOOKS = 6;
/** Times the limit of unsent bytes that may wait where feeds go on. */
const UNSENT_OF_FEEDS = 8;

/** The first four bytes of what a browser, or anything that speaks HTTP, sends. */
const HTTP_STARTS = new Set(['GET ', 'POST', 'HEAD', 'PUT ', 'OPTI', 'DELE', 'PATC', 'CONN']);

const wrong = (detail: string): [ErrorCode, { detail: string }] => ['BAD_REQUEST', { detail }];

export class Connection<Session = unknown> implements TransportHandler {
  readonly session: Session;
  readonly traffic: Traffic;

  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #handler: ConnectionHandler<Session>;
  readonly #limits: ConnectionLimits;
  readonly #reader: FrameReader;
  readonly #inFlight = new InFlight();
  readonly #unread: Unread;
  readonly #outputs: Outputs;
  /** Of this connection, what is in `#unread`. */
  #counted = 0;

  // hello: waits for HELLO; greeting: HELLO waits for its answer; closing: sends what is left, reads nothing
  #state: 'hello' | 'greeting' | 'open' | 'closing' | 'closed' = 'hello';
  #start = '';
  #reading = false;
  #paused = false;
  #held: Uint8Array[] = [];
  /** Answers of this turn. */
  #out: ByteWriter | undefined;
  #writtenBytes = 0;
  #turnEndAwaited = false;

  #helloTimer: Timer | undefined;
  #frameTimer: Timer | undefined;
  #frameDeadline = 0;
  #stalledTimer: Timer | undefined;
  #closeTimer: Timer | undefined;

  constructor(options: ConnectionOptions<Session>) {
    const { session, transport, clock, handler, limits, traffic, unread, outputs, frames } = options;
    this.session = session;
    this.#transport = transport;
    this.#clock = clock;
    this.#handler = handler;
    this.#limits = limits ?? DEFAULT_CONNECTION_LIMITS;
    this.traffic = traffic ?? noTraffic();
    this.#unread = unread ?? { bytes: 0 };
    this.#outputs = outputs ?? new Outputs();
    this.#reader = new FrameReader(this.#limits.preHelloFrame, frames);
    this.#awaitHello();
  }

  get remote(): string {
    return this.#transport.remote;
  }

  /** The same for all of its requests. */
  get identity(): unknown {
    return this;
  }

  /** Whether the client has answers to take from earlier turns, or so many of this one, that none should be added that nobody waits for. */
  get isClogged(): boolean {
    return this.#transport.unsentBytes > 0 || this.unsentBytes > this.#limits.unsentBytes / CLOGGED;
  }

  /** Requests that wait for their answers. */
  get inFlight(): number {
    return this.#inFlight.requests;
  }

  /** Bytes that these had. */
  get inFlightBytes(): number {
    return this.#inFlight.bytes;
  }

  /** Bytes of answers that the client has not taken. */
  get unsentBytes(): number {
    return this.#transport.unsentBytes + (this.#out?.length ?? 0);
  }

  /** Whether it is not read from for now, as it has too much of something, or the lane has. */
  get isHeld(): boolean {
    return this.#paused;
  }

  /** Whether answers can still reach the client. */
  get isOpen(): boolean {
    return this.#state !== 'closing' && this.#state !== 'closed';
  }

  // --- for the lane ---

  /**
   * Ends a request with its answer, unless MORE are to follow: then it counts as one in flight no longer. A client that does not take those of another
   * lane, which can't see that, is cut off. The body is copied. Once the connection is closed nothing happens.
   */
  answer(opcode: number, flags: number, partition: number, requestId: number, body: Uint8Array): void {
    if (!this.isOpen) return;
    const isLast = (flags & Flag.MORE) === 0;
    if (!isLast && this.unsentBytes > UNSENT_OF_FEEDS * this.#limits.unsentBytes) {
      this.destroy();
      return;
    }
    this.#end(requestId, isLast);
    this.#out ??= this.#outputs.take();
    const start = writeHeader(this.#out, opcode | ANSWER, flags, partition, requestId);
    this.#out.bytes(body);
    this.#finishAnswer(this.#out, start);
  }

  /** Ends a request with an ERROR. Once the connection is closed nothing happens. */
  refuse(requestId: number, partition: number, error: TallystickError | ErrorCode, details?: RefusalDetails): void {
    if (!this.isOpen) return;
    this.#end(requestId);
    // while HELLO waits for its answer nothing else is read, so this is its answer
    if (this.#state === 'greeting') this.#awaitHello();
    this.#sendError(requestId, partition, error, details);
  }

  /** HELLO was answered: reads on, with the larger limit. */
  helloDone(): void {
    if (this.#state !== 'greeting') return;
    this.#state = 'open';
    this.#reader.limit = this.#limits.frame;
    this.#awaitTurnEnd();
  }

  /** The lane takes requests again: reads on at the end of the turn. */
  readOn(): void {
    if (this.isOpen) this.#awaitTurnEnd();
  }

  /** Writes the answers so far at once, in one write, instead of at the end of the turn. */
  flush(): void {
    const out = this.#out;
    if (!out) return;
    const bytes = out.length;
    this.#out = undefined;
    this.#outputs.send(out, this.#transport);
    this.traffic.bytesOut += bytes;
    this.#writtenBytes += bytes;
    this.#count(this.#transport.unsentBytes);
    if (!this.#stalledTimer && this.#transport.unsentBytes > 0) this.#watchForStall();
  }

  /** Sends the answers so far and ends. Requests in flight get no answer. */
  close(): void {
    if (!this.isOpen) return;
    this.flush();
    this.#stopReading();
    this.#closeTimer = this.#clock.setTimer(this.#limits.closeMilliseconds, () => this.#transport.destroy());
    this.#transport.close();
    // What still comes is read and dropped: bytes left unread would reset the connection, and lose the last answers
    if (this.#paused) this.#transport.resume();
  }

  /** Ends at once; what was not sent is lost. */
  destroy(): void {
    if (this.isOpen) this.#stopReading();
    this.#transport.destroy();
  }

  // --- for the transport ---

  data(chunk: Uint8Array): void {
    this.traffic.bytesIn += chunk.length;
    if (!this.isOpen) return;
    if (this.#start.length < 4 && this.#isHttp(chunk)) this.destroy();
    else this.#hold(this.#held.length > 0 || this.#isFull() ? chunk : this.#read(chunk));
  }

  drain(): void {
    this.#count(0);
    if (this.#paused) this.readOn();
  }

  closed(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#held = [];
    this.#count(0);
    for (const timer of [this.#helloTimer, this.#frameTimer, this.#stalledTimer, this.#closeTimer]) timer?.cancel();
    this.#handler.closed(this);
  }

  // --- reading ---

  /** Reads on where that was held up, in the order of arrival. */
  #readOn(): void {
    if (this.#reading || !this.#paused) return;
    while (this.#held.length > 0 && this.isOpen && !this.#isFull()) {
      const rest = this.#read(this.#held.shift() as Uint8Array);
      if (rest.length > 0) this.#held.unshift(rest);
    }
    if (!this.isOpen || this.#held.length > 0 || this.#isFull()) return;
    this.#paused = false;
    this.#restartFrameDeadline();
    this.#transport.resume();
  }

  #stopReading(): void {
    this.#state = 'closing';
    this.#held = [];
    this.#helloTimer?.cancel();
    this.#frameTimer?.cancel();
  }

  /** Takes frames from the chunk until one fills the connection; returns what is left of it. */
  #read(chunk: Uint8Array): Uint8Array {
    const requestsBefore = this.traffic.requests;
    const wasPartial = this.#reader.hasPartial;
    this.#reading = true;
    try {
      const taken = this.#reader.push(chunk, (frame) => {
        this.#frame(frame);
        if (!this.isOpen || this.#isFull()) this.#reader.stop();
      });
      if (!wasPartial || this.traffic.requests > requestsBefore) this.#restartFrameDeadline();
      return this.isOpen ? chunk.subarray(taken) : chunk.subarray(chunk.length);
    } catch (error) {
      if (!(error instanceof FramingError)) throw error;
      this.#closeWith(error);
      return chunk.subarray(chunk.length);
    } finally {
      this.#reading = false;
    }
  }

  /** Keeps a copy of what could not be read, if anything, and stops the transport where nothing more may come. */
  #hold(rest: Uint8Array): void {
    if (!this.isOpen) return;
    if (rest.length > 0) this.#held.push(new Uint8Array(rest));
    if (this.#paused || (this.#held.length === 0 && !this.#isFull())) return;
    this.#paused = true;
    this.#transport.pause();
  }

  /** Whether nothing more may be read for now. */
  #isFull(): boolean {
    return (
      this.#state === 'greeting' ||
      this.#inFlight.requests >= this.#limits.inFlight ||
      this.#inFlight.bytes >= this.#limits.inFlightBytes ||
      this.unsentBytes > this.#mostUnsent ||
      this.#handler.isFull(this)
    );
  }

  get #mostUnsent(): number {
    const { unsentBytes, unsentOfAll, unsentShare } = this.#limits;
    return this.#unread.bytes > unsentOfAll ? unsentShare : unsentBytes;
  }

  /** Keeps in the sum of all connections what this one has not taken, until it is gone. */
  #count(unsentBytes: number): void {
    const counted = this.#state === 'closed' ? 0 : unsentBytes;
    this.#unread.bytes += counted - this.#counted;
    this.#counted = counted;
  }

  #frame(frame: FrameView): void {
    this.traffic.requests++;
    const refusal = this.#refusal(frame);
    if (refusal) {
      this.#sendError(frame.requestId, frame.partition, ...refusal);
      return;
    }
    if (frame.opcode === Opcode.HELLO) {
      this.#state = 'greeting';
      this.#helloTimer?.cancel();
    }
    this.#inFlight.add(frame.requestId, frame.body.length);
    this.#handler.request(this, frame);
  }

  /** What is wrong with the header of a request, if anything. */
  #refusal({ opcode, flags, partition, body }: FrameView): [ErrorCode, { detail: string }?] | undefined {
    if (this.#state === 'hello' && opcode !== Opcode.HELLO) return ['HELLO_REQUIRED'];
    const rule = requestRule(opcode);
    if (!rule) return ['UNKNOWN_OPCODE'];
    if (this.#state === 'open' && opcode === Opcode.HELLO) return wrong('HELLO was said before.');
    if (flags & ~rule.flags) return wrong('A flag has no meaning here.');
    if (rule.addresses === 'lane' && partition !== LANE) return wrong(`The request addresses partition ${LANE}.`);
    if (body.length > (rule.bodyBytes ?? body.length)) return wrong('The body is too long.');
    return undefined;
  }

  /** Whether the connection starts as HTTP does. Decided by the first four bytes, however they come. */
  #isHttp(chunk: Uint8Array): boolean {
    this.#start += String.fromCharCode(...chunk.subarray(0, 4 - this.#start.length));
    return HTTP_STARTS.has(this.#start);
  }

  // --- writing ---

  #end(requestId: number, isLast = true): void {
    if (isLast ? this.#inFlight.end(requestId) : this.#inFlight.park(requestId)) return;
    throw new TallystickError('INTERNAL', `Request ${requestId} is not in flight, so it can't be answered.`);
  }

  #sendError(requestId: number, partition: number, error: TallystickError | ErrorCode, details?: RefusalDetails): void {
    const { refused } = this.traffic;
    const code = typeof error === 'string' ? error : error.code;
    refused.set(code, (refused.get(code) ?? 0) + 1);
    this.#out ??= this.#outputs.take();
    const start = writeHeader(this.#out, Opcode.ERROR, 0, partition, requestId);
    encodeError(this.#out, errorAnswer(error, details));
    this.#finishAnswer(this.#out, start);
  }

  #finishAnswer(out: ByteWriter, start: number): void {
    finishFrame(out, start);
    this.#count(this.#counted + out.length - start);
    if (out.length >= LARGEST_GATHERED_WRITE) this.flush();
    this.#awaitTurnEnd();
  }

  /** An error of the connection itself: told with request id 0, then the end. */
  #closeWith(error: TallystickError | ErrorCode): void {
    this.#sendError(0, LANE, error);
    this.close();
  }

  #awaitTurnEnd(): void {
    if (this.#turnEndAwaited) return;
    this.#turnEndAwaited = true;
    this.#clock.endOfTurn(() => {
      this.#turnEndAwaited = false;
      if (!this.isOpen) return;
      this.flush();
      this.#readOn();
    });
  }

  // --- deadlines ---

  #awaitHello(): void {
    this.#state = 'hello';
    this.#helloTimer = this.#clock.setTimer(this.#limits.helloMilliseconds, () => this.#closeWith('HELLO_REQUIRED'));
  }

  /** The deadline moves with each frame; the timer, to be cheap, only looks at it when it fires. */
  #restartFrameDeadline(): void {
    if (!this.#reader.hasPartial) return;
    this.#frameDeadline = this.#clock.monotonicMilliseconds() + this.#limits.frameMilliseconds;
    if (!this.#frameTimer) this.#setFrameTimer(this.#limits.frameMilliseconds);
  }

  #setFrameTimer(milliseconds: number): void {
    this.#frameTimer = this.#clock.setTimer(milliseconds, () => {
      this.#frameTimer = undefined;
      // while we don't read, a frame can't be completed; reading on sets the deadline anew
      if (!this.isOpen || this.#paused || !this.#reader.hasPartial) return;
      const left = this.#frameDeadline - this.#clock.monotonicMilliseconds();
      if (left > 0) this.#setFrameTimer(left);
      else this.#closeWith('FRAME_TIMEOUT');
    });
  }

  /** `sentBytes`: what the client had taken when it was looked the first time of so many that it has taken no more. */
  #watchForStall(sentBytes = this.#writtenBytes - this.#transport.unsentBytes, looks = 0): void {
    this.#stalledTimer = this.#clock.setTimer(this.#limits.stalledMilliseconds / LOOKS, () => {
      this.#stalledTimer = undefined;
      const { unsentBytes } = this.#transport;
      if (unsentBytes === 0) return;
      if (this.#writtenBytes - unsentBytes !== sentBytes) this.#watchForStall();
      else if (looks + 1 < LOOKS) this.#watchForStall(sentBytes, looks + 1);
      else this.#transport.destroy();
    });
  }
}
