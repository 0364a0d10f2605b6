import { expect } from 'vitest';
import { OK } from '../../src/errors.js';
import { type CounterClass, encodeClasses } from '../../src/partition/classes.js';
import {
  Kind,
  PAGE_BYTES,
  Partition,
  type PartitionConfiguration,
  REPEATED,
  UNCHANGED,
} from '../../src/partition/partition.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { decodeOnceAnswer, encodeOnce, type OnceAnswer, type OnceRequest } from '../../src/protocol/once.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import {
  type AddRequest,
  type DeleteRequest,
  type Extension,
  encodeAdd,
  encodeDelete,
  encodeGet,
  encodeList,
  encodeOpen,
  encodeSet,
  type Key,
  type ListRequest,
  type SetRequest,
} from '../../src/protocol/request.js';
import {
  decodeAddAnswer,
  decodeGetAnswer,
  decodeListAnswer,
  decodeOpenAnswer,
  decodeSetAnswer,
  type Progress,
} from '../../src/protocol/response.js';
import {
  decodeMergeAnswer,
  decodeSeeAnswer,
  decodeUniquesAnswer,
  encodeMerge,
  encodeSee,
  encodeUniques,
  type MergeRequest,
  type SeeAnswer,
  type SeeRequest,
  type UniqueCount,
  type UniquesAnswer,
  type UniquesWindow,
  type Wanted,
} from '../../src/protocol/uniques.js';
import { compileWasm } from '../../src/wasm.js';
import type {
  AddResult,
  Counters,
  GetResult,
  ListResult,
  OpenedProducer,
  OpenResult,
  Outcome,
  Session,
  SetResult,
} from '../model/counter-model.js';

export const module = compileWasm('kernel');

export const START = 1_700_000_000_000;

export const configuration: PartitionConfiguration = {
  partition: 0,
  partitions: 1,
  secret: Uint8Array.from({ length: 16 }, (_, i) => i * 7 + 1),
  maximumPages: 4000,
  maximumProducers: 100,
  maximumOperationIds: 100_000,
  producerIdleMilliseconds: 24 * 3_600_000,
  operationIdMilliseconds: 600_000,
  windowBytes: 16_000_000,
};

/** A call of `apply`, as the log has it. */
export interface Call {
  readonly kind: number;
  readonly flags: number;
  readonly session: Session;
  readonly milliseconds: number;
  readonly body: Uint8Array;
}

/** The session of a connection without a producer. */
export const NOBODY: Session = { producer: 0, incarnation: 0 };
/** In front of a kernel's answer stands nothing; the codecs expect position and flushed. */
const PROGRESS = Uint8Array.of(0, 0);

/** A kernel behind the codecs of the protocol. It holds every call to leaving no trace unless it was applied. */
export class Kernel implements Counters {
  readonly partition: Partition;
  /** What was applied, in order. */
  readonly log: Call[] = [];
  /** Set false where only speed is wanted. */
  watched = true;
  #lastHash: bigint;

  constructor(wanted: Partial<PartitionConfiguration> = {}) {
    this.partition = new Partition(module);
    const body = this.partition.configure({ ...configuration, ...wanted }, START);
    this.log.push({ kind: Kind.CONFIGURE, flags: 0, session: NOBODY, milliseconds: START, body });
    this.#lastHash = this.partition.stateHash;
  }

  call(kind: number, flags: number, session: Session, milliseconds: number, body: Uint8Array): number {
    const call = { kind, flags, session, milliseconds, body };
    const sequence = this.partition.sequence;
    const status = applyTo(this.partition, call);
    if (status === OK) this.log.push(asLogged(this.partition, call));
    if (status !== OK && this.partition.sequence !== sequence) throw new Error(`Status ${status} took a sequence.`);
    if (this.watched) this.#watch(status);
    return status;
  }

  /** Reading the answer does not disturb it: hashing changes nothing either. */
  #watch(status: number): void {
    const hash = this.partition.stateHash;
    if (status === OK) this.#lastHash = hash;
    else expect(hash, `state after status ${status}`).toBe(this.#lastHash);
  }

