import { createHash } from 'node:crypto';
import { ERRORS, type ErrorCode, OK, TallystickError } from '../../src/errors.js';
import { type PartitionConfiguration, REPEATED } from '../../src/partition/partition.js';
import { ByteReader } from '../../src/protocol/bytes.js';
import {
  decodeHelloRequest,
  decodeStatsRequest,
  type HelloRequest,
  PRODUCER_ID_BYTES,
  type ProducerRef,
} from '../../src/protocol/control.js';
import { Flag, LANE, Opcode, requestRule } from '../../src/protocol/opcode.js';
import {
  decodeAdd,
  decodeDelete,
  decodeGet,
  decodeList,
  decodeOpen,
  decodeSet,
  type Key,
  type Sequence,
} from '../../src/protocol/request.js';
import {
  decodeAddAnswer,
  decodeGetAnswer,
  decodeListAnswer,
  decodeOpenAnswer,
  decodeSetAnswer,
  type Progress,
} from '../../src/protocol/response.js';
import { CounterModel, type Outcome, type Session } from '../model/counter-model.js';
import type { Frame, Server } from './valid-frames.js';

/**
 * What a frame must come to: read by the codecs of the protocol and applied to the model of a partition. Frames have to come
 * in the order in which the server applies them.
 */

/** What must come back. */
export interface Expectation {
  readonly opcode: number;
  /**
   * OK, REPEATED, or a status of src/errors.ts. `refused`: with some status, where what is wrong first is the server's
   * choice. `open`: a read that waits for a position, and comes when it comes. `any`: of a partition without a model.
   */
  readonly status: number | 'refused' | 'open' | 'any';
  /** Whether its operations were looked at, or something was wrong before them. */
  readonly reached: boolean;
  /** Whether the partition goes on by one position. */
  readonly changes: boolean;
  /** What the answer must be, and how it is read from a body; absent where it is not known. */
  readonly answer?: { readonly value: unknown; readonly read: (body: Uint8Array) => unknown };
  /** That of the answer; undefined where there is none or it is not known. */
  readonly position?: number;
}

/** A producer's session and its next sequence. */
interface Sequenced {
  readonly session: Session;
  next: number;
}

/** That of a connection without a producer, which the model does not know. */
const NOBODY: Sequenced = { session: { producer: 0xffffffff, incarnation: 0 }, next: 1 };
/** When a partition is configured, in milliseconds since 1970. */
export const START = 1_700_000_000_000;
const KERNEL_FLAGS = Flag.ATOMIC | Flag.VALUES | Flag.SEQUENCED;
const OPERATIONS: readonly number[] = [Opcode.OPEN, Opcode.ADD, Opcode.GET, Opcode.SET, Opcode.DELETE, Opcode.LIST];
/** Those that the model does not know: they have oracles of their own (test/kernel/windows.test.ts, uniques.test.ts, test/pubsub). */
export const WITHOUT_MODEL: readonly number[] = [
  Opcode.SEE,
  Opcode.UNIQUES,
  Opcode.WINDOW,
  Opcode.MERGE,
  Opcode.HISTORY,
  Opcode.TAIL,
  Opcode.ONCE,
];
/** What is said of a sequence; its operations were not looked at. */
const OF_SEQUENCES: ReadonlySet<number> = new Set([
  REPEATED,
  ...(
    [
      'PRODUCER_UNKNOWN',
      'PRODUCER_FENCED',
      'SEQUENCE_GAP',
      'SEQUENCE_CONFLICT',
      'WINDOW_EXCEEDED',
      'ALREADY_APPLIED',
      'BAD_REQUEST',
    ] as const
  ).map(statusOf),
]);

export function statusOf(code: ErrorCode): number {
  return ERRORS[code].status;
}

/** Where frames are sent, and which partition they are about. Each lane has one partition. */
export interface Route {
  /** The one that has the model. */
  readonly partition: number;
  readonly partitions: number;
  /** The one of the lane that the client is connected to. If it is another one, the lane has to pass frames on. */
  readonly near: number;
  /** Of the data directory. */
  readonly epoch: number;
}

export class Oracle {
  readonly epoch: number;
  readonly partition: number;
  readonly model: CounterModel;
  /** The wall clock of the next frame. A server's is not known; nothing must depend on it then. */
  milliseconds = START;
  readonly #route: Route;
  readonly #sessions = new Map<string, Sequenced>();
  #session = NOBODY;
  #isDirect = true;

  constructor(route: Route, limits: Omit<PartitionConfiguration, 'partition' | 'partitions'>) {
    const { partition, partitions, epoch } = route;
    this.model = new CounterModel({ ...limits, partition, partitions }, START);
    this.partition = partition;
    this.epoch = epoch;
    this.#route = route;
  }

