import { isDeepStrictEqual } from 'node:util';
import { codeOfStatus, OK } from '../../src/errors.js';
import { type PartitionConfiguration, REPEATED } from '../../src/partition/partition.js';
import { ByteReader } from '../../src/protocol/bytes.js';
import {
  decodeHelloAnswer,
  encodeHelloRequest,
  type HelloAnswer,
  type HelloRequest,
  preHelloFrameBytes,
} from '../../src/protocol/control.js';
import { encodeFrame, FrameReader, FramingError } from '../../src/protocol/frame.js';
import { ANSWER, DEFAULT_LIMITS, Flag, HEADER_BYTES, LANE, Opcode } from '../../src/protocol/opcode.js';
import { encodeGet } from '../../src/protocol/request.js';
import { decodeError } from '../../src/protocol/response.js';
import { Random } from '../support/random.js';
import { type Mutation, Mutator } from './mutate.js';
import { type Expectation, Oracle, type Route, statusOf } from './oracle.js';
import { type Frame, ValidFrames, written } from './valid-frames.js';
import { Wire } from './wire.js';

/**
 * Mutated frames at the socket of a lane of a real server that has one partition: every request gets the one answer that the
 * model gives, or the connection is closed because its stream can't be cut any more.
 *
 * One connection at a time, so that the order of application is known. It sends without waiting; only before it is broken is
 * everything awaited, so that nothing has an unknown end.
 */

export interface SocketReport {
  frames: number;
  /** Of these, those whose operations were looked at. */
  reached: number;
  /** ERROR answers. */
  refused: number;
  connections: number;
  /** Connections that ended over a length that lies or a frame that never came whole. */
  broken: number;
  /** Frames before a HELLO was taken, mutated HELLOs most of them. */
  hellos: number;
}

interface Address {
  readonly host: string;
  readonly port: number;
}

interface Awaited {
  readonly frame: Frame;
  readonly expectation: Expectation;
  readonly number: number;
}

interface Answer {
  readonly opcode: number;
  readonly flags: number;
  readonly body: Uint8Array;
}

/** Requests without an answer, at which it waits for some. */
const MOST_IN_FLIGHT = 500;
/** The server's positions may be ahead of the model's by its ticks, one a minute. */
const TICK_MILLISECONDS = 60_000;
const HELLO_MUTATIONS: readonly Mutation[] = [
  'bits',
  'bytes',
  'cut',
  'insert',
  'splice',
  'varint',
  'body',
  'bomb',
  'none',
];
const NAMES_A_READ = 500;

/** Those of the server that the model knows too. Operation ids and producers are not forgotten within a run. */
const CONFIGURATION: Omit<PartitionConfiguration, 'partition' | 'partitions'> = {
  secret: new Uint8Array(16),
  maximumPages: 65_535,
  maximumProducers: 65_536,
  maximumOperationIds: 262_144,
  producerIdleMilliseconds: 86_400_000,
  operationIdMilliseconds: 86_400_000,
  windowBytes: 16_000_000,
};

/** The settings of a server under test besides one partition for each lane. */
export const SERVER_ENVIRONMENT = {
  TALLYSTICK_OPERATION_ID_SECONDS: '86400',
  // Checkpoints are made all the while, each held against the live memory
  TALLYSTICK_CHECKPOINT_TAIL_BYTES: '1048576',
} as const;

export class LaneFuzz {
  readonly report: SocketReport = { frames: 0, reached: 0, refused: 0, connections: 0, broken: 0, hellos: 0 };
  readonly #seed: number;
  readonly #random: Random;
  readonly #oracle: Oracle;
  readonly #valid: ValidFrames;
  readonly #mutator: Mutator;
  readonly #elapsedMilliseconds: () => number;
  readonly #address: Address;
  readonly #route: Route;
  /** Whether all positions of the partition are its own. */
  #isAlone = true;
  #wire: Wire | undefined;
  /** By request id, which may be in use twice at a time. */
  #awaited = new Map<number, Awaited[]>();
  #inFlight = 0;
  /** Of these, reads that wait for a position. */
  #openReads = 0;
  /** What the server said of the connection itself. */
  #connectionError: string | undefined;
  #failure: { readonly error: unknown } | undefined;
  #wake = (): void => {};

