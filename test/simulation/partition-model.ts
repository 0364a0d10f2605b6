import { ABSENT, ERRORS, OK } from '../../src/errors.js';
import { EFFECT_BYTES, hasEffect } from '../../src/lane/recovery.js';
import type { LogEntry } from '../../src/log/record.js';
import { Kind } from '../../src/partition/partition.js';
import { ByteReader } from '../../src/protocol/bytes.js';
import { decodeExpire, type ExpireRequest } from '../../src/protocol/expiry.js';
import { decodeOnce, type OnceOperation } from '../../src/protocol/once.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import {
  decodeAdd,
  decodeDelete,
  decodeSet,
  type Expiry,
  type Key,
  type Operation,
} from '../../src/protocol/request.js';
import { decodeSee } from '../../src/protocol/uniques.js';
import type { AddResult, Applied, ExpireResult, OnceResult, SeeResult, SetResult } from './model-results.js';
import { Sightings } from './sightings.js';

/**
 * What a partition is, from outside: a map of values, a set of batches that were applied, each once. It is fed the bodies in the
 * order in which the lane logged them, computes what each must have been answered, and can forget the newest ones, as a
 * crash does.
 */

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

/** What a counter is from some position on; undefined: it is absent. */
interface Version {
  readonly position: number;
  readonly value: bigint | undefined;
  /** When it ends by itself, in milliseconds since 1970; 0 = never. */
  readonly expires: number;
  /** When it goes on from 0; 0 = never. */
  readonly rolls: number;
}

/** What an id stands for, as OPEN has answered it. */
interface GivenId {
  readonly name: string;
  /** As of which it was given. */
  position: number;
}

const MIN = -(2n ** 63n);
const MAX = 2n ** 63n - 1n;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** CONFIGURE, CLASSIFY, and the first DAYS. */
const FIRST_BODIES = 3;
/** Bodies that are applied whatever is past its time. */
const SETTLING: ReadonlySet<number> = new Set([Kind.TICK, Kind.DAYS]);
const EXPIRE_STEP = 64;
const EXPIRE_ON_TICK = 4096;
const WRONG_EFFECT = 'a SET or DELETE that is logged with another delta than it has';

const status = (code: keyof typeof ERRORS) => ERRORS[code].status;

export interface ModelOptions {
  readonly maximumOperationIds: number;
  readonly operationIdMilliseconds: number;
  /** The time to live that the class of a name gives, in milliseconds; 0 = none. */
  readonly lifeOf: (name: string) => number;
  /** The number of the class of a name that begins at 0 with each day; 0 where it has no such class. */
  readonly dayClassOf: (name: string) => number;
  /** Hours that the zones of those classes are ahead of UTC. */
  readonly hoursAhead: ReadonlyMap<number, number>;
  /** For how long, in milliseconds, and how many items of a counter count once, by the class of its name. */
  readonly onceOf: (name: string) => { readonly within: number; readonly items: number } | undefined;
  /** Whether the class of a name keeps unique items, by hour and day too. */
  readonly keepsUniques: (name: string) => boolean;
}

export class PartitionModel {
  readonly applied: Applied[] = [];
  readonly producers: ModelProducer[] = [];
  readonly #options: ModelOptions;
  readonly #versions = new Map<string, Version[]>();
  readonly #operations = new Map<string, Remembered>();
  /** By `slot.generation`. Ids are learned, not predicted. */
  readonly #ids = new Map<string, GivenId>();
  /** The positions at which each name went. */
  readonly #deletions = new Map<string, number[]>();
  /** The end of the present day of each class that has days. */
  readonly #dayEnds: Map<number, number>;
  /** By name, when each item was counted last, by the kernel's clock. */
  readonly #items = new Map<string, Map<string, number>>();
  readonly sightings: Sightings;
  #incarnation = 0;
  #time = 0;
  #clock = 0;

  constructor(options: ModelOptions) {
    this.#options = options;
    this.sightings = new Sightings(options.keepsUniques, {
      nameOf: (key, position) => this.nameOf(key, position),
      wentAt: (name, position) => this.#deletions.get(name)?.findLast((at) => at <= position) ?? 0,
      isThere: (name, position) => this.valueAt(name, position) !== undefined,
    });
    this.#dayEnds = new Map([...options.hoursAhead.keys()].map((number) => [number, 0]));
  }

