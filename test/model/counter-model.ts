import { ABSENT, ERRORS, OK } from '../../src/errors.js';
import { type PartitionConfiguration, REPEATED, UNCHANGED } from '../../src/partition/partition.js';
import { ByteWriter, encodeUtf8 } from '../../src/protocol/bytes.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { partitionOf } from '../../src/protocol/partition-hash.js';
import type {
  AddRequest,
  DeleteRequest,
  Key,
  ListRequest,
  Operation,
  Sequence,
  SetRequest,
} from '../../src/protocol/request.js';
import { encodeAddAnswer, encodeSetAnswer } from '../../src/protocol/response.js';

/**
 * What a partition does, said as simply as possible: maps, arrays and copies, decoded values in and out. It knows nothing
 * of memory: where that runs out, or what an id looks like inside, is no part of it.
 */

/** What a partition's body came to. `position` is that of a repeated batch. */
export interface Outcome<Answer> {
  readonly status: number;
  readonly answer?: Answer;
  readonly position?: number;
}

export interface AddResult {
  readonly refused: readonly { readonly index: number; readonly status: number }[];
  readonly values: readonly bigint[];
}

/** Of SET and DELETE. */
export interface SetResult {
  readonly status: number;
  readonly previous: bigint;
}

export type OpenResult = readonly { readonly status: number; readonly slot?: number; readonly generation?: number }[];
export interface ListResult {
  readonly cursor: number;
  readonly counters: readonly { readonly name: string; readonly value: bigint }[];
}
export type GetResult = readonly { readonly status: number; readonly value?: bigint }[];

/** Who writes: what OPEN_PRODUCER answered. */
export interface Session {
  readonly producer: number;
  readonly incarnation: number;
}

export interface OpenedProducer extends Session {
  readonly next: number;
  readonly cursor: Uint8Array | null;
}

/** What both the model and a kernel behind its codecs can do. */
export interface Counters {
  add(request: AddRequest, flags: number, session: Session, milliseconds: number): Outcome<AddResult>;
  set(request: SetRequest, session: Session, milliseconds: number): Outcome<SetResult>;
  delete(request: DeleteRequest, session: Session, milliseconds: number): Outcome<SetResult>;
  list(request: ListRequest): Outcome<ListResult>;
  open(names: readonly string[], milliseconds: number): Outcome<OpenResult>;
  get(keys: readonly Key[]): Outcome<GetResult>;
  openProducer(id: Uint8Array, named: boolean, milliseconds: number): Outcome<OpenedProducer>;
  tick(milliseconds: number): Outcome<undefined>;
}

interface KeptBatch {
  readonly payload: string;
  readonly position: number;
  readonly bytes: number;
  answer?: AddResult | SetResult;
}

interface Producer {
  readonly id: string;
  readonly named: boolean;
  /** The incarnation under which it came. */
  readonly first: number;
  incarnation: number;
  next: number;
  lastUsed: number;
  cursor: Uint8Array | null;
  window: Map<number, KeptBatch>;
}

/** What an id stands for: a slot has one counter after the other, each of another generation. */
interface Slot {
  readonly name: string | undefined;
  readonly generation: number;
}

/** What an atomic batch that is refused puts back. */
interface Copy {
  readonly slots: Slot[];
  readonly slotOfName: Map<string, number>;
  readonly free: number[];
  readonly values: Map<string, bigint>;
  readonly remembered: Map<string, RememberedOperation>;
}

interface RememberedOperation {
  readonly payload: string;
  readonly expires: number;
  readonly status: number;
  readonly value: bigint;
}

const MIN = -(2n ** 63n);
const MAX = 2n ** 63n - 1n;
const HOUR = 3_600_000;
const WINDOW = 1024;
/** Of the answers that a producer may have kept. */
const ANSWER_BYTES = 40_928;
const LAST_GENERATION = 65_535;
/** Slots that a LIST looks at, counters and bytes that it tells. */
const LIST = { slots: 4096, names: 1024, bytes: 32_768 };

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const status = (code: keyof typeof ERRORS) => ERRORS[code].status;

