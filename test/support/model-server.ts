/**
 * A server so naive that it can be believed: Maps of bigints, one request after the other. It speaks all of
 * protocol.md, loses in a crash exactly what was not flushed, and does to each request what a test's script says.
 */

import type { Clock } from '../../src/clock.js';
import { type ErrorCode, type Outcome, TallystickError } from '../../src/errors.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import {
  type AccuracyRule,
  decodeHelloRequest,
  encodeAllStats,
  encodeHelloAnswer,
  encodeStatsAnswer,
  type GrossRule,
  type HelloRequest,
  type ProducerPartition,
} from '../../src/protocol/control.js';
import { encodeFrame, FrameReader, type FrameView } from '../../src/protocol/frame.js';
import { decodeOnce } from '../../src/protocol/once.js';
import { ANSWER, DEFAULT_LIMITS, Flag, LANE, Opcode } from '../../src/protocol/opcode.js';
import {
  decodeAdd,
  decodeDelete,
  decodeGet,
  decodeList,
  decodeOpen,
  decodeSet,
  type Sequence,
} from '../../src/protocol/request.js';
import {
  encodeAddAnswer,
  encodeError,
  encodeGetAnswer,
  encodeListAnswer,
  encodeOpenAnswer,
  encodeSetAnswer,
  encodeSyncAnswer,
  errorAnswer,
} from '../../src/protocol/response.js';
import { decodeSee } from '../../src/protocol/uniques.js';
import { ModelPartition } from './model-partition.js';

/** What happens to a request instead of a plain answer. */
export type Fault =
  /** The connection ends before, or after, the request is applied; no answer in either case. */
  | { readonly drop: 'before' | 'after' }
  /** ERROR, and nothing is applied; with `apply`, it is all the same. */
  | { readonly refuse: ErrorCode; readonly outcome?: Outcome; readonly apply?: boolean }
  /** The answer waits so many milliseconds. */
  | { readonly delay: number }
  /** The server dies before, or after, it applies the request, and loses what is not flushed. */
  | { readonly crash: 'before' | 'after' };

/** A request as a script sees it. */
export interface SeenRequest {
  readonly lane: number;
  readonly opcode: number;
  readonly flags: number;
  readonly partition: number;
  readonly sequence: Sequence | undefined;
  readonly body: Uint8Array;
}

type Limits = Record<keyof typeof DEFAULT_LIMITS, number>;

export interface ModelOptions {
  readonly clock: Clock;
  readonly lanes?: number;
  readonly partitions?: number;
  readonly limits?: Partial<Limits>;
}

/** One end of a connection, as the server sees it. */
export interface ModelPeer {
  send(bytes: Uint8Array): void;
  close(): void;
}

export class ModelServer {
  readonly clock: Clock;
  readonly limits: Limits;
  /** What HELLO tells of the classes. */
  accuracy: readonly AccuracyRule[] | undefined;
  gross: readonly GrossRule[] | undefined;
  readonly laneCount: number;
  readonly partitions: ModelPartition[];
  readonly connections = new Set<ModelConnection>();
  /** Every request that arrived, in order. */
  readonly seen: SeenRequest[] = [];
  /** Whether requests are recorded in `seen`. */
  isRecording = true;
  epoch = 7;
  isUp = true;
  /** While true nothing is flushed except by `flush`. */
  holdsFlushes = false;
  script: (request: SeenRequest) => Fault | undefined = () => undefined;
  /** Where each lane says that it listens. */
  addresses: { readonly host: string; readonly port: number }[];
  #isFlushing = false;

  constructor({ clock, lanes = 2, partitions = 4, limits = {} }: ModelOptions) {
    this.clock = clock;
    this.limits = { ...DEFAULT_LIMITS, ...limits };
    this.laneCount = lanes;
    this.partitions = Array.from({ length: partitions }, () => new ModelPartition());
    this.addresses = Array.from({ length: lanes }, (_, lane) => ({ host: '0.0.0.0', port: 7400 + lane }));
  }

  laneOf(partition: number): number {
    return partition % this.laneCount;
  }