  /** The position: how many changes there were. */
  get sequence(): number {
    return this.applied.length;
  }

  /** The value that a counter had at a position; undefined if it was absent. */
  valueAt(name: string, position: number): bigint | undefined {
    return this.#versionAt(name, position)?.value;
  }

  /** When a counter that was there at a position was to end, or to go on from 0, as of that position; 0 = never. */
  endAt(name: string, position: number): number {
    const version = this.#versionAt(name, position);
    return version?.expires || version?.rolls || 0;
  }

  /** When the change came that left a counter as it was at a position. */
  changedAt(name: string, position: number): number {
    return this.applied[(this.#versionAt(name, position)?.position ?? 0) - 1]?.entry.milliseconds ?? 0;
  }

  #versionAt(name: string, position: number): Version | undefined {
    const versions = this.#versions.get(name) ?? [];
    for (let i = versions.length - 1; i >= 0; i--) {
      const version = versions[i] as Version;
      if (version.position <= position) return version;
    }
    return undefined;
  }

  /** The counters that exist at each position from `first` to `last`. */
  lasting(first: number, last: number): string[] {
    return [...this.#versions.keys()].filter(
      (name) => this.valueAt(name, first) !== undefined && !this.#isDeleted(name, first, last),
    );
  }

  /**
   * OPEN has answered an id, as of a position.
   *
   * @returns what is wrong with that, in words; undefined if nothing is
   */
  learnId(slot: number, generation: number, name: string, position: number): string | undefined {
    const key = `${slot}.${generation}`;
    const known = this.#ids.get(key);
    if (known && known.name !== name) return `the id ${key} is of ${known.name} and of ${name}`;
    if (known && this.#isDeleted(name, Math.min(known.position, position), Math.max(known.position, position)))
      return `the id ${key} of ${name} was deleted and is given again`;
    if (known) known.position = Math.min(known.position, position);
    else this.#ids.set(key, { name, position });
    return undefined;
  }

  /** The name that a key stands for at a position; undefined for an id that nobody was given, or whose counter went. */
  nameOf(key: Key, position: number): string | undefined {
    if ('name' in key) return key.name;
    const given = this.#ids.get(`${key.slot}.${key.generation}`);
    return given && !this.#isDeleted(given.name, given.position, position) ? given.name : undefined;
  }

  /** Whether a name went after the one position and not after the other. */
  #isDeleted(name: string, after: number, upTo: number): boolean {
    return this.#deletions.get(name)?.some((position) => position > after && position <= upTo) ?? false;
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
    const due = this.#due(entry.milliseconds);
    if (!SETTLING.has(kind)) {
      if (due.length > 0) return `a change of kind ${kind} meets ${due[0]}, which was to end before`;
      const isDayOver = [...this.#dayEnds.values()].some((end) => end <= entry.milliseconds);
      if (isDayOver && position > FIRST_BODIES)
        return `a change of kind ${kind} comes in a day that the log does not know`;
    }
    if (flags & Flag.SEQUENCED) {
      const admitted = this.#admit(entry, undo);
      if (typeof admitted === 'string') return admitted;
      batch = admitted.batch;
    }
    this.#pass(entry.milliseconds, undo);
    let result: Applied['result'];
    if (kind === Opcode.ADD) result = this.#add(decodeAdd(body, flags).operations, flags, position, undo);
    else if (kind === Opcode.ONCE) result = this.#once(decodeOnce(body, flags).operations, flags, position, undo);
    else if (kind === Opcode.SEE) result = this.#see(entry, undo);
    else if (kind === Opcode.EXPIRE) result = this.#expiry(decodeExpire(body, flags), position, undo);
    else if (hasEffect(kind)) {
      const changed = this.#change(entry, undo);
      if (typeof changed === 'string') return changed;
      result = changed;
    } else if (kind === Kind.OPEN_PRODUCER) this.#openProducer(body, position, undo);
    else if (kind === Kind.TICK) {
      for (const name of due) this.#endOrRoll(name, position, undo);
      this.#expire(EXPIRE_ON_TICK, undo);
    }
    if (kind === Kind.DAYS) {
      const wrong = this.#days(entry, undo);
      if (wrong) return wrong;
    }
    const ended = kind === Kind.TICK ? due.length : 0;
    this.applied.push({ position, kind, flags, body, entry, batch, result, ended, undo });
    return undefined;
  }

  /** Forgets every change after a position. */
  truncate(position: number): void {
    while (this.sequence > position) {
      const { undo } = this.applied.pop() as Applied;
      for (const step of undo.reverse()) step();
    }
    // What was made after it was not made, and another may get its id.
    for (const [id, { position: known }] of this.#ids) if (known > position) this.#ids.delete(id);
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
    const names = operations.map(({ key }) => this.nameOf(key, position));
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
    const { delta, min, max, expiry } = operation;
    const payload = `${name} ${delta} ${min} ${max} ${JSON.stringify(expiry)}`;
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

  #step(name: string, { delta, min = MIN, max = MAX, expiry }: Operation, position: number, undo: (() => void)[]) {
    const value = this.#valueOf(name) ?? 0n;
    if (expiry && this.#options.dayClassOf(name)) return { status: status('NOT_TRACKED'), value };
    const next = value + delta;
    if (next < MIN || next > MAX) return { status: status('OVERFLOW'), value };
    if (next < min || next > max) return { status: status('OUT_OF_BOUNDS'), value };
    const expires = expiry ? this.#timeOf(name, expiry) : this.#expiresOf(name);
    this.#write(name, next, position, undo, expires);
    return { status: OK, value: next };
  }

  #once(operations: readonly OnceOperation[], flags: number, position: number, undo: (() => void)[]): OnceResult {
    const results = operations.map((operation) => this.#count(operation, position, undo));
    return {
      refused: results.flatMap((result, index) => (result.status ? [{ index, status: result.status }] : [])),
      counted: results.map(({ counted }) => counted),
      values: flags & Flag.VALUES ? results.map(({ value }) => value) : [],
    };
  }

  #count({ key, item, delta = 1n, within = 0 }: OnceOperation, position: number, undo: (() => void)[]) {
    const name = this.nameOf(key, position);
    if (name === undefined) return { status: status('ID_UNKNOWN'), counted: false, value: 0n };
    const value = this.#valueOf(name) ?? 0n;
    const rule = this.#options.onceOf(name);
    if (!rule || (within !== 0 && within !== rule.within))
      return { status: status('NOT_TRACKED'), counted: false, value };
    const items = this.#items.get(name) ?? new Map<string, number>();
    this.#items.set(name, items);
    // Kept from the next whole second on
    const live = [...items].filter(([, since]) => Math.ceil(since / 1_000) * 1_000 + rule.within > this.#clock);
    const id = String(item);
    if (live.some(([other]) => other === id)) return { status: OK, counted: false, value };
    if (value + delta < MIN || value + delta > MAX) return { status: status('OVERFLOW'), counted: false, value };
    if (live.length >= rule.items) return { status: status('ITEMS_FULL'), counted: false, value };
    const before = items.get(id);
    items.set(id, this.#clock);
    undo.push(() => (before === undefined ? items.delete(id) : items.set(id, before)));
    this.#write(name, value + delta, position, undo);
    return { status: OK, counted: true, value: value + delta };
  }

  #see({ body, flags, sequence: position, milliseconds }: LogEntry, undo: (() => void)[]): SeeResult {
    const { sightings } = decodeSee(body, flags);
    const exists = (name: string) => this.#write(name, this.#valueOf(name) ?? 0n, position, undo);
    return this.sightings.see(sightings, { milliseconds, position }, exists, undo);
  }

  /** SET or DELETE, and the delta that is logged behind it. */
  #change({ kind, flags, body, sequence }: LogEntry, undo: (() => void)[]): SetResult | string {
    const own = body.subarray(0, body.length - EFFECT_BYTES);
    const logged = Buffer.from(body).readBigInt64LE(own.length);
    const { key, expect } = kind === Opcode.SET ? decodeSet(own, flags) : decodeDelete(own, flags);
    const name = this.nameOf(key, sequence);
    const found = name === undefined ? undefined : this.#valueOf(name);
    const previous = found ?? 0n;
    const expectation = expect === undefined || expect === previous ? OK : status('EXPECTATION_FAILED');
    if (name === undefined) return logged ? WRONG_EFFECT : { status: status('ID_UNKNOWN'), previous };
    if (expectation) return logged ? WRONG_EFFECT : { status: expectation, previous };
    const next = kind === Opcode.SET ? decodeSet(own, flags).value : undefined;
    if (logged !== BigInt.asIntN(64, (next ?? 0n) - previous)) return WRONG_EFFECT;
    if (kind === Opcode.DELETE) this.#end(name, sequence, undo);
    else this.#write(name, next, sequence, undo);
    return { status: kind === Opcode.DELETE && found === undefined ? ABSENT : OK, previous };
  }

  /** EXPIRE. By a time that is past the counter ends at once. */
  #expiry({ key, expiry }: ExpireRequest, position: number, undo: (() => void)[]): ExpireResult {
    const name = this.nameOf(key, position);
    if (name === undefined) return { status: status('ID_UNKNOWN'), expires: 0 };
    const value = this.#valueOf(name);
    if (value === undefined) return { status: ABSENT, expires: 0 };
    if (this.#options.dayClassOf(name)) return { status: status('NOT_TRACKED'), expires: 0 };
    const expires = this.#timeOf(name, expiry);
    const isPast = expires !== 0 && expires <= this.#time;
    if (isPast) this.#end(name, position, undo);
    else this.#write(name, value, position, undo, expires, false);
    return { status: OK, expires: isPast ? 0 : expires };
  }

  /** When a counter expires after an expiry was done to it. */
  #timeOf(name: string, expiry: Expiry): number {
    if ('never' in expiry) return 0;
    const present = this.#expiresOf(name);
    return expiry.ifNone && present ? present : (expiry.at ?? this.#time + expiry.in);
  }

  #expiresOf(name: string): number {
    return this.#versions.get(name)?.at(-1)?.expires ?? 0;
  }

  /** The counters that are past their time. */
  #due(milliseconds: number): string[] {
    return [...this.#versions.keys()].filter((name) => {
      const end = this.endAt(name, this.sequence);
      return end !== 0 && end <= milliseconds;
    });
  }

