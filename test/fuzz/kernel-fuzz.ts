import { isDeepStrictEqual } from 'node:util';
import { ERRORS, OK, TallystickError } from '../../src/errors.js';
import { Kind, Partition, type PartitionConfiguration, REPEATED, UNCHANGED } from '../../src/partition/partition.js';
import { ByteReader } from '../../src/protocol/bytes.js';
import { decodeHelloRequest } from '../../src/protocol/control.js';
import { FrameReader, FramingError } from '../../src/protocol/frame.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { compileWasm } from '../../src/wasm.js';
import { Random } from '../support/random.js';
import { type Mutant, Mutator } from './mutate.js';
import { type Expectation, Oracle, START } from './oracle.js';
import { type Frame, ValidFrames } from './valid-frames.js';

/**
 * Mutated frames at the decoder and the kernel, in this process: what the kernel says of each is what the codecs and the model
 * say, and what is refused, repeated or only read leaves the persistent memory as it was, byte for byte.
 */

export interface KernelReport {
  /** Frames that the stream was cut into; a length that lies may make none or several of one. */
  frames: number;
  /** Of these, those whose operations were looked at. */
  reached: number;
  applied: number;
  /** Compared memories: of before and after what may not change it. */
  hashes: number;
  /** Streams that could not be cut any more. */
  lostFraming: number;
}

const MODULE = compileWasm('kernel');
/** Time passes by less than this before a frame. */
const LONGEST_STEP_MILLISECONDS = 200;
const EPOCH = 7;
const FRAMES_A_SESSION = 2_000;
const KERNEL_FLAGS = Flag.ATOMIC | Flag.VALUES | Flag.SEQUENCED;
const { status: EPOCH_MISMATCH } = ERRORS.EPOCH_MISMATCH;

const CONFIGURATION: PartitionConfiguration = {
  partition: 1,
  partitions: 2,
  secret: Uint8Array.from({ length: 16 }, (_, i) => i * 7 + 1),
  maximumPages: 4_000,
  maximumProducers: 1_000,
  maximumOperationIds: 100_000,
  producerIdleMilliseconds: 86_400_000,
  operationIdMilliseconds: 60_000,
  windowBytes: 16_000_000,
};

/** One applied body, as the log would have it. */
type Applied = Parameters<Partition['apply']>;

/** Frames from one seed. @throws Error that names seed and frame, where anything is not as it must be */
export function fuzzKernel(seed: number, frames: number, wanted: Partial<PartitionConfiguration> = {}): KernelReport {
  const run = new KernelRun(seed, { ...CONFIGURATION, ...wanted });
  while (run.report.frames < frames) run.next();
  run.compareReplay();
  return run.report;
}

class KernelRun {
  readonly report: KernelReport = { frames: 0, reached: 0, applied: 0, hashes: 0, lostFraming: 0 };
  readonly #seed: number;
  readonly #partition: Partition;
  readonly #oracle: Oracle;
  readonly #random: Random;
  readonly #mutator: Mutator;
  readonly #log: Applied[] = [];
  #session = { producer: 0, incarnation: 0 };
  #sessions = 0;

