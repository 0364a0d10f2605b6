import { ABSENT, ERRORS, OK } from '../../src/errors.js';
import { EFFECT_BYTES } from '../../src/lane/recovery.js';
import type { LogEntry } from '../../src/log/record.js';
import { Kind } from '../../src/partition/partition.js';
import { ByteReader } from '../../src/protocol/bytes.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { decodeAdd, decodeSet, type Key, type Operation } from '../../src/protocol/request.js';

/**
 * What a partition is, from outside: a map of values, a set of batches that were applied, each once. It is fed the bodies in the
 * order in which the lane logged them, computes what each must have been answered, and can forget the newest ones, as a
 * crash does.
 */

export interface AddResult {
  readonly refused: readonly { readonly index: number; readonly status: number }[];
  readonly values: readonly bigint[];
}

export interface SetResult {
  readonly status: number;
  readonly previous: bigint;
}

/** A change of the partition, and what takes it back. */
export interface Applied {
  readonly position: number;
  readonly kind: number;
  readonly flags: number;
  readonly body: Uint8Array;
  /** Of a sequenced one: `producer/incarnation/sequence`. */
  readonly batch: string | undefined;
  readonly result: AddResult | SetResult | undefined;
  readonly undo: (() => void)[];
}

export interface ModelProducer {
  readonly id: string;
  incarnation: number;
  next: number;
  /** The position at which it was opened last. */
  openedAt: number;
}

interface Remembered {
  readonly payload: string;
  readonly expires: number;
  readonly status: number;
  readonly value: bigint;
}

interface Version {
  readonly position: number;
  readonly value: bigint;
}

const MIN = -(2n ** 63n);
const MAX = 2n ** 63n - 1n;
const HOUR = 3_600_000;
const EXPIRE_STEP = 64;
const EXPIRE_ON_TICK = 4096;

const status = (code: keyof typeof ERRORS) => ERRORS[code].status;

export interface ModelOptions {
  readonly maximumOperationIds: number;
  readonly operationIdMilliseconds: number;
}

export class PartitionModel {
  readonly applied: Applied[] = [];
  /** The names of the ids that OPEN has answered, as `slot.generation`. They are learned, not predicted. */
  readonly names = new Map<string, string>();
  readonly producers: ModelProducer[] = [];
  readonly #options: ModelOptions;
  readonly #versions = new Map<string, Version[]>();
  readonly #operations = new Map<string, Remembered>();
  #incarnation = 0;
  #time = 0;
  #clock = 0;

  constructor(options: ModelOptions) {
    this.#options = options;
  }

  /** The position: how many changes there were. */
  get sequence(): number {
    return this.applied.length;
  }

  /** The value that a counter had at a position; undefined if it was absent. */
  valueAt(name: string, position: number): bigint | undefined {
    const versions = this.#versions.get(name) ?? [];
    for (let i = versions.length - 1; i >= 0; i--) {
      const version = versions[i] as Version;
      if (version.position <= position) return version.value;
    }
    return undefined;
  }

  /** The name that a key stands for; undefined for an id that nobody was given. */
  nameOf(key: Key): string | undefined {
    return 'name' in key ? key.name : this.names.get(`${key.slot}.${key.generation}`);
  }

  producer(id: string): ModelProducer | undefined {
    return this.producers.find((producer) => producer.id === id);
  }

  /** Takes the next entry. @returns what is wrong with it, in words; undefined if nothing is */
  apply(entry: LogEntry): string | undefined {
    const { sequence: position, kind, flags, body } = entry;
    if (position !== this.sequence + 1) return `sequence ${position} follows ${this.sequence}`;
    const undo: (() => void)[] = [];
    let batch: string | undefined;
    if (flags & Flag.SEQUENCED) {
      const admitted = this.#admit(entry, undo);
      if (typeof admitted === 'string') return admitted;
      batch = admitted.batch;
    }
    this.#pass(entry.milliseconds, undo);
    let result: Applied['result'];
    if (kind === Opcode.ADD) result = this.#add(decodeAdd(body, flags).operations, flags, position, undo);
    else if (kind === Opcode.SET) {
      const set = this.#set(body, flags, position, undo);
      if (typeof set === 'string') return set;
      result = set;
    } else if (kind === Kind.OPEN_PRODUCER) this.#openProducer(body, position, undo);
    else if (kind === Kind.TICK) this.#expire(EXPIRE_ON_TICK, undo);
    this.applied.push({ position, kind, flags, body, batch, result, undo });
    return undefined;
  }

  /** Forgets every change after a position. */
  truncate(position: number): void {
    while (this.sequence > position) {
      const { undo } = this.applied.pop() as Applied;
      for (const step of undo.reverse()) step();
    }
  }

