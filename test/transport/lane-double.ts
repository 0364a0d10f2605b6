import { codeOfStatus } from '../../src/errors.js';
import { encodeFrame, FrameReader } from '../../src/protocol/frame.js';
import { LANE, Opcode } from '../../src/protocol/opcode.js';
import { decodeError } from '../../src/protocol/response.js';
import { Connection, type ConnectionLimits, type Unread } from '../../src/transport/connection.js';
import { ManualClock } from '../support/manual-clock.js';
import { MemoryTransport } from './memory-transport.js';

export interface Received {
  readonly opcode: number;
  readonly flags: number;
  readonly partition: number;
  readonly requestId: number;
  readonly body: Uint8Array;
}

/** The frames of a stream, each with a body of its own. */
export function framesOf(bytes: Iterable<number>): Received[] {
  const frames: Received[] = [];
  new FrameReader(2 ** 31).push(Uint8Array.from(bytes), (frame) => frames.push({ ...frame, body: frame.body.slice() }));
  return frames;
}

export const hello = (requestId = 1) => encodeFrame(Opcode.HELLO, 0, LANE, requestId, Uint8Array.of(0x80));
export const ping = (requestId: number, bytes = 0) =>
  encodeFrame(Opcode.PING, 0, LANE, requestId, new Uint8Array(bytes));
export const add = (requestId: number, bytes = 10) =>
  encodeFrame(Opcode.ADD, 0, 3, requestId, new Uint8Array(bytes).fill(requestId));

/** A connection between a client that is the test, and a lane that records what it gets and does what `lane` says. */
export class LaneDouble {
  readonly clock = new ManualClock();
  readonly transport = new MemoryTransport();
  readonly connection: Connection<string>;
  readonly requests: Received[] = [];
  closed = 0;
  /** What the lane does with a request, beside recording it. */
  lane: (request: Received) => void = () => {};

  /** Whether the lane takes no more requests for now. */
  isFull = false;

  constructor(limits?: ConnectionLimits, unread?: Unread) {
    this.connection = new Connection<string>({
      session: '',
      transport: this.transport,
      clock: this.clock,
      handler: {
        request: (_connection, frame) => {
          const request = { ...frame, body: frame.body.slice() };
          this.requests.push(request);
          this.lane(request);
        },
        isFull: () => this.isFull,
        closed: () => {
          this.closed++;
        },
      },
      ...(limits && { limits }),
      ...(unread && { unread }),
    });
    this.transport.handler = this.connection;
  }

  /** A connection whose HELLO was answered and that forgot it. */
  static open(limits?: ConnectionLimits, unread?: Unread): LaneDouble {
    const double = new LaneDouble(limits, unread);
    double.transport.deliver(hello());
    double.answer(1, Opcode.HELLO);
    double.connection.helloDone();
    double.clock.settle();
    double.requests.length = 0;
    double.transport.writes.length = 0;
    double.transport.taken.length = 0;
    return double;
  }

  answer(requestId: number, opcode: number = Opcode.ADD, body: Uint8Array = Uint8Array.of(1)): void {
    this.connection.answer(opcode, 0, 3, requestId, body);
  }

  /** The client sends, and the turn ends. */
  send(...chunks: Uint8Array[]): void {
    this.transport.deliver(...chunks);
    this.clock.settle();
    // what waited for a resume
    this.transport.deliver();
  }

  get requestIds(): number[] {
    return this.requests.map(({ requestId }) => requestId);
  }

  /** What the client got, errors as `CODE id`, answers as `opcode id`. */
  get answers(): string[] {
    return framesOf(this.transport.taken).map(({ opcode, requestId, body }) =>
      opcode === Opcode.ERROR
        ? `${codeOfStatus(decodeError(body).status)} ${requestId}`
        : `${opcode & 0x7f} ${requestId}`,
    );
  }
}
