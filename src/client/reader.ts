import { ABSENT, codeOfStatus, OK, TallystickError } from '../errors.js';
import { ByteWriter } from '../protocol/bytes.js';
import { decodeAllStats, encodeStatsRequest, type StatsAnswer, type StatsRequest } from '../protocol/control.js';
import { Flag, Opcode } from '../protocol/opcode.js';
import { partitionOf } from '../protocol/partition-hash.js';
import { writeAfter, writeNameBytesKey } from '../protocol/request.js';
import { decodeGetAnswer, decodeSyncAnswer, type ReadValue } from '../protocol/response.js';
import { Call, type CallOptions, type ToValue } from './call.js';
import { Position } from './position.js';
import { Request } from './request.js';
import type { Session } from './session.js';

export interface ReadOptions extends CallOptions {
  /** What the answer may show: what is flushed (the default), or everything applied so far. */
  readonly read?: 'durable' | 'latest';
  /** Wait until the counters' partitions have come this far. */
  readonly after?: Position;
}

/** A counter as it was read. */
export interface Reading<V> {
  readonly name: string;
  /** 0 where it does not exist. */
  readonly value: V;
  /** Whether it was ever written. */
  readonly exists: boolean;
  readonly exact: boolean;
  /** Whether no crash can take it back. */
  readonly durable: boolean;
  /** What it is as of, in the counter's partition. */
  readonly position: Position;
}

/** More than the head of a key and the count of keys have. */
const MOST_BESIDE_NAME = 16;
/** Of the keys that most requests have: V8 has arrays up to this length in its own heap, and others cost several times as much. */
const FEW_KEYS_BYTES = 64;

/** A caller of one or more readings. */
class ReadCall<V> extends Call<Reading<V>[]> {
  readonly names: readonly string[];
  readonly #readings: Reading<V>[];
  #open: number;

  constructor(
    names: readonly string[],
    resolve: (readings: Reading<V>[]) => void,
    reject: (error: TallystickError) => void,
  ) {
    super(resolve, reject);
    this.names = names;
    this.#readings = new Array(names.length);
    this.#open = names.length;
  }

  found(index: number, reading: Reading<V>): void {
    this.#readings[index] = reading;
    if (--this.#open === 0) this.resolve(this.#readings);
  }
}

/** Keys of one partition that are read with one request. */
interface Group<V> {
  readonly partition: number;
  readonly flags: number;
  readonly keys: ByteWriter;
  readonly after: { readonly epoch: number; readonly sequence: number } | undefined;
  readonly calls: ReadCall<V>[];
  readonly indexes: number[];
}

/** The reading half of a client. Reads of one turn go out together. */
export class Reader<V extends bigint | number> {
  readonly #session: Session;
  readonly #toValue: ToValue<V>;
  readonly #timeout: number;
  readonly #name = new ByteWriter();
  /** By partition, reads that wait for no position at even keys, LATEST at odd ones. */
  #groups = new Map<number, Group<V>>();

  constructor(session: Session, toValue: ToValue<V>, timeout: number) {
    this.#session = session;
    this.#toValue = toValue;
    this.#timeout = timeout;
  }

  read(names: readonly string[], options: ReadOptions): Promise<Reading<V>[]> {
    if (names.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      const call = new ReadCall<V>(names, resolve, reject);
      if (!this.#start(call, options)) return;
      const flags = options.read === 'latest' ? Flag.LATEST : 0;
      // reads that wait for a position go alone, so that no other waits with them
      const groups = options.after ? new Map<number, Group<V>>() : this.#groups;
      try {
        for (let i = 0; i < names.length; i++) this.#collect(groups, call, i, flags, options.after);
      } catch (error) {
        call.reject(error as TallystickError);
        return;
      }
      if (options.after) this.#sendAll(groups);
    });
  }

  /** What each lane tells about itself. */
  stats(options: CallOptions & StatsRequest): Promise<StatsAnswer[]> {
    return new Promise((resolve, reject) => {
      const call = new Call<StatsAnswer[]>(resolve, reject);
      if (!this.#start(call, options)) return;
      const answers: StatsAnswer[] = [];
      let open = this.#session.lanes.length;
      const body = new ByteWriter();
      encodeStatsRequest(body, options);
      this.#session.askLanes(call, Opcode.STATS, body.view(), (answer) => {
        for (const stats of decodeAllStats(answer)) answers[stats.lane] = stats;
        if (--open === 0) call.resolve(answers);
      });
    });
  }