  /** @param elapsedMilliseconds since the server was started */
  constructor(address: Address, route: Route, seed: number, elapsedMilliseconds: () => number) {
    this.#address = address;
    this.#route = route;
    this.#seed = seed;
    this.#random = new Random(seed);
    this.#elapsedMilliseconds = elapsedMilliseconds;
    this.#oracle = new Oracle(route, CONFIGURATION);
    this.#valid = new ValidFrames(this.#random, this.#oracle.server);
    this.#mutator = new Mutator(this.#random, () => this.#valid.next(this.#oracle.server));
  }

  /** Requests whose answers have not come. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Where it is, for a person. */
  describe(): string {
    const [oldest] = [...this.#awaited.values()].flat();
    const frame = oldest ? `; unanswered: ${Buffer.from(encoded(oldest.frame)).toString('hex')}` : '';
    return `seed ${this.#seed}, ${this.report.frames} frames, ${this.#inFlight} in flight${frame}`;
  }

  /** Sends so many more frames and awaits their answers. @throws Error naming the first thing that is not as it must be */
  async run(frames: number): Promise<void> {
    const end = this.report.frames + frames;
    while (this.report.frames < end) {
      if (!this.#wire) await this.#connect();
      else if (this.#inFlight >= MOST_IN_FLIGHT) await this.#until(() => this.#inFlight <= MOST_IN_FLIGHT / 2);
      else await this.#sendMutant();
    }
    await this.#settle();
  }

  /**
   * Reads every counter that the model has. Others may have written to other counters meanwhile, and the server may have
   * been started again.
   *
   * @returns how many it read
   */
  async verify(): Promise<number> {
    this.#wire?.destroy();
    this.#isAlone = false;
    await this.#open();
    await this.#hello(helloFrame({ direct: this.#oracle.server.direct }));
    const names = [...this.#oracle.model.values.keys()];
    for (let from = 0; from < names.length; from += NAMES_A_READ) {
      const keys = names.slice(from, from + NAMES_A_READ).map((name) => ({ name }));
      const { partition } = this.#route;
      const body = written((writer) => encodeGet(writer, { keys }));
      const frame = { opcode: Opcode.GET, flags: 0, partition, requestId: from + 1, body };
      this.#send([frame], encoded(frame));
    }
    await this.#settle();
    this.#wire?.end();
    return names.length;
  }

  // --- sending ---

  async #sendMutant(): Promise<void> {
    const { bytes } = this.#mutator.next();
    const { frames, whole, error } = cut(bytes);
    this.#send(frames, bytes.subarray(0, whole));
    if (whole < bytes.length || error) await this.#break(bytes.subarray(whole), error);
  }

  #send(frames: readonly Frame[], bytes: Uint8Array): void {
    for (const frame of frames) {
      const expectation = this.#oracle.expect(frame);
      this.report.frames++;
      if (expectation.reached) this.report.reached++;
      this.#await(frame, expectation);
    }
    // In two pieces now and then, so that frames come torn.
    const cutAt = this.#random.oneIn(8) ? this.#random.below(bytes.length + 1) : bytes.length;
    this.#wire?.write(bytes.subarray(0, cutAt));
    this.#wire?.write(bytes.subarray(cutAt));
  }

  #await(frame: Frame, expectation: Expectation): void {
    const same = this.#awaited.get(frame.requestId) ?? [];
    this.#awaited.set(frame.requestId, [...same, { frame, expectation, number: this.report.frames }]);
    this.#inFlight++;
    if (expectation.status === 'open') this.#openReads++;
  }

  /** Sends what can't be cut into frames, or stops within one. */
  async #break(tail: Uint8Array, error: FramingError | undefined): Promise<void> {
    await this.#settle();
    this.report.broken++;
    this.#wire?.write(tail);
    if (!error) this.#wire?.end();
    await this.#until(() => this.#wire?.isClosed === true, true);
    if (this.#connectionError !== error?.code)
      throw this.#wrong(`The connection ended with ${this.#connectionError}, not ${error?.code}.`);
    this.#wire = undefined;
  }

  // --- connecting ---

  async #open(): Promise<void> {
    this.report.connections++;
    this.#awaited = new Map();
    this.#inFlight = 0;
    this.#openReads = 0;
    this.#connectionError = undefined;
    const onEvent = (error?: unknown): void => {
      if (error !== undefined) this.#failure ??= { error };
      this.#wake();
    };
    this.#wire = await Wire.open(this.#address, (answer) => this.#take(answer), onEvent);
  }