  /** What increased each counter, without what decreased it. */
  get increases(): Map<string, bigint> {
    return new Map(this.partitions.flatMap(({ increases }) => [...increases]));
  }

  /** Every counter that was written. */
  get values(): Map<string, bigint> {
    return new Map(this.partitions.flatMap(({ values }) => [...values]));
  }

  accept(lane: number, peer: ModelPeer): ModelConnection {
    const connection = new ModelConnection(this, lane, peer);
    this.connections.add(connection);
    return connection;
  }

  /** Everything applied becomes durable, and is answered. */
  flush(): void {
    for (const partition of this.partitions) partition.flush();
  }

  scheduleFlush(): void {
    if (this.holdsFlushes || this.#isFlushing) return;
    this.#isFlushing = true;
    this.clock.endOfTurn(() => {
      this.#isFlushing = false;
      if (this.isUp && !this.holdsFlushes) this.flush();
    });
  }

  /** Dies, and loses what was not flushed; connections end without a word. */
  crash(): void {
    this.isUp = false;
    for (const partition of this.partitions) partition.loseUnflushed();
    this.dropConnections();
  }

  start(): void {
    this.isUp = true;
  }

  dropConnections(): void {
    for (const connection of this.connections) connection.drop();
  }

  /** A new life of the directory: ids mean nothing any more, or other counters. */
  changeEpoch(): void {
    this.epoch++;
    for (const partition of this.partitions) partition.giveIdsAnew();
  }
}

export class ModelConnection {
  readonly #server: ModelServer;
  readonly #lane: number;
  readonly #peer: ModelPeer;
  readonly #reader = new FrameReader();
  #isGreeted = false;
  #isDirect = true;
  #isOpen = true;
  #producer: string | undefined;
  readonly #incarnations = new Map<number, number>();

  constructor(server: ModelServer, lane: number, peer: ModelPeer) {
    this.#server = server;
    this.#lane = lane;
    this.#peer = peer;
  }

  receive(bytes: Uint8Array): void {
    if (!this.#isOpen) return;
    this.#reader.push(bytes, (frame) => {
      if (this.#isOpen) this.#take(frame);
    });
  }

  /** Sends bytes of the test's own. */
  send(bytes: Uint8Array): void {
    this.#peer.send(bytes);
  }

  /** Ends it from the server's side. */
  drop(): void {
    if (!this.#isOpen) return;
    this.ended();
    this.#peer.close();
  }

  /** The peer is gone. */
  ended(): void {
    this.#isOpen = false;
    this.#reader.stop();
    this.#server.connections.delete(this);
  }

  #take(frame: FrameView): void {
    const { opcode, flags, partition, requestId } = frame;
    const body = frame.body.slice();
    const request = { lane: this.#lane, opcode, flags, partition, sequence: sequenceOf(opcode, flags, body), body };
    if (this.#server.isRecording) this.#server.seen.push(request);
    const fault = this.#server.script(request);
    if (fault && 'drop' in fault && fault.drop === 'before') {
      this.drop();
      return;
    }
    if (fault && 'crash' in fault && fault.crash === 'before') {
      this.#server.crash();
      return;
    }
    if (fault && 'refuse' in fault) {
      if (fault.apply) this.#handle(request, () => undefined);
      const error = new TallystickError(fault.refuse, 'scripted', fault.outcome ? { outcome: fault.outcome } : {});
      this.#answer(requestId, error);
      return;
    }
    const delay = fault && 'delay' in fault ? fault.delay : undefined;
    const isSilent = fault !== undefined && ('drop' in fault || 'crash' in fault);
    this.#handle(request, (answer, answerFlags = 0) => {
      if (isSilent) return;
      const send = () => this.#answer(requestId, answer, opcode, answerFlags, partition);
      if (delay === undefined) send();
      else this.#server.clock.setTimer(delay, send);
    });
    if (fault && 'drop' in fault) this.drop();
    if (fault && 'crash' in fault) this.#server.crash();
  }

  /** The partitions that the connection may use. */
  get #reached(): number[] {
    const server = this.#server;
    const all = server.partitions.map((_, i) => i);
    return this.#isDirect ? all.filter((i) => server.laneOf(i) === this.#lane) : all;
  }