  /** Exactly once, and only by the newest session: what the log holds must be the next sequence of the newest incarnation. */
  #admit({ producer, incarnation, body }: LogEntry, undo: (() => void)[]): { batch: string } | string {
    const sequence = new ByteReader(body).varint();
    const known = this.producers[producer];
    if (!known) return `a batch of producer ${producer}, which nobody opened`;
    const batch = `${known.id}/${incarnation}/${sequence}`;
    if (known.incarnation !== incarnation) return `batch ${batch} of a session that is fenced by ${known.incarnation}`;
    if (known.next !== sequence) return `batch ${batch} where ${known.next} is the next sequence`;
    known.next++;
    undo.push(() => known.next--);
    return { batch };
  }

  #openProducer(body: Uint8Array, position: number, undo: (() => void)[]): void {
    const id = Buffer.from(body.subarray(0, 16)).toString('hex');
    const incarnation = ++this.#incarnation;
    const known = this.producer(id);
    if (known) {
      const before = { ...known };
      undo.push(() => Object.assign(known, before));
      Object.assign(known, { incarnation, next: 1, openedAt: position });
    } else {
      this.producers.push({ id, incarnation, next: 1, openedAt: position });
      undo.push(() => this.producers.pop());
    }
    undo.push(() => this.#incarnation--);
  }

  #add(operations: readonly Operation[], flags: number, position: number, undo: (() => void)[]): AddResult {
    this.#expire(EXPIRE_STEP + 2 * operations.filter(({ operationId }) => operationId).length, undo);
    const names = operations.map(({ key }) => this.nameOf(key));
    const results: { status: number; value: bigint }[] = [];
    const steps: (() => void)[] = [];
    for (const [index, operation] of operations.entries()) {
      const result = this.#operation(names[index], operation, position, steps);
      results.push(result);
      if (result.status === OK || !(flags & Flag.ATOMIC)) continue;
      for (const step of steps.splice(0).reverse()) step();
      names.forEach((name, other) => {
        const value = (name !== undefined && this.#valueOf(name)) || 0n;
        results[other] = { status: other === index ? result.status : status('ATOMIC_ABORTED'), value };
      });
      break;
    }
    undo.push(...steps);
    return {
      refused: results.flatMap((result, index) => (result.status ? [{ index, status: result.status }] : [])),
      values: flags & Flag.VALUES ? results.map(({ value }) => value) : [],
    };
  }

  #operation(name: string | undefined, operation: Operation, position: number, undo: (() => void)[]) {
    if (name === undefined) return { status: status('ID_UNKNOWN'), value: 0n };
    if (!operation.operationId) return this.#step(name, operation, position, undo);
    const id = Buffer.from(operation.operationId).toString('hex');
    const { delta, min, max } = operation;
    const payload = `${name} ${delta} ${min} ${max}`;
    const known = this.#operations.get(id);
    if (known?.payload === payload) return known;
    const value = this.#valueOf(name) ?? 0n;
    if (known) return { status: status('OPERATION_CONFLICT'), value };
    if (this.#operations.size >= this.#options.maximumOperationIds) return { status: status('OPERATIONS_FULL'), value };
    const result = this.#step(name, operation, position, undo);
    const expires = this.#clock + this.#options.operationIdMilliseconds;
    this.#operations.set(id, { ...result, payload, expires });
    undo.push(() => this.#operations.delete(id));
    return result;
  }

  #step(name: string, { delta, min = MIN, max = MAX }: Operation, position: number, undo: (() => void)[]) {
    const value = this.#valueOf(name) ?? 0n;
    const next = value + delta;
    if (next < MIN || next > MAX) return { status: status('OVERFLOW'), value };
    if (next < min || next > max) return { status: status('OUT_OF_BOUNDS'), value };
    this.#write(name, next, position, undo);
    return { status: OK, value: next };
  }

  #set(bodyAndEffect: Uint8Array, flags: number, position: number, undo: (() => void)[]): SetResult | string {
    const { length } = bodyAndEffect;
    const { key, value, expect } = decodeSet(bodyAndEffect.subarray(0, length - EFFECT_BYTES), flags);
    const name = this.nameOf(key);
    const previous = (name !== undefined && this.#valueOf(name)) || 0n;
    let code = name === undefined ? status('ID_UNKNOWN') : OK;
    if (code === OK && expect !== undefined && expect !== previous) code = status('EXPECTATION_FAILED');
    const effect = code === OK ? BigInt.asIntN(64, value - previous) : 0n;
    const logged = Buffer.from(bodyAndEffect).readBigInt64LE(length - EFFECT_BYTES);
    if (logged !== effect) return `a SET that is logged with the delta ${logged} instead of ${effect}`;
    if (code === OK && name !== undefined) this.#write(name, value, position, undo);
    return { status: code, previous };
  }

  #valueOf(name: string): bigint | undefined {
    return this.#versions.get(name)?.at(-1)?.value;
  }

  #write(name: string, value: bigint, position: number, undo: (() => void)[]): void {
    const versions = this.#versions.get(name) ?? [];
    this.#versions.set(name, versions);
    versions.push({ position, value });
    undo.push(() => versions.pop());
  }

  /** The kernel's own clock: steps of more than an hour, and backward ones, are a clock that was set. */
  #pass(milliseconds: number, undo: (() => void)[]): void {
    const [time, clock] = [this.#time, this.#clock];
    const step = milliseconds - time;
    if (step > 0 && step <= HOUR) this.#clock += step;
    this.#time = milliseconds;
    undo.push(() => {
      this.#time = time;
      this.#clock = clock;
    });
  }

  /** Operation ids go when their time is over, the oldest first, and only so many at a time. */
  #expire(most: number, undo: (() => void)[]): void {
    const before = [...this.#operations];
    let gone = 0;
    for (const [id, { expires }] of before.slice(0, most)) {
      if (expires > this.#clock) break;
      this.#operations.delete(id);
      gone++;
    }
    if (gone === 0) return;
    undo.push(() => {
      this.#operations.clear();
      for (const [id, remembered] of before) this.#operations.set(id, remembered);
    });
  }

  /** What a GET of the key must show at a position. */
  read(key: Key, position: number): { status: number; value?: bigint } {
    const name = this.nameOf(key);
    if (name === undefined) return { status: status('ID_UNKNOWN') };
    const value = this.valueAt(name, position);
    return value === undefined ? { status: ABSENT } : { status: OK, value };
  }
}