  async #connect(): Promise<void> {
    await this.#open();
    const random = this.#random;
    for (let left = random.oneIn(3) ? 1 + random.below(3) : 0; left > 0; left--) {
      const bytes = random.oneIn(4)
        ? this.#mutator.next().bytes
        : this.#mutator.mutate(this.#valid.hello(random.u32()), random.pick(HELLO_MUTATIONS));
      const { frames, whole, error } = cut(bytes, preHelloFrameBytes(this.#route.partitions));
      const [frame] = frames;
      // A HELLO that is taken has the frames behind it read by another limit.
      if (!error && (frames.length !== 1 || whole < bytes.length)) continue;
      if (frame && (await this.#hello(frame))) return;
      if (error) return this.#break(bytes.subarray(whole), error);
    }
    const { direct } = this.#oracle.server;
    await this.#hello(helloFrame({ direct, producer: { name: `lane-${this.#route.partition}` } }));
  }

  /** Sends a frame before a HELLO was taken; says whether it was one that is. */
  async #hello(frame: Frame): Promise<boolean> {
    this.report.hellos++;
    const expectation = this.#expectHello(frame);
    this.#await(frame, expectation);
    this.#wire?.write(encoded(frame));
    await this.#settle();
    return expectation.status === OK;
  }

  #expectHello(frame: Frame): Expectation {
    const { opcode, flags, partition } = frame;
    const isHello = opcode === Opcode.HELLO;
    if (isHello && flags === 0 && partition === LANE) return this.#oracle.expectHello(frame);
    const status = statusOf(isHello ? 'BAD_REQUEST' : 'HELLO_REQUIRED');
    return { opcode, status, reached: false, changes: false };
  }

  // --- answers ---

  #take({ opcode, flags, requestId, partition, body }: Frame): void {
    const answer = { opcode, flags, body };
    const same = this.#awaited.get(requestId);
    if (!same) {
      if (requestId !== 0 || partition !== LANE || opcode !== Opcode.ERROR)
        throw this.#wrong(`Nobody asked for the answer ${opcode} to ${requestId}.`);
      this.#connectionError = codeOfStatus(decodeError(body).status);
      return;
    }
    const wrongs = same.map((awaited) => this.#wrongness(awaited, answer));
    const index = wrongs.indexOf(undefined);
    if (index < 0) throw this.#wrong(wrongs.join(' '), same[0]);
    if (same[index]?.expectation.status === 'open') this.#openReads--;
    if (opcode === Opcode.ERROR) this.report.refused++;
    if (same.length === 1) this.#awaited.delete(requestId);
    else this.#awaited.set(requestId, same.toSpliced(index, 1));
    this.#inFlight--;
  }

  #wrongness({ frame, expectation }: Awaited, given: Answer): string | undefined {
    const { opcode, status, answer, position } = expectation;
    if (status === 'open' || status === 'any') return undefined;
    if (given.opcode === Opcode.ERROR) {
      const error = decodeError(given.body);
      const isRight = status === 'refused' ? error.outcome !== 'unknown' : error.status === status;
      return isRight ? undefined : `It was refused: ${codeOfStatus(error.status)} ${error.detail}, not ${status}.`;
    }
    if (given.opcode !== (opcode | ANSWER)) return `The answer has opcode ${given.opcode}.`;
    const isRepeat = (given.flags & Flag.REPEATED) !== 0;
    if (status !== (isRepeat ? REPEATED : OK)) return `It was ${isRepeat ? 'repeated' : 'taken'}, not ${status}.`;
    const value = answer?.read(given.body);
    if (answer && !isDeepStrictEqual(value, answer.value))
      return `The answer is ${JSON.stringify(value, bigintAsText)}.`;
    return position === undefined ? undefined : this.#wrongPosition(position, frame, given);
  }

