import { ABSENT, ERRORS, type ErrorCode, OK, TallystickError } from '../../src/errors.js';
import { encodeUtf8 } from '../../src/protocol/bytes.js';
import { Flag } from '../../src/protocol/opcode.js';
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
import type { ListAnswer, Progress } from '../../src/protocol/response.js';

export interface AddResult {
  readonly position: number;
  readonly refused: readonly { readonly index: number; readonly status: number }[];
  readonly values: readonly bigint[];
}

/** Of SET and DELETE. */
export interface SetResult {
  readonly position: number;
  readonly status: number;
  readonly previous: bigint;
}

interface KeptAnswer {
  readonly fingerprint: string;
  readonly result: AddResult | SetResult;
  isForgotten: boolean;
}

export interface ModelProducer {
  incarnation: number;
  next: number;
  cursor: Uint8Array | undefined;
  readonly answers: Map<number, KeptAnswer>;
}

/** Places that a LIST looks at. */
const LIST_PLACES = 3;
const MAX = 2n ** 63n - 1n;
const MIN = -(2n ** 63n);

/** A partition of the model. Each change pushes how to undo it, so that a crash can lose what was not flushed. */
export class ModelPartition {
  values = new Map<string, bigint>();
  /** What increased each counter, without what decreased it. */
  readonly increases = new Map<string, bigint>();
  position = 0;
  flushed = 0;
  /** Whether first answers are kept; else a repetition is ALREADY_APPLIED. */
  keepsAnswers = true;
  readonly audit: { readonly name: string; readonly reason: string }[] = [];
  readonly #producers = new Map<string, ModelProducer>();
  /** In the order in which they were first written; a deleted one leaves its place empty. */
  readonly #places: (string | undefined)[] = [];
  /** By slot; undefined where the counter was deleted. */
  #names: (string | undefined)[] = [];
  #slots = new Map<string, number>();
  #generation = 1;
  #refusedId: number | undefined;
  readonly #operationIds = new Map<
    string,
    { readonly fingerprint: string; readonly status: number; readonly value: bigint }
  >();
  #undo: (() => void)[] = [];
  #waiting: { readonly position: number; readonly run: () => void }[] = [];

  get progress(): Progress {
    return { position: this.position, flushed: this.flushed };
  }

  producer(key: string): ModelProducer | undefined {
    return this.#producers.get(key);
  }

  openProducer(key: string): ModelProducer {
    const known = this.#producers.get(key);
    const opened = { incarnation: (known?.incarnation ?? 0) + 1, next: 1, cursor: known?.cursor, answers: new Map() };
    this.#producers.set(key, opened);
    return opened;
  }

  resume(key: string, incarnation: number): ModelProducer {
    const producer = this.#producers.get(key);
    if (!producer) throw new TallystickError('PRODUCER_UNKNOWN');
    if (producer.incarnation !== incarnation) throw new TallystickError('PRODUCER_FENCED');
    return producer;
  }

  forgetProducers(): void {
    this.#producers.clear();
  }

  /** All ids become unknown. */
  forgetIds(): void {
    this.giveIdsAnew();
    this.#generation++;
  }

  /** Ids that were given may be given to others. */
  giveIdsAnew(): void {
    this.#names = [];
    this.#slots = new Map();
  }

  /** Makes operations by the id of this name fail one by one with ID_UNKNOWN, until it is opened again. */
  refuseIdOf(name: string): void {
    this.#refusedId = this.#slots.get(name);
  }