  constructor(seed: number, configuration: PartitionConfiguration) {
    this.#seed = seed;
    this.#partition = new Partition(MODULE);
    this.#log.push([Kind.CONFIGURE, 0, 0, 0, START, this.#partition.configure(configuration, START)]);
    const { partition, partitions, ...limits } = configuration;
    this.#oracle = new Oracle({ partition, partitions, near: partition, epoch: EPOCH }, limits);
    this.#random = new Random(seed);
    const valid = new ValidFrames(this.#random, this.#oracle.server);
    this.#mutator = new Mutator(this.#random, () => valid.next(this.#oracle.server));
  }

  next(): void {
    if (this.report.frames >= this.#sessions * FRAMES_A_SESSION) this.#openSession();
    this.#oracle.milliseconds += this.#random.below(LONGEST_STEP_MILLISECONDS);
    const mutant = this.#mutator.next();
    try {
      new FrameReader().push(mutant.bytes, (frame) => this.#take(frame, mutant));
    } catch (error) {
      if (!(error instanceof FramingError)) throw error;
      this.report.lostFraming++;
    }
  }

  /** The same bodies once more, in their order, give the same memory. */
  compareReplay(): void {
    const replayed = new Partition(MODULE);
    for (const applied of this.#log) replayed.apply(...applied);
    if (replayed.stateHash !== this.#partition.stateHash) throw new Error(`Seed ${this.#seed}: the replay differs.`);
  }

  #openSession(): void {
    const id = new Uint8Array(16).fill(this.#sessions++ % 50);
    const body = Uint8Array.of(...id, 0);
    const applied: Applied = [Kind.OPEN_PRODUCER, 0, 0, 0, this.#oracle.milliseconds, body];
    this.#log.push(applied);
    this.#partition.apply(...applied);
    this.#session = this.#partition.openedProducer;
    this.#oracle.openProducer(id, false);
  }

  #take(frame: Frame, mutant: Mutant): void {
    this.report.frames++;
    if (frame.opcode === Opcode.HELLO) decodesOrRefuses(frame.body);
    const expectation = this.#oracle.expect(frame);
    if (expectation.reached) this.report.reached++;
    if (!this.#oracle.isOperation(frame)) return;
    const hash = expectation.changes ? undefined : this.#partition.stateHash;
    const status = this.#called(frame);
    const wrong = this.#wrongness(expectation, status, hash);
    if (wrong) throw new Error(this.#described(wrong, frame, mutant));
    if (expectation.changes) this.report.applied++;
  }

  #called(frame: Frame): number {
    if (frame.opcode === Opcode.LIST) return this.#partition.list(frame.body);
    return frame.opcode === Opcode.GET ? this.#read(frame) : this.#apply(frame);
  }

  #apply({ opcode, flags, body }: Frame): number {
    const { producer, incarnation } = this.#session;
    const applied: Applied = [
      opcode,
      flags & KERNEL_FLAGS,
      producer,
      incarnation,
      this.#oracle.milliseconds,
      body.slice(),
    ];
    const status = this.#partition.apply(...applied);
    if (status === OK) this.#log.push(applied);
    return status;
  }

  /** As a lane does it, which looks at the position itself. */
  #read({ flags, body }: Frame): number {
    if (!(flags & Flag.AFTER)) return this.#partition.read(body);
    const reader = new ByteReader(body);
    try {
      const isWanted = reader.u32() === EPOCH && reader.varint() <= this.#partition.sequence;
      return isWanted ? this.#partition.read(body.subarray(reader.offset)) : EPOCH_MISMATCH;
    } catch (error) {
      if (!(error instanceof TallystickError)) throw error;
      return EPOCH_MISMATCH;
    }
  }

  #wrongness(expected: Expectation, status: number, hash: bigint | undefined): string | undefined {
    if (hash !== undefined) {
      this.report.hashes++;
      if (this.#partition.stateHash !== hash) return 'the memory changed';
    }
    const isAnswer = status === OK || status === UNCHANGED || status === REPEATED;
    if (typeof expected.status === 'string') return isAnswer ? 'it was taken' : undefined;
    const plain = status === UNCHANGED ? OK : status;
    if (plain !== expected.status) return `the status is ${status}, not ${expected.status}`;
    if (!isAnswer || !expected.answer) return undefined;
    const answer = expected.answer.read(Uint8Array.of(0, 0, ...this.#partition.answer));
    if (!isDeepStrictEqual(answer, expected.answer.value)) return `the answer is ${shown(answer)}`;
    const position = status === REPEATED ? this.#partition.repeatedPosition : this.#partition.sequence;
    return position === expected.position ? undefined : `the position is ${position}, not ${expected.position}`;
  }

  #described(wrong: string, { opcode, flags, partition, body }: Frame, { mutation }: Mutant): string {
    const header = `opcode ${opcode}, flags ${flags}, partition ${partition}`;
    const where = `seed ${this.#seed}, frame ${this.report.frames} (${mutation})`;
    return `${where}: ${wrong}. ${header}, body ${Buffer.from(body).toString('hex')}`;
  }
}

/** A body of HELLO is taken or refused; anything else that it throws is a defect. */
function decodesOrRefuses(body: Uint8Array): void {
  try {
    decodeHelloRequest(body);
  } catch (error) {
    if (!(error instanceof TallystickError)) throw error;
  }
}

function shown(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? `${inner}n` : inner));
}