  #answer(requestId: number, answer: ByteWriter | TallystickError, opcode = 0, flags = 0, partition = LANE): void {
    if (!this.#isOpen) return;
    if (!(answer instanceof TallystickError)) {
      this.#peer.send(encodeFrame(opcode | ANSWER, flags, partition, requestId, answer.view()));
      return;
    }
    const body = new ByteWriter();
    encodeError(body, errorAnswer(answer, { position: Number(answer.cause ?? 0) }));
    this.#peer.send(encodeFrame(Opcode.ERROR, 0, partition, requestId, body.view()));
  }

  #handle(request: SeenRequest, reply: (answer: ByteWriter | TallystickError, flags?: number) => void): void {
    try {
      if (!this.#isGreeted && request.opcode !== Opcode.HELLO) throw new TallystickError('HELLO_REQUIRED');
      const isMine = request.partition === LANE || this.#reached.includes(request.partition);
      if (!isMine) throw new TallystickError('WRONG_PARTITION');
      this.#dispatch(request, reply);
    } catch (error) {
      if (!(error instanceof TallystickError)) throw error;
      reply(error);
    }
  }

  #dispatch(request: SeenRequest, reply: (answer: ByteWriter | TallystickError, flags?: number) => void): void {
    const answer = new ByteWriter();
    const partition = this.#server.partitions[request.partition] as ModelPartition;
    const later = (position: number, write: () => void) => {
      partition.whenFlushed(position, () => {
        write();
        reply(answer);
      });
      this.#server.scheduleFlush();
    };
    const show = (position: number, write: () => void) => {
      if ((request.flags & Flag.LATEST) === 0) return later(position, write);
      write();
      reply(answer);
    };
    switch (request.opcode) {
      case Opcode.HELLO:
        this.#hello(decodeHelloRequest(request.body), answer);
        reply(answer);
        break;
      case Opcode.PING:
        answer.bytes(request.body);
        reply(answer);
        break;
      case Opcode.OPEN: {
        const ids = decodeOpen(request.body).map((name) => ({ status: 0 as const, ...partition.open(name) }));
        later(partition.position, () => encodeOpenAnswer(answer, { ...partition.progress, ids }));
        break;
      }
      case Opcode.GET: {
        const { keys, after } = decodeGet(request.body, request.flags);
        if (after && after.epoch !== this.#server.epoch) throw new TallystickError('EPOCH_MISMATCH');
        if (after && after.sequence > partition.position) throw new TallystickError('POSITION_UNAVAILABLE');
        const values = keys.map((key) => partition.read(key));
        const { position } = partition;
        show(position, () => encodeGetAnswer(answer, { ...partition.progress, position, values }));
        break;
      }
      case Opcode.LIST: {
        const { position } = partition;
        const listed = partition.list(decodeList(request.body));
        show(position, () => encodeListAnswer(answer, { ...partition.progress, position, ...listed }));
        break;
      }
      case Opcode.SYNC:
        this.#sync(answer, reply);
        break;
      case Opcode.STATS:
        if (this.#isDirect) encodeStatsAnswer(answer, { lane: this.#lane, partitions: [] });
        else
          encodeAllStats(
            answer,
            this.#server.addresses.map((_, lane) => ({ lane, partitions: [] })),
          );
        reply(answer);
        break;
      case Opcode.ADD:
      case Opcode.SET:
      case Opcode.DELETE:
        this.#write(request, partition, answer, reply);
        break;
      default:
        throw new TallystickError('UNKNOWN_OPCODE');
    }
  }

  #hello(hello: HelloRequest, answer: ByteWriter): void {
    const server = this.#server;
    this.#isDirect = hello.direct ?? true;
    const mine = this.#reached;
    const opened: ProducerPartition[] = [];
    if (hello.producer) {
      const key = 'name' in hello.producer ? `name ${hello.producer.name}` : `id ${hello.producer.id.join()}`;
      this.#producer = key;
      for (const index of mine) {
        const resumed = hello.resume?.find(({ partition }) => partition === index)?.incarnation;
        const partition = server.partitions[index] as ModelPartition;
        const producer = hello.resume ? partition.resume(key, resumed ?? 0) : partition.openProducer(key);
        this.#incarnations.set(index, producer.incarnation);
        const { incarnation, next, cursor } = producer;
        opened.push({ partition: index, incarnation, next, ...(cursor && { cursor }) });
        if (!hello.resume) partition.flush();
      }
    }
    this.#isGreeted = true;
    const { frame, name, batch, inFlight, window, cursor, reason } = server.limits;
    encodeHelloAnswer(answer, {
      version: 1,
      server: 'model',
      epoch: server.epoch,
      lane: this.#lane,
      lanes: server.addresses,
      partitions: server.partitions.map((_, i) => server.laneOf(i)),
      limits: { frame, name, batch, inFlight, window, cursor, reason },
      ...(server.accuracy && { accuracy: server.accuracy }),
      ...(server.gross && { gross: server.gross }),
      ...(hello.producer && { producer: { id: new Uint8Array(16), partitions: opened } }),
    });
  }