export class CounterModel implements Counters {
  readonly #configuration: PartitionConfiguration;
  #slots: Slot[] = [];
  /** The slot that was freed last is taken first. */
  #freeSlots: number[] = [];
  #slotOfName = new Map<string, number>();
  #values = new Map<string, bigint>();
  /** In the order in which they were remembered, which is the one in which they expire. */
  #operations = new Map<string, RememberedOperation>();
  readonly #producers: (Producer | null)[] = [];
  readonly #freeProducers: number[] = [];
  #incarnation = 0;
  #sequence = 1;
  #clock = 0;
  #time: number;
  #applied = 0;
  #refused = 0;

  /** A partition that was just configured. */
  constructor(configuration: PartitionConfiguration, milliseconds: number) {
    this.#configuration = configuration;
    this.#time = milliseconds;
  }

  get values(): ReadonlyMap<string, bigint> {
    return this.#values;
  }

  get statistics() {
    return {
      sequence: this.#sequence,
      counters: this.#values.size,
      names: this.#slotOfName.size,
      producers: this.#producers.filter(Boolean).length,
      operationIds: this.#operations.size,
      applied: this.#applied,
      refused: this.#refused,
    };
  }

  add(request: AddRequest, flags: number, session: Session, milliseconds: number): Outcome<AddResult> {
    const { sequence, operations } = request;
    const payload = payloadOf(Opcode.ADD, flags & (Flag.ATOMIC | Flag.VALUES), { ...sequence, rest: operations });
    const repeated = sequence && this.#admit<AddResult>(session, sequence, payload);
    if (repeated) return repeated;
    if (this.#hasForeignName(operations.map(({ key }) => key))) return { status: status('WRONG_PARTITION') };
    this.#pass(milliseconds);
    this.#expireOperations(64 + 2 * operations.filter(({ operationId }) => operationId).length);
    const answer = this.#applyAll(operations, flags);
    if (sequence) this.#conclude(session, sequence, payload, answer, addAnswerBytes(answer));
    return { status: OK, answer };
  }

  #applyAll(operations: readonly Operation[], flags: number): AddResult {
    const before = flags & Flag.ATOMIC && this.#copy();
    // An id is looked up before anything is applied: no batch uses one that it gives itself.
    const names = operations.map(({ key }) => this.#nameOf(key));
    const results: { status: number; value: bigint }[] = [];
    for (const [i, operation] of operations.entries()) {
      const result = this.#applyOne(names[i], operation);
      results.push(result);
      if (result.status === OK || !before) continue;
      this.#restore(before);
      names.forEach((name, other) => {
        const value = (name !== undefined && this.#values.get(name)) || 0n;
        results[other] = { status: other === i ? result.status : status('ATOMIC_ABORTED'), value };
      });
      break;
    }
    const refused = results.flatMap((result, index) => (result.status ? [{ index, status: result.status }] : []));
    this.#refused += refused.length;
    this.#applied += operations.length - refused.length;
    return { refused, values: flags & Flag.VALUES ? results.map(({ value }) => value) : [] };
  }

  #copy(): Copy {
    return {
      slots: [...this.#slots],
      slotOfName: new Map(this.#slotOfName),
      free: [...this.#freeSlots],
      values: new Map(this.#values),
      remembered: new Map(this.#operations),
    };
  }

  #restore({ slots, slotOfName, free, values, remembered }: Copy): void {
    this.#slots = slots;
    this.#slotOfName = slotOfName;
    this.#freeSlots = free;
    this.#values = values;
    this.#operations = remembered;
  }

  #applyOne(name: string | undefined, operation: Operation): { status: number; value: bigint } {
    if (name === undefined) return { status: status('ID_UNKNOWN'), value: 0n };
    if (!operation.operationId) return this.#step(name, operation);
    const id = hex(operation.operationId);
    const { key, operationId, ...rest } = operation;
    const payload = JSON.stringify({ name, ...rest }, withBigint);
    const known = this.#operations.get(id);
    if (known?.payload === payload) return known;
    const value = this.#values.get(name) ?? 0n;
    if (known) return { status: status('OPERATION_CONFLICT'), value };
    if (this.#operations.size >= this.#configuration.maximumOperationIds)
      return { status: status('OPERATIONS_FULL'), value };
    const result = this.#step(name, operation);
    const expires = this.#clock + this.#configuration.operationIdMilliseconds;
    this.#operations.set(id, { ...result, payload, expires });
    return result;
  }

  #step(name: string, { delta, min = MIN, max = MAX }: Operation): { status: number; value: bigint } {
    const value = this.#values.get(name) ?? 0n;
    const next = value + delta;
    if (next < MIN || next > MAX) return { status: status('OVERFLOW'), value };
    if (next < min || next > max) return { status: status('OUT_OF_BOUNDS'), value };
    this.#write(name, next);
    return { status: OK, value: next };
  }

  set(request: SetRequest, session: Session, milliseconds: number): Outcome<SetResult> {
    const { sequence, ...rest } = request;
    const payload = payloadOf(Opcode.SET, 0, { ...sequence, rest });
    const repeated = sequence && this.#admit<SetResult>(session, sequence, payload);
    if (repeated) return repeated;
    if (this.#hasForeignName([request.key])) return { status: status('WRONG_PARTITION') };
    this.#pass(milliseconds);
    const answer = this.#applySet(request);
    if (sequence) this.#conclude(session, sequence, payload, answer, setAnswerBytes(answer));
    return { status: OK, answer };
  }

  #applySet({ key, value, expect }: SetRequest): SetResult {
    const name = this.#nameOf(key);
    if (name === undefined) return { status: status('ID_UNKNOWN'), previous: 0n };
    const previous = this.#values.get(name) ?? 0n;
    if (expect !== undefined && expect !== previous) return { status: status('EXPECTATION_FAILED'), previous };
    this.#write(name, value);
    return { status: OK, previous };
  }

  delete(request: DeleteRequest, session: Session, milliseconds: number): Outcome<SetResult> {
    const { sequence, ...rest } = request;
    const payload = payloadOf(Opcode.DELETE, 0, { ...sequence, rest });
    const repeated = sequence && this.#admit<SetResult>(session, sequence, payload);
    if (repeated) return repeated;
    if (this.#hasForeignName([request.key])) return { status: status('WRONG_PARTITION') };
    this.#pass(milliseconds);
    const answer = this.#applyDelete(request);
    if (sequence) this.#conclude(session, sequence, payload, answer, setAnswerBytes(answer));
    return { status: OK, answer };
  }

  #applyDelete({ key, expect }: DeleteRequest): SetResult {
    const name = this.#nameOf(key);
    if (name === undefined) return { status: status('ID_UNKNOWN'), previous: 0n };
    const value = this.#values.get(name);
    const previous = value ?? 0n;
    if (expect !== undefined && expect !== previous) return { status: status('EXPECTATION_FAILED'), previous };
    this.#values.delete(name);
    this.#leaveSlot(name);
    return { status: value === undefined ? ABSENT : OK, previous };
  }

  list({ prefix, cursor, limit }: ListRequest): Outcome<ListResult> {
    const counters: { name: string; value: bigint }[] = [];
    let bytes = 0;
    let slot = Math.min(cursor, this.#slots.length);
    const end = Math.min(slot + LIST.slots, this.#slots.length);
    for (; slot < end && counters.length < Math.min(limit, LIST.names); slot++) {
      const name = this.#slots[slot]?.name;
      const value = name === undefined ? undefined : this.#values.get(name);
      if (name === undefined || value === undefined) continue;
      const encoded = encodeUtf8(name);
      if (Buffer.compare(encoded.subarray(0, prefix.length), prefix) !== 0) continue;
      bytes += encoded.length + 12;
      if (bytes > LIST.bytes) break;
      counters.push({ name, value });
    }
    return { status: OK, answer: { cursor: slot < this.#slots.length ? slot : 0, counters } };
  }

  open(names: readonly string[], milliseconds: number): Outcome<OpenResult> {
    if (this.#hasForeignName(names.map((name) => ({ name })))) return { status: status('WRONG_PARTITION') };
    const fresh = names.some((name) => !this.#slotOfName.has(name));
    if (fresh) this.#pass(milliseconds);
    const answer = names.map((name) => {
      const slot = this.#slotOf(name);
      return { status: OK, slot, generation: (this.#slots[slot] as Slot).generation };
    });
    return { status: fresh ? OK : UNCHANGED, answer };
  }

  get(keys: readonly Key[]): Outcome<GetResult> {
    if (this.#hasForeignName(keys)) return { status: status('WRONG_PARTITION') };
    const answer = keys.map((key) => {
      const name = this.#nameOf(key);
      if (name === undefined) return { status: status('ID_UNKNOWN') };
      const value = this.#values.get(name);
      return value === undefined ? { status: ABSENT } : { status: OK, value };
    });
    return { status: OK, answer };
  }

  openProducer(id: Uint8Array, named: boolean, milliseconds: number): Outcome<OpenedProducer> {
    let slot = this.#producers.findIndex((producer) => producer?.id === hex(id));
    if (
      slot < 0 &&
      this.#freeProducers.length === 0 &&
      this.#producers.length >= this.#configuration.maximumProducers
    ) {
      return { status: status('PRODUCERS_FULL') };
    }
    this.#pass(milliseconds);
    const known = this.#producers[slot];
    if (!known) slot = this.#freeProducers.pop() ?? this.#producers.length;
    const incarnation = ++this.#incarnation;
    const opened = { incarnation, next: 1, lastUsed: this.#clock, window: new Map() };
    const producer: Producer = { id: hex(id), named, first: incarnation, cursor: null, ...known, ...opened };
    this.#producers[slot] = producer;
    return {
      status: OK,
      answer: { producer: slot, incarnation: producer.incarnation, next: 1, cursor: producer.cursor },
    };
  }

  tick(milliseconds: number): Outcome<undefined> {
    this.#pass(milliseconds);
    this.#expireOperations(4096);
    // The kernel's hand goes round from entry 1, and fewer than 4,096 producers are all seen in one tick.
    const slots = [...this.#producers.keys()];
    for (const slot of [...slots.slice(1), ...slots.slice(0, 1)]) {
      const producer = this.#producers[slot];
      if (!producer) continue;
      const idle = this.#clock - producer.lastUsed;
      if (idle >= HOUR) producer.window = new Map();
      if (producer.named || idle < this.#configuration.producerIdleMilliseconds) continue;
      this.#producers[slot] = null;
      this.#freeProducers.push(slot);
    }
    return { status: OK, answer: undefined };
  }

  // --- exactly once ---

  /** Undefined if the body may be applied. */
  #admit<Answer extends AddResult | SetResult>(
    session: Session,
    { sequence, unanswered }: Sequence,
    payload: string,
  ): Outcome<Answer> | undefined {
    const producer = this.#producers[session.producer];
    if (!producer) return { status: status('PRODUCER_UNKNOWN') };
    if (producer.incarnation !== session.incarnation) {
      // A session from before the producer came was one of a producer that had its place.
      return { status: status(session.incarnation < producer.first ? 'PRODUCER_UNKNOWN' : 'PRODUCER_FENCED') };
    }
    if (unanswered >= sequence) return { status: status('BAD_REQUEST') };
    if (sequence > producer.next) return { status: status('SEQUENCE_GAP') };
    if (sequence === producer.next) return unanswered < WINDOW ? undefined : { status: status('WINDOW_EXCEEDED') };
    const kept = producer.window.get(sequence);
    if (!kept) return { status: status('ALREADY_APPLIED'), position: 0 };
    if (kept.payload !== payload) return { status: status('SEQUENCE_CONFLICT') };
    if (!kept.answer) return { status: status('ALREADY_APPLIED'), position: kept.position };
    return { status: REPEATED, answer: kept.answer as Answer, position: kept.position };
  }

  #conclude(session: Session, request: Sequence, payload: string, answer: AddResult | SetResult, bytes: number): void {
    const producer = this.#producers[session.producer] as Producer;
    const { sequence, unanswered, cursor } = request;
    producer.next++;
    producer.lastUsed = this.#clock;
    if (cursor) producer.cursor = cursor;
    for (const old of producer.window.keys()) if (old < sequence - unanswered) producer.window.delete(old);
    const kept: KeptBatch = { payload, position: this.#sequence, bytes };
    producer.window.set(sequence, kept);
    if (bytes > ANSWER_BYTES) return;
    kept.answer = answer;
    const withAnswer = [...producer.window.values()].filter((batch) => batch.answer);
    let total = withAnswer.reduce((sum, batch) => sum + batch.bytes, 0);
    for (const batch of withAnswer) {
      if (total <= ANSWER_BYTES) break;
      total -= batch.bytes;
      delete batch.answer;
    }
  }

  // --- the rest ---

  #pass(milliseconds: number): void {
    this.#sequence++;
    const step = milliseconds - this.#time;
    if (step > 0 && step <= HOUR) this.#clock += step;
    this.#time = milliseconds;
  }

  #expireOperations(most: number): void {
    for (const [id, { expires }] of [...this.#operations].slice(0, most)) {
      if (expires > this.#clock) return;
      this.#operations.delete(id);
    }
  }

  /** The name that a key stands for, whether it exists or not; undefined for an id that was never given. */
  #nameOf(key: Key): string | undefined {
    if ('name' in key) return key.name;
    const slot = this.#slots[key.slot];
    return slot?.generation === key.generation ? slot.name : undefined;
  }

  /** The slot of a name, taken if need be. */
  #slotOf(name: string): number {
    const known = this.#slotOfName.get(name);
    if (known !== undefined) return known;
    const slot = this.#freeSlots.pop() ?? this.#slots.length;
    this.#slots[slot] = { name, generation: this.#slots[slot]?.generation ?? 0 };
    this.#slotOfName.set(name, slot);
    return slot;
  }

  #leaveSlot(name: string): void {
    const slot = this.#slotOfName.get(name);
    if (slot === undefined) return;
    this.#slotOfName.delete(name);
    const { generation } = this.#slots[slot] as Slot;
    const isRetired = generation === LAST_GENERATION;
    this.#slots[slot] = { name: undefined, generation: isRetired ? generation : generation + 1 };
    if (!isRetired) this.#freeSlots.push(slot);
  }

  #write(name: string, value: bigint): void {
    this.#slotOf(name);
    this.#values.set(name, value);
  }

  #hasForeignName(keys: readonly Key[]): boolean {
    const { partition, partitions } = this.#configuration;
    return keys.some((key) => {
      if (!('name' in key)) return false;
      const bytes = encodeUtf8(key.name);
      return partitionOf(bytes, 0, bytes.length, partitions) !== partition;
    });
  }
}

function payloadOf(opcode: number, flags: number, { cursor, rest }: { cursor?: Uint8Array; rest: unknown }): string {
  return JSON.stringify([opcode, flags, cursor && hex(cursor), rest], withBigint);
}

function withBigint(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`;
  return value instanceof Uint8Array ? hex(value) : value;
}

/** The answers as the kernel keeps them: without position and flushed. */
function addAnswerBytes(answer: AddResult): number {
  const writer = new ByteWriter();
  encodeAddAnswer(writer, { position: 0, flushed: 0, ...answer });
  return writer.length - 2;
}

function setAnswerBytes(answer: SetResult): number {
  const writer = new ByteWriter();
  encodeSetAnswer(writer, { position: 0, flushed: 0, ...answer });
  return writer.length - 2;
}