  /** DAYS: each class that it names has the day in which it comes. */
  #days({ body, milliseconds }: LogEntry, undo: (() => void)[]): string | undefined {
    for (let at = 0; at < body.length; at += 17) {
      const view = new DataView(body.buffer, body.byteOffset + at, 17);
      const number = view.getUint8(0);
      const [begin, end] = [1, 9].map((offset) => Number(view.getBigInt64(offset, true)));
      const ahead = (this.#options.hoursAhead.get(number) ?? Number.NaN) * HOUR;
      const expected = Math.floor((milliseconds + ahead) / DAY) * DAY - ahead;
      if (begin !== expected || end !== expected + DAY) return `the day of class ${number} is ${begin} to ${end}`;
      const before = this.#dayEnds.get(number) ?? 0;
      this.#dayEnds.set(number, end);
      undo.push(() => this.#dayEnds.set(number, before));
    }
    return undefined;
  }

  #endOrRoll(name: string, position: number, undo: (() => void)[]): void {
    if (this.#expiresOf(name) !== 0) this.#end(name, position, undo);
    else this.#write(name, 0n, position, undo, 0, false);
  }

  #end(name: string, position: number, undo: (() => void)[]): void {
    this.#write(name, undefined, position, undo, 0);
    const items = this.#items.get(name);
    this.#items.delete(name);
    if (items) undo.push(() => this.#items.set(name, items));
    const deletions = this.#deletions.get(name) ?? [];
    this.#deletions.set(name, deletions);
    deletions.push(position);
    undo.push(() => deletions.pop());
  }

  #valueOf(name: string): bigint | undefined {
    return this.#versions.get(name)?.at(-1)?.value;
  }

  /** @param isChange of the value, after which a counter without a time gets that of its class */
  #write(
    name: string,
    value: bigint | undefined,
    position: number,
    undo: (() => void)[],
    wanted = this.#expiresOf(name),
    isChange = value !== undefined,
  ): void {
    const versions = this.#versions.get(name) ?? [];
    this.#versions.set(name, versions);
    const life = isChange && wanted === 0 ? this.#options.lifeOf(name) : 0;
    const rolls = isChange ? (this.#dayEnds.get(this.#options.dayClassOf(name)) ?? 0) : 0;
    versions.push({ position, value, expires: life ? this.#time + life : wanted, rolls });
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
    const name = this.nameOf(key, position);
    if (name === undefined) return { status: status('ID_UNKNOWN') };
    const value = this.valueAt(name, position);
    return value === undefined ? { status: ABSENT } : { status: OK, value };
  }
}
