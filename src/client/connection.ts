import type { Clock, Timer } from '../clock.js';
import { TallystickError } from '../errors.js';
import { ByteWriter } from '../protocol/bytes.js';
import { decodeHelloAnswer, encodeHelloRequest, type HelloAnswer, type HelloRequest } from '../protocol/control.js';
import { encodeFrame, FrameReader, type FrameView } from '../protocol/frame.js';
import { DEFAULT_LIMITS, Flag, LANE, Opcode } from '../protocol/opcode.js';
import { decodeError, errorOf } from '../protocol/response.js';
import { Pending } from './pending.js';
import type { Address, Channel, ChannelEvents, Transport } from './transport.js';

/** A request on its way. One of the two is called last; of a feed, `answered` comes before for each answer that has MORE behind it. */
export interface Exchange {
  /**
   * The answer, or ERROR; the frame is valid during the call. Throws BAD_REQUEST for a body that does not follow
   * protocol.md, which costs the connection.
   */
  answered(frame: FrameView): void;
  /** The connection ended before an answer. */
  lost(): void;
}

/** What a connection tells its owner. */
export interface ConnectionOwner {
  greeted(connection: Connection, answer: HelloAnswer): void;
  /** After an answer other than HELLO's was taken. */
  answered(): void;
  /** After every unanswered exchange was told; not after the owner's own `close`. */
  closed(connection: Connection, error: TallystickError): void;
}

const SILENCE_MILLISECONDS = 5_000;
/** Where in a frame its request id is. */
export const REQUEST_ID_OFFSET = 8;
const MOST_REQUEST_ID = 0xffff_ffff;

const PING: Exchange = { answered: () => undefined, lost: () => undefined };

type State = 'greeting' | 'open' | 'closed';

/** One connection to one lane from HELLO to its end; it does not come back. Matches answers to requests. */
export class Connection implements ChannelEvents {
  owner: ConnectionOwner;
  readonly address: Address;
  readonly #clock: Clock;
  readonly #channel: Channel;
  readonly #hello: HelloRequest;
  readonly #reader = new FrameReader();
  readonly #pending = new Pending<Exchange>();
  /** Those of them that have been answered and have MORE to come: the server does not count them. */
  readonly #feeds = new Set<number>();
  #lastId = 0;
  #state: State = 'greeting';
  #mostInFlight = 0;
  // A peer that says nothing for a while is asked, then given up
  #silenceTimer: Timer | undefined;
  #heard = false;
  #asked = false;

  constructor(transport: Transport, clock: Clock, address: Address, hello: HelloRequest, owner: ConnectionOwner) {
    this.owner = owner;
    this.address = address;
    this.#clock = clock;
    this.#hello = hello;
    this.#channel = transport.open(address, this);
    this.#watch();
  }

  /** Whether it is greeted and below the number of requests that the server takes at a time. */
  get hasRoom(): boolean {
    return this.#state === 'open' && this.#pending.size - this.#feeds.size < this.#mostInFlight;
  }

  /** Sends a frame, into which the request id is written. */
  send(frame: Uint8Array, exchange: Exchange): void {
    if (this.#pending.size === 0) this.#heard = true;
    do this.#lastId = this.#lastId === MOST_REQUEST_ID ? 1 : this.#lastId + 1;
    while (this.#feeds.has(this.#lastId));
    const id = this.#lastId;
    for (let i = 0; i < 4; i++) frame[REQUEST_ID_OFFSET + i] = id >>> (8 * i);
    this.#pending.set(id, exchange);
    this.#channel.write(frame);
    this.#watch();
  }

  /** Sends now what was given in this turn. */
  flush(): void {
    if (this.#state !== 'closed') this.#channel.flush();
  }

  /** Ends it: every unanswered exchange is lost. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#silenceTimer?.cancel();
    this.#reader.stop();
    this.#channel.close();
    for (const exchange of this.#pending.takeAll()) exchange.lost();
  }

  /** Ends it and tells the owner why. */
  fail(error: TallystickError): void {
    if (this.#state === 'closed') return;
    this.close();
    this.owner.closed(this, error);
  }

  opened(): void {
    const body = new ByteWriter();
    encodeHelloRequest(body, this.#hello);
    const frame = encodeFrame(Opcode.HELLO, 0, LANE, 0, body.view());
    this.send(frame, { answered: (answer) => this.#greeted(answer), lost: () => undefined });
  }

  received(bytes: Uint8Array): void {
    this.#heard = true;
    try {
      this.#reader.push(bytes, (frame) => this.#take(frame));
    } catch (error) {
      this.fail(this.#lostError('framing was lost', error));
    }
  }

  closed(cause?: Error): void {
    this.fail(this.#lostError(cause?.message ?? 'closed by the server', cause));
  }

  #take(frame: FrameView): void {
    if (this.#state === 'closed') return;
    const { requestId } = frame;
    const exchange = this.#pending.get(requestId);
    if (exchange && frame.flags & Flag.MORE) this.#feeds.add(requestId);
    else this.#forget(requestId);
    const isHello = this.#state === 'greeting';
    try {
      if (!exchange) throw frame.opcode === Opcode.ERROR ? errorOf(decodeError(frame.body)) : strayAnswer(frame);
      exchange.answered(frame);
    } catch (error) {
      this.#forget(requestId);
      exchange?.lost();
      this.fail(this.#lostError('an answer makes no sense', error));
      return;
    }
    if (this.#state === 'open' && !isHello) this.owner.answered();
  }

  #forget(requestId: number): void {
    this.#pending.delete(requestId);
    this.#feeds.delete(requestId);
  }

  #greeted(frame: FrameView): void {
    if (frame.opcode === Opcode.ERROR) {
      this.fail(errorOf(decodeError(frame.body)));
      return;
    }
    const answer = decodeHelloAnswer(frame.body);
    this.#state = 'open';
    this.#mostInFlight = answer.limits.inFlight;
    this.#reader.limit = Math.max(DEFAULT_LIMITS.frame, answer.limits.frame);
    this.owner.greeted(this, answer);
  }

  #watch(): void {
    this.#silenceTimer ??= this.#clock.setTimer(SILENCE_MILLISECONDS, () => this.#checkSilence());
  }

  #checkSilence(): void {
    this.#silenceTimer = undefined;
    if (this.#state === 'open' && this.#pending.size === 0) return;
    if (this.#heard) {
      this.#heard = false;
      this.#asked = false;
      this.#watch();
    } else if (this.#state === 'open' && !this.#asked) {
      this.#asked = true;
      this.send(encodeFrame(Opcode.PING, 0, LANE, 0, new Uint8Array(0)), PING);
    } else {
      this.fail(this.#lostError('no answer'));
    }
  }

  #lostError(detail: string, cause?: unknown): TallystickError {
    const { host, port } = this.address;
    return new TallystickError('CONNECTION_LOST', `${host}:${port}: ${detail}.`, { cause });
  }
}

const strayAnswer = ({ opcode, requestId }: FrameView) =>
  new TallystickError('BAD_REQUEST', `An answer ${opcode} to request ${requestId}, which does not wait.`);