  #write(
    { opcode, flags, body, sequence }: SeenRequest,
    partition: ModelPartition,
    answer: ByteWriter,
    reply: (answer: ByteWriter | TallystickError, flags?: number) => void,
  ): void {
    const index = this.#server.partitions.indexOf(partition);
    const apply = () => {
      if (opcode === Opcode.SET) return partition.set(decodeSet(body, flags));
      if (opcode === Opcode.DELETE) return partition.delete(decodeDelete(body, flags));
      return partition.add(decodeAdd(body, flags), flags, index, this.#server);
    };
    let isRepeated = false;
    let result: ReturnType<typeof apply>;
    if (sequence) {
      const incarnation = this.#incarnations.get(index) ?? 0;
      const fingerprint = fingerprintOf(opcode, flags, sequence, body);
      const outcome = partition.once(this.#producer ?? '', incarnation, sequence, fingerprint, apply);
      isRepeated = outcome.isRepeated;
      result = outcome.result;
    } else {
      result = apply();
    }
    const write = () => {
      const progress = { position: result.position, flushed: partition.flushed };
      if ('previous' in result) encodeSetAnswer(answer, { ...progress, ...result });
      else
        encodeAddAnswer(answer, {
          ...progress,
          refused: result.refused,
          values: flags & Flag.VALUES ? result.values : [],
        });
      reply(answer, isRepeated ? Flag.REPEATED : 0);
    };
    if (flags & Flag.APPLIED) write();
    else partition.whenFlushed(result.position, write);
    this.#server.scheduleFlush();
  }

  #sync(answer: ByteWriter, reply: (answer: ByteWriter) => void): void {
    const server = this.#server;
    const mine = this.#reached;
    const positions: { partition: number; position: number }[] = [];
    for (const index of mine) {
      const partition = server.partitions[index] as ModelPartition;
      const { position } = partition;
      partition.whenFlushed(position, () => {
        positions.push({ partition: index, position });
        if (positions.length < mine.length) return;
        encodeSyncAnswer(answer, { positions });
        reply(answer);
      });
    }
    server.scheduleFlush();
  }
}

function sequenceOf(opcode: number, flags: number, body: Uint8Array): Sequence | undefined {
  if (!(flags & Flag.SEQUENCED)) return undefined;
  if (opcode === Opcode.SET) return decodeSet(body, flags).sequence;
  if (opcode === Opcode.SEE) return decodeSee(body, flags).sequence;
  if (opcode === Opcode.ONCE) return decodeOnce(body, flags).sequence;
  return opcode === Opcode.DELETE ? decodeDelete(body, flags).sequence : decodeAdd(body, flags).sequence;
}

/** What may not change when a sequence is sent again: all but `unanswered` and APPLIED. */
function fingerprintOf(opcode: number, flags: number, sequence: Sequence, body: Uint8Array): string {
  const prefix = new ByteWriter();
  prefix.varint(sequence.sequence);
  prefix.varint(sequence.unanswered);
  const rest = body.subarray(prefix.length);
  return `${opcode} ${flags & (Flag.ATOMIC | Flag.VALUES)} ${Buffer.from(rest).toString('base64')}`;
}