  #wrongPosition(expected: number, { opcode, flags }: Frame, { body }: Answer): string | undefined {
    const ticks = 1 + Math.floor(this.#elapsedMilliseconds() / TICK_MILLISECONDS);
    const reader = new ByteReader(body);
    const position = reader.varint();
    const flushed = reader.varint();
    const isDurable = (flags & (Flag.APPLIED | Flag.LATEST)) === 0;
    // A durable read of what nothing on its way to the device changes is as of what is there.
    const isAtOnce = opcode === Opcode.GET && isDurable && position === flushed;
    if ((position < expected && !isAtOnce) || (this.#isAlone && position > expected + ticks))
      return `The position is ${position}, not ${expected}.`;
    return isDurable && flushed < position ? `Position ${position} was shown, and ${flushed} is flushed.` : undefined;
  }

  // --- waiting ---

  /** Until everything is answered but reads that wait for a position, which change nothing. */
  #settle(): Promise<void> {
    return this.#until(() => this.#inFlight === this.#openReads);
  }

  async #until(holds: () => boolean, mayClose = false): Promise<void> {
    for (;;) {
      if (this.#failure) throw this.#failure.error;
      if (holds()) return;
      if (this.#wire?.isClosed && !mayClose) throw this.#wrong(`The server closed: ${this.#connectionError}.`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #wrong(what: string, awaited?: Awaited): Error {
    const where = `seed ${this.#seed}, partition ${this.#route.partition}, frame ${awaited?.number ?? this.report.frames}`;
    const frame = awaited ? ` Sent: ${Buffer.from(encoded(awaited.frame)).toString('hex')}` : '';
    return new Error(`${where}: ${what}${frame}`);
  }
}

/**
 * A run for each lane of a server that was just started, each on a connection to it.
 *
 * @param elapsedMilliseconds since it was started
 */
export async function fuzzLanes(url: URL, seed: number, elapsedMilliseconds: () => number): Promise<LaneFuzz[]> {
  const { host, epoch, lanes } = await greet(url);
  return lanes.map(({ port }, partition) => {
    const route = { partition, partitions: lanes.length, near: partition, epoch };
    return new LaneFuzz({ host, port }, route, seed * lanes.length + partition, elapsedMilliseconds);
  });
}

/** One run for the last partition, on a connection to the first lane, which has to pass on what comes. */
export async function fuzzForwarded(url: URL, seed: number, elapsedMilliseconds: () => number): Promise<LaneFuzz> {
  const { host, epoch, lanes } = await greet(url);
  const route = { partition: lanes.length - 1, partitions: lanes.length, near: 0, epoch };
  return new LaneFuzz({ host, port: lanes[0]?.port ?? 0 }, route, seed, elapsedMilliseconds);
}

async function greet({ hostname: host, port }: URL): Promise<HelloAnswer & { readonly host: string }> {
  const answer = await new Promise<HelloAnswer>((resolve, reject) => {
    Wire.open({ host, port: Number(port) }, ({ body }) => resolve(decodeHelloAnswer(body)), reject).then((wire) => {
      wire.write(encoded(helloFrame({})));
      wire.end();
    }, reject);
  });
  return { ...answer, host };
}

function helloFrame(request: Partial<HelloRequest>): Frame {
  const body = written((writer) => encodeHelloRequest(writer, { version: 1, client: 'fuzz', ...request }));
  return { opcode: Opcode.HELLO, flags: 0, partition: LANE, requestId: 1, body };
}

/** The frames of a stream, how many bytes they have, and whether the rest can't be cut. */
function cut(
  bytes: Uint8Array,
  limit: number = DEFAULT_LIMITS.frame,
): { frames: Frame[]; whole: number; error: FramingError | undefined } {
  const frames: Frame[] = [];
  let whole = 0;
  try {
    new FrameReader(limit).push(bytes, ({ opcode, flags, partition, requestId, body }) => {
      frames.push({ opcode, flags, partition, requestId, body: body.slice() });
      whole += HEADER_BYTES + body.length;
    });
  } catch (error) {
    if (!(error instanceof FramingError)) throw error;
    return { frames, whole, error };
  }
  return { frames, whole, error: undefined };
}

function encoded({ opcode, flags, partition, requestId, body }: Frame): Uint8Array {
  return encodeFrame(opcode, flags, partition, requestId, body);
}

const bigintAsText = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? `${value}n` : value);