  /** How far all partitions are flushed, once everything that the server had applied is. */
  sync(options: CallOptions): Promise<Position> {
    return new Promise((resolve, reject) => {
      const call = new Call<Position>(resolve, reject);
      if (!this.#start(call, options)) return;
      const sequences = new Map<number, number>();
      let open = this.#session.lanes.length;
      this.#session.askLanes(call, Opcode.SYNC, new Uint8Array(0), (answer) => {
        for (const { partition, position } of decodeSyncAnswer(answer).positions) sequences.set(partition, position);
        if (--open === 0) call.resolve(new Position(this.#session.epoch, sequences));
      });
    });
  }

  #start<T>(call: Call<T>, options: CallOptions): boolean {
    return this.#session.begin(call, options, this.#timeout);
  }

  #collect(
    groups: Map<number, Group<V>>,
    call: ReadCall<V>,
    index: number,
    flags: number,
    after: Position | undefined,
  ): void {
    const { limits, partitions, clock } = this.#session;
    const name = call.names[index] as string;
    this.#name.reset();
    const length = typeof name === 'string' && name.length <= limits.name ? this.#name.name(name) : 0;
    if (length < 1 || length > limits.name) throw new TallystickError('NAME_INVALID');
    const partition = partitionOf(this.#name.buffer, 0, length, partitions);
    const key = partition * 2 + (flags === 0 ? 0 : 1);
    let group = groups.get(key);
    if (
      group &&
      (group.calls.length >= limits.operations || group.keys.length + length + MOST_BESIDE_NAME > limits.bytes)
    ) {
      groups.delete(key);
      this.#send(group);
      group = undefined;
    }
    if (!group) {
      const sequence = after?.sequenceOf(partition);
      group = {
        partition,
        flags: flags | (sequence === undefined ? 0 : Flag.AFTER),
        keys: new ByteWriter(FEW_KEYS_BYTES),
        after: after && sequence !== undefined ? { epoch: after.epoch, sequence } : undefined,
        calls: [],
        indexes: [],
      };
      if (groups === this.#groups && groups.size === 0) clock.endOfTurn(() => this.#sendTurn());
      groups.set(key, group);
    }
    writeNameBytesKey(group.keys, this.#name.buffer, 0, length);
    group.calls.push(call);
    group.indexes.push(index);
  }

  #sendTurn(): void {
    const groups = this.#groups;
    // Not `clear`: from an emptied Map the engine keeps a way to what is put in later (pending.ts)
    this.#groups = new Map();
    this.#sendAll(groups);
  }

  #sendAll(groups: Map<number, Group<V>>): void {
    for (const group of groups.values()) this.#send(group);
  }

  #send(group: Group<V>): void {
    const { partition, flags, calls, after } = group;
    const body = new ByteWriter(group.keys.length + MOST_BESIDE_NAME);
    if (after) writeAfter(body, after.epoch, after.sequence);
    body.varint(calls.length);
    body.bytes(group.keys.view());
    const request = new Request({ opcode: Opcode.GET, flags, partition }, body.view(), {
      onAnswer: (answer) => this.#answered(group, answer),
      onError: (error) => {
        for (const call of calls) call.reject(error);
      },
      isWanted: () => calls.some((call) => !call.isSettled),
    });
    this.#session.laneOf(partition).submit(request);
  }

  #answered(group: Group<V>, body: Uint8Array): void {
    const { position, flushed, values } = decodeGetAnswer(body);
    const { partition, flags, calls, indexes } = group;
    if (values.length !== calls.length) throw new TallystickError('BAD_REQUEST', `${values.length} values.`);
    const asOf = new Position(this.#session.epoch, new Map<number, number>().set(partition, position));
    const durable = (flags & Flag.LATEST) === 0 || position <= flushed;
    for (let i = 0; i < calls.length; i++) {
      const call = calls[i] as ReadCall<V>;
      const index = indexes[i] as number;
      const read = values[i] as ReadValue;
      const name = call.names[index] as string;
      if (read.status !== OK && read.status !== ABSENT) {
        call.reject(new TallystickError(codeOfStatus(read.status), `Reading "${name}".`));
        continue;
      }
      try {
        const value = this.#toValue(read.value ?? 0n);
        call.found(index, { name, value, exists: read.status === OK, exact: true, durable, position: asOf });
      } catch (error) {
        call.reject(error as TallystickError);
      }
    }
  }
}