  /** What valid frames must know. */
  get server(): Server {
    return {
      partition: this.partition,
      partitions: this.#route.partitions,
      direct: this.#route.near === this.partition,
      epoch: this.epoch,
      position: this.model.statistics.sequence,
      nextSequence: this.#session.next,
    };
  }

  /** A HELLO opened this producer; what comes is of its new session. */
  openProducer(id: Uint8Array, named: boolean): void {
    const { answer } = this.model.openProducer(id, named, this.milliseconds);
    if (!answer) throw new Error('The model has no room for a producer.');
    this.#session = { session: answer, next: 1 };
    this.#sessions.set(hex(id), this.#session);
  }

  /** Of a HELLO on a connection on which none was taken yet. Where it is taken, what comes is of its session. */
  expectHello(frame: Frame): Expectation {
    try {
      const { producer, resume, direct = true } = decodeHelloRequest(frame.body);
      const reaches = !direct || this.#route.near === this.partition;
      if (producer && resume) this.#resume(idOf(producer), resume);
      else if (producer && reaches) this.openProducer(idOf(producer), 'name' in producer);
      else this.#session = NOBODY;
      this.#isDirect = direct;
      return { opcode: Opcode.HELLO, status: OK, reached: false, changes: producer !== undefined && !resume };
    } catch (error) {
      if (!(error instanceof TallystickError)) throw error;
      return refusal(frame, statusOf(error.code), false);
    }
  }

  /** Only of a client that is connected to the partition's lane. */
  #resume(id: Uint8Array, resume: NonNullable<HelloRequest['resume']>): void {
    const known = this.#sessions.get(hex(id));
    if (!known) throw new TallystickError('PRODUCER_UNKNOWN');
    const item = resume.findLast(({ partition }) => partition === this.partition);
    if (!item) throw new TallystickError('BAD_REQUEST');
    if (item.incarnation !== known.session.incarnation) throw new TallystickError('PRODUCER_FENCED');
    this.#session = known;
  }

  /** Whether a lane hands the frame to this partition. */
  isOperation(frame: Frame): boolean {
    const isOurs = OPERATIONS.includes(frame.opcode) && frame.partition === this.partition;
    return isOurs && this.#headerStatus(frame) === undefined;
  }

  /** Of a frame on a connection whose HELLO was answered. */
  expect(frame: Frame): Expectation {
    const header = this.#headerStatus(frame);
    if (header !== undefined) return refusal(frame, statusOf(header), false);
    const hasModel = OPERATIONS.includes(frame.opcode);
    if (!hasModel && !WITHOUT_MODEL.includes(frame.opcode)) return expectOfLane(frame);
    if (!this.#isReached(frame.partition)) return refusal(frame, statusOf('WRONG_PARTITION'), false);
    if (frame.partition !== this.partition || !hasModel) return refusal(frame, 'any', false);
    const before = this.model.statistics.sequence;
    const expectation = this.#expectOperation(frame);
    return { ...expectation, changes: this.model.statistics.sequence > before };
  }

  #isReached(partition: number): boolean {
    return this.#isDirect ? partition === this.#route.near : partition < this.#route.partitions;
  }

  #headerStatus({ opcode, flags, partition, body }: Frame): ErrorCode | undefined {
    const rule = requestRule(opcode);
    if (!rule) return 'UNKNOWN_OPCODE';
    if (opcode === Opcode.HELLO || flags & ~rule.flags) return 'BAD_REQUEST';
    if (rule.addresses === 'lane' && partition !== LANE) return 'BAD_REQUEST';
    return body.length > (rule.bodyBytes ?? body.length) ? 'BAD_REQUEST' : undefined;
  }

  #expectOperation(frame: Frame): Expectation {
    try {
      switch (frame.opcode) {
        case Opcode.ADD:
          return this.#add(frame);
        case Opcode.SET:
          return this.#set(frame);
        case Opcode.DELETE:
          return this.#delete(frame);
        case Opcode.LIST: {
          const outcome = this.model.list(decodeList(frame.body));
          return this.#expectationOf(frame, outcome, (bytes) => withoutProgress(decodeListAnswer(bytes)));
        }
        case Opcode.OPEN: {
          const outcome = this.model.open(decodeOpen(frame.body), this.milliseconds);
          return this.#expectationOf(frame, outcome, (bytes) => decodeOpenAnswer(bytes).ids);
        }
        default:
          return this.#get(frame);
      }
    } catch (error) {
      if (!(error instanceof TallystickError)) throw error;
      return refusal(frame, 'refused', hasReached(frame));
    }
  }

  #add(frame: Frame): Expectation {
    const { flags, body } = frame;
    const request = decodeAdd(body, flags);
    const { operations } = request;
    refuseWideNumbers(operations.map(({ key }) => key));
    const outcome = this.model.add(
      withPayload(request, body),
      flags & KERNEL_FLAGS,
      this.#session.session,
      this.milliseconds,
    );
    const withValues = (flags & Flag.VALUES) !== 0;
    return this.#expectationOf(frame, outcome, (bytes) =>
      withoutProgress(decodeAddAnswer(bytes, operations.length, withValues)),
    );
  }

  #set(frame: Frame): Expectation {
    const request = decodeSet(frame.body, frame.flags);
    refuseWideNumbers([request.key]);
    const outcome = this.model.set(withPayload(request, frame.body), this.#session.session, this.milliseconds);
    return this.#expectationOf(frame, outcome, (bytes) => withoutProgress(decodeSetAnswer(bytes)));
  }

  #delete(frame: Frame): Expectation {
    const request = decodeDelete(frame.body, frame.flags);
    refuseWideNumbers([request.key]);
    const outcome = this.model.delete(withPayload(request, frame.body), this.#session.session, this.milliseconds);
    return this.#expectationOf(frame, outcome, (bytes) => withoutProgress(decodeSetAnswer(bytes)));
  }

  #get(frame: Frame): Expectation {
    const { after, keys } = decodeGet(frame.body, frame.flags);
    if (after && after.epoch !== this.epoch) return refusal(frame, statusOf('EPOCH_MISMATCH'), false);
    if (after && after.sequence > this.server.position) return refusal(frame, 'open', false);
    refuseWideNumbers(keys);
    return this.#expectationOf(frame, this.model.get(keys), (bytes) => decodeGetAnswer(bytes).values);
  }

  #expectationOf(frame: Frame, outcome: Outcome<unknown>, read: (body: Uint8Array) => unknown): Expectation {
    const isSequenced = (frame.flags & Flag.SEQUENCED) !== 0;
    const { status, answer, position } = outcome;
    const reached = !(isSequenced && OF_SEQUENCES.has(status));
    if (answer === undefined) return refusal(frame, status, reached);
    if (isSequenced && status === OK) this.#session.next++;
    return {
      opcode: frame.opcode,
      status: status === REPEATED ? REPEATED : OK,
      reached,
      changes: false,
      answer: { value: answer, read },
      position: position ?? this.server.position,
    };
  }
}