  add(request: AddRequest, flags = 0, session = NOBODY, milliseconds = START): Outcome<AddResult> {
    const sequenced = request.sequence ? Flag.SEQUENCED : 0;
    const status = this.call(Opcode.ADD, flags | sequenced, session, milliseconds, bodyOf(encodeAdd, request));
    return this.#outcome(status, (bytes) => {
      const { refused, values } = decodeAddAnswer(bytes, request.operations.length, (flags & Flag.VALUES) !== 0);
      return { refused, values };
    });
  }

  set(request: SetRequest, session = NOBODY, milliseconds = START): Outcome<SetResult> {
    const sequenced = request.sequence ? Flag.SEQUENCED : 0;
    const status = this.call(Opcode.SET, sequenced, session, milliseconds, bodyOf(encodeSet, request));
    return this.#outcome(status, (bytes) => {
      const { status, previous } = decodeSetAnswer(bytes);
      return { status, previous };
    });
  }

  delete(request: DeleteRequest, session = NOBODY, milliseconds = START): Outcome<SetResult> {
    const sequenced = request.sequence ? Flag.SEQUENCED : 0;
    const status = this.call(Opcode.DELETE, sequenced, session, milliseconds, bodyOf(encodeDelete, request));
    return this.#outcome(status, (bytes) => {
      const { status, previous } = decodeSetAnswer(bytes);
      return { status, previous };
    });
  }

  list(request: ListRequest): Outcome<ListResult> {
    const status = this.partition.list(bodyOf(encodeList, request));
    if (this.watched) expect(this.partition.stateHash, 'state after a LIST').toBe(this.#lastHash);
    return this.#outcome(status, (bytes) => {
      const { cursor, counters } = decodeListAnswer(bytes);
      return { cursor, counters };
    });
  }

  open(names: readonly string[], milliseconds = START): Outcome<OpenResult> {
    const status = this.call(Opcode.OPEN, 0, NOBODY, milliseconds, bodyOf(encodeOpen, names));
    return this.#outcome(status, (bytes) => decodeOpenAnswer(bytes).ids);
  }

  get(keys: readonly Key[]): Outcome<GetResult> {
    const status = this.partition.read(bodyOf(encodeGet, { keys }));
    if (this.watched) expect(this.partition.stateHash, 'state after a read').toBe(this.#lastHash);
    return this.#outcome(status, (bytes) => decodeGetAnswer(bytes).values);
  }

  openProducer(id: Uint8Array, named = false, milliseconds = START): Outcome<OpenedProducer> {
    const status = this.call(Kind.OPEN_PRODUCER, 0, NOBODY, milliseconds, Uint8Array.of(...id, named ? 1 : 0));
    return status === OK ? { status, answer: this.partition.openedProducer } : { status };
  }

  see(
    request: SeeRequest,
    flags = 0,
    session = NOBODY,
    milliseconds = START,
  ): Outcome<Omit<SeeAnswer, keyof Progress>> {
    const sequenced = request.sequence ? Flag.SEQUENCED : 0;
    const status = this.call(Opcode.SEE, flags | sequenced, session, milliseconds, bodyOf(encodeSee, request));
    return this.#outcome(status, (bytes) => {
      const { refused, seen } = decodeSeeAnswer(bytes, request.sightings.length, (flags & Flag.VALUES) !== 0);
      return { refused, seen };
    });
  }

  once(
    request: OnceRequest,
    flags = 0,
    session = NOBODY,
    milliseconds = START,
  ): Outcome<Omit<OnceAnswer, keyof Progress>> {
    const sequenced = request.sequence ? Flag.SEQUENCED : 0;
    const status = this.call(Opcode.ONCE, flags | sequenced, session, milliseconds, bodyOf(encodeOnce, request));
    return this.#outcome(status, (bytes) => {
      const { refused, counted, values } = decodeOnceAnswer(
        bytes,
        request.operations.length,
        (flags & Flag.VALUES) !== 0,
      );
      return { refused, counted, values };
    });
  }

  merge(request: MergeRequest, session = NOBODY, milliseconds = START): Outcome<UniqueCount> {
    const sequenced = request.sequence ? Flag.SEQUENCED : 0;
    const status = this.call(Opcode.MERGE, sequenced, session, milliseconds, bodyOf(encodeMerge, request));
    return this.#outcome(status, (bytes) => {
      const { status, exact, count } = decodeMergeAnswer(bytes);
      return { status, exact, count };
    });
  }

  uniques(
    wanted: Wanted,
    keys: readonly Key[],
    window?: UniquesWindow,
    now = START,
  ): Outcome<Omit<UniquesAnswer, keyof Progress>> {
    const status = this.partition.uniques(bodyOf(encodeUniques, { wanted, keys, ...(window && { window }) }), now);
    if (this.watched) expect(this.partition.stateHash, 'state after a UNIQUES').toBe(this.#lastHash);
    return this.#outcome(status, (bytes) => {
      const { position, flushed, ...answer } = decodeUniquesAnswer(bytes, wanted);
      return answer;
    });
  }

  classify(classes: readonly CounterClass[], milliseconds = START): number {
    return this.call(Kind.CLASSIFY, 0, NOBODY, milliseconds, encodeClasses(classes));
  }

  tick(milliseconds: number): Outcome<undefined> {
    return { status: this.call(Kind.TICK, 0, NOBODY, milliseconds, new Uint8Array()), answer: undefined };
  }

  // --- for tests that look at one counter ---

  value(name: string): bigint | undefined {
    return this.get([{ name }]).answer?.[0]?.value;
  }

  /** Deletes a counter by its name. */
  remove(name: string): SetResult | undefined {
    return this.delete({ key: { name }, reason: 'r' }).answer;
  }

  /** What became of one step: the status and the value after it. */
  step(name: string, delta: bigint, extension: Extension = {}) {
    const { answer } = this.add({ operations: [{ key: { name }, delta, ...extension }] }, Flag.VALUES);
    return { status: answer?.refused[0]?.status ?? OK, value: answer?.values[0] };
  }

  #outcome<Answer>(status: number, decode: (bytes: Uint8Array) => Answer): Outcome<Answer> {
    const position = this.partition.repeatedPosition;
    if (status === OK || status === UNCHANGED) return { status, answer: decode(this.#answer()) };
    if (status === REPEATED) return { status, answer: decode(this.#answer()), position };
    expect(this.partition.answer.length, 'bytes of the answer to a refused body').toBe(0);
    return status === ALREADY_APPLIED ? { status, position } : { status };
  }

  #answer(): Uint8Array {
    return Uint8Array.from([...PROGRESS, ...this.partition.answer]);
  }
}

const ALREADY_APPLIED = 23;

export function applyTo(partition: Partition, { kind, flags, session, milliseconds, body }: Call): number {
  return partition.apply(kind, flags, session.producer, session.incarnation, milliseconds, body);
}

/** A call that was just applied, as the log has it. */
function asLogged({ steps }: Partition, call: Call): Call {
  return steps ? { ...call, kind: Kind.STEPS, body: steps.slice() } : call;
}

/** A fresh partition to which the calls are applied; each must be. */
export function replay(log: readonly Call[]): Partition {
  const partition = new Partition(module);
  log.forEach((call, i) => {
    const status = applyTo(partition, call);
    if (status !== OK) throw new Error(`Call ${i} of the log is refused in replay: ${status}.`);
  });
  return partition;
}

export function bodyOf<Value>(encode: (writer: ByteWriter, value: Value) => void, value: Value): Uint8Array {
  const writer = new ByteWriter();
  encode(writer, value);
  return writer.copy();
}

/** 16 bytes, another for each number. */
export function idOf(number: number): Uint8Array {
  const id = new Uint8Array(16);
  new DataView(id.buffer).setUint32(0, number, true);
  return id;
}

/** Where two states differ, in bytes from the header. */
export function differences(a: Uint8Array, b: Uint8Array): number[] {
  const at: number[] = [];
  for (let i = 0; i < Math.max(a.length, b.length); i++) if (a[i] !== b[i]) at.push(i);
  return at;
}

/** Puts a whole state into a partition to which nothing was applied. */
export function restore(partition: Partition, state: Uint8Array): void {
  const pages = state.length / PAGE_BYTES;
  for (let page = pages - 1; page >= 0; page--) {
    partition.restorePage(page, pages, state.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
  }
}

export const classify = (kernel: Kernel, classes: readonly CounterClass[], milliseconds = START) =>
  kernel.call(Kind.CLASSIFY, 0, NOBODY, milliseconds, encodeClasses(classes));

export const tick = (kernel: Kernel, milliseconds: number) =>
  kernel.call(Kind.TICK, 0, NOBODY, milliseconds, new Uint8Array(0));