  open(name: string): { slot: number; generation: number } {
    let slot = this.#slots.get(name);
    if (slot === this.#refusedId) this.#refusedId = undefined;
    if (slot === undefined) {
      slot = this.#names.push(name) - 1;
      this.#slots.set(name, slot);
    }
    return { slot, generation: this.#generation };
  }

  read(key: Key): { status: 0; value: bigint } | { status: number } {
    const value = this.values.get(this.#nameOf(key));
    return value === undefined ? { status: ABSENT } : { status: OK, value };
  }

  /** Applies a sequenced request unless it was applied before. */
  once<R extends AddResult | SetResult>(
    key: string,
    incarnation: number,
    { sequence, unanswered, cursor }: Sequence,
    fingerprint: string,
    apply: () => R,
  ): { result: R; isRepeated: boolean } {
    const producer = this.resume(key, incarnation);
    if (unanswered > 1023) throw new TallystickError('WINDOW_EXCEEDED');
    if (sequence > producer.next) throw new TallystickError('SEQUENCE_GAP', `${sequence} instead of ${producer.next}.`);
    if (sequence < producer.next) {
      const kept = producer.answers.get(sequence);
      if (kept && kept.fingerprint !== fingerprint) {
        throw new TallystickError('SEQUENCE_CONFLICT', '', { cause: this.position });
      }
      if (!kept || kept.isForgotten || !this.keepsAnswers) {
        throw new TallystickError('ALREADY_APPLIED', '', { cause: kept?.result.position });
      }
      return { result: kept.result as R, isRepeated: true };
    }
    const before = { position: this.position, cursor: producer.cursor };
    const applied = apply();
    // a batch that changed no counter has changed the producer
    if (applied.position === before.position) this.#change(() => undefined);
    const result = { ...applied, position: this.position };
    for (const [old, kept] of producer.answers) if (old < sequence - unanswered) kept.isForgotten = true;
    producer.next++;
    producer.answers.set(sequence, { fingerprint, result, isForgotten: false });
    if (cursor) producer.cursor = cursor;
    this.#undo.push(() => {
      producer.next--;
      producer.answers.delete(sequence);
      producer.cursor = before.cursor;
    });
    return { result, isRepeated: false };
  }

  add(
    { operations }: AddRequest,
    flags: number,
    index: number,
    server: { readonly partitions: readonly unknown[]; readonly limits: { readonly batch: number } },
  ): AddResult {
    if (operations.length > server.limits.batch) throw new TallystickError('TOO_MANY_OPERATIONS');
    for (const { key } of operations) {
      if (this.#isGone(key)) continue;
      const bytes = encodeUtf8(this.#nameOf(key));
      if (partitionOf(bytes, 0, bytes.length, server.partitions.length) !== index)
        throw new TallystickError('WRONG_PARTITION');
    }
    const start = this.#undo.length;
    const refused: { index: number; status: number }[] = [];
    const values: bigint[] = [];
    for (const [i, operation] of operations.entries()) {
      const { error, value } = this.#apply(operation);
      if (error) refused.push({ index: i, status: ERRORS[error].status });
      values.push(value);
    }
    if (flags & Flag.ATOMIC && refused.length > 0) {
      for (const undo of this.#undo.splice(start).reverse()) undo();
      const failed = new Map(refused.map((item) => [item.index, item]));
      const aborted = operations.map((_, i) => failed.get(i) ?? { index: i, status: ERRORS.ATOMIC_ABORTED.status });
      return { position: this.position, refused: aborted, values: operations.map(({ key }) => this.#valueOf(key)) };
    }
    if (operations.length > refused.length) this.#change(() => undefined);
    return { position: this.position, refused, values };
  }

  set({ key, value, expect, reason }: SetRequest): SetResult {
    const name = this.#nameOf(key);
    const previous = this.#valueOf(key);
    if (expect !== undefined && expect !== previous) {
      return { position: this.position, status: ERRORS.EXPECTATION_FAILED.status, previous };
    }
    this.#put(name, value);
    this.audit.push({ name, reason });
    this.#change(() => undefined);
    return { position: this.position, status: OK, previous };
  }

  delete({ key, expect, reason }: DeleteRequest): SetResult {
    const name = this.#nameOf(key);
    const value = this.values.get(name);
    const previous = value ?? 0n;
    if (expect !== undefined && expect !== previous) {
      return { position: this.position, status: ERRORS.EXPECTATION_FAILED.status, previous };
    }
    this.audit.push({ name, reason });
    const place = this.#places.indexOf(name);
    const slot = this.#slots.get(name);
    this.values.delete(name);
    if (place >= 0) this.#places[place] = undefined;
    if (slot !== undefined) this.#names[slot] = undefined;
    this.#slots.delete(name);
    this.#change(() => {
      if (value !== undefined) this.values.set(name, value);
      if (place >= 0) this.#places[place] = name;
      if (slot === undefined) return;
      this.#names[slot] = name;
      this.#slots.set(name, slot);
    });
    return { position: this.position, status: value === undefined ? ABSENT : OK, previous };
  }

  list({ prefix, cursor, limit }: ListRequest): Omit<ListAnswer, keyof Progress> {
    const text = Buffer.from(prefix).toString();
    const end = Math.min(cursor + LIST_PLACES, this.#places.length);
    const names = this.#places.slice(cursor, end).filter((name) => name?.startsWith(text)) as string[];
    const counters = names.slice(0, limit).map((name) => ({ name, value: this.values.get(name) ?? 0n }));
    return { cursor: end < this.#places.length ? end : 0, counters };
  }

  /** Runs once the position is flushed. */
  whenFlushed(position: number, run: () => void): void {
    if (position <= this.flushed) run();
    else this.#waiting.push({ position, run });
  }

  flush(): void {
    this.flushed = this.position;
    this.#undo = [];
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { run } of waiting) run();
  }

  loseUnflushed(): void {
    for (const undo of this.#undo.reverse()) undo();
    this.#undo = [];
    this.#waiting = [];
  }

  #apply({ key, delta, min, max, operationId }: Operation): { error?: ErrorCode; value: bigint } {
    if (this.#isGone(key)) return { error: 'ID_UNKNOWN', value: 0n };
    const name = this.#nameOf(key);
    const before = this.#valueOf(key);
    if ('slot' in key && key.slot === this.#refusedId) return { error: 'ID_UNKNOWN', value: before };
    const id = operationId?.join();
    const fingerprint = [name, delta, min, max].join();
    const known = id === undefined ? undefined : this.#operationIds.get(id);
    if (known) {
      if (known.fingerprint !== fingerprint) return { error: 'OPERATION_CONFLICT', value: before };
      return { value: known.value };
    }
    const value = before + delta;
    if (value > MAX || value < MIN) return { error: 'OVERFLOW', value: before };
    if ((min !== undefined && value < min) || (max !== undefined && value > max)) {
      return { error: 'OUT_OF_BOUNDS', value: before };
    }
    this.#put(name, value);
    this.#increase(name, delta);
    if (id !== undefined) {
      this.#operationIds.set(id, { fingerprint, status: OK, value });
      this.#undo.push(() => this.#operationIds.delete(id));
    }
    return { value };
  }

  #increase(name: string, delta: bigint): void {
    if (delta <= 0n) return;
    const before = this.increases.get(name) ?? 0n;
    this.increases.set(name, before + delta);
    this.#undo.push(() => this.increases.set(name, before));
  }

  #put(name: string, value: bigint): void {
    const before = this.values.get(name);
    this.values.set(name, value);
    if (before === undefined) this.#places.push(name);
    this.#undo.push(() => {
      if (before !== undefined) this.values.set(name, before);
      else {
        this.values.delete(name);
        this.#places.pop();
      }
    });
  }

  /** A change of the partition: takes a position. */
  #change(undo: () => void): void {
    this.position++;
    this.#undo.push(() => {
      this.position--;
      undo();
    });
  }

  /** Whether it is the id of a deleted counter: its operations are refused one by one. */
  #isGone(key: Key): boolean {
    if ('name' in key || key.generation !== this.#generation) return false;
    return key.slot < this.#names.length && this.#names[key.slot] === undefined;
  }

  #valueOf(key: Key): bigint {
    if (this.#isGone(key)) return 0n;
    return this.values.get(this.#nameOf(key)) ?? 0n;
  }

  #nameOf(key: Key): string {
    if ('name' in key) return key.name;
    const name = key.generation === this.#generation ? this.#names[key.slot] : undefined;
    if (name === undefined) throw new TallystickError('ID_UNKNOWN');
    return name;
  }
}