function refusal({ opcode }: Frame, status: Expectation['status'], reached: boolean): Expectation {
  return { opcode, status, reached, changes: false };
}

function expectOfLane(frame: Frame): Expectation {
  const { opcode, body } = frame;
  const done = { opcode, status: OK, reached: false, changes: false };
  if (opcode === Opcode.PING) return { ...done, answer: { value: hex(body), read: hex } };
  try {
    if (opcode === Opcode.STATS) decodeStatsRequest(body);
  } catch (error) {
    if (!(error instanceof TallystickError)) throw error;
    return refusal(frame, statusOf('BAD_REQUEST'), false);
  }
  return done;
}

/** Of a body that no codec takes: whether it may be wrong in its operations. A sequence that is wrong comes first. */
function hasReached({ flags, body }: Frame): boolean {
  if (flags & Flag.SEQUENCED) return false;
  // The shortest position in front of a GET
  return !(flags & Flag.AFTER) || body.length > 5;
}

/** No id has numbers beyond 32 bits, and the kernel takes none; the codecs do. */
function refuseWideNumbers(keys: readonly Key[]): void {
  const isWide = (key: Key) => 'slot' in key && (key.slot >= 2 ** 32 || key.generation >= 2 ** 32);
  if (keys.some(isWide)) throw new TallystickError('BAD_REQUEST');
}

/** The server compares repeats byte by byte behind the sequence, the model by its cursor and what it decoded. */
function withPayload<Request extends { readonly sequence?: Sequence }>(request: Request, body: Uint8Array): Request {
  if (!request.sequence) return request;
  const reader = new ByteReader(body);
  reader.varint();
  reader.varint();
  return { ...request, sequence: { ...request.sequence, cursor: body.slice(reader.offset) } };
}

function withoutProgress<Answer extends Progress>({ position: _, flushed: __, ...answer }: Answer): unknown {
  return answer;
}

/** As the server makes one of a name. */
function idOf(producer: ProducerRef): Uint8Array {
  if ('id' in producer) return producer.id;
  return createHash('sha256')
    .update('tallystick producer\0')
    .update(producer.name)
    .digest()
    .subarray(0, PRODUCER_ID_BYTES);
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
