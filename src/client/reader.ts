import { TallystickError } from '../errors.js';
import { ByteWriter } from '../protocol/bytes.js';
import { decodeAllStats, encodeStatsRequest, type StatsAnswer, type StatsRequest } from '../protocol/control.js';
import { Opcode } from '../protocol/opcode.js';
import { partitionOf } from '../protocol/partition-hash.js';
import { decodeSyncAnswer } from '../protocol/response.js';
import { Call, type CallOptions, type ToValue, ValueCall } from './call.js';
import { Position } from './position.js';
import { type Group, Groups, type ReadCall, type Shown } from './read-groups.js';
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

/** A caller of one value. */
class GetCall<V> extends ValueCall<V> implements ReadCall {
  readonly #name: string;

  constructor(name: string, toValue: ToValue<V>) {
    super(toValue);
    this.#name = name;
  }

  nameOf(): string {
    return this.#name;
  }

  found(index: number, value: bigint): void {
    this.succeed(index, value);
  }
}

/** A caller of readings. */
class ReadingsCall<V> extends Call<Reading<V>[]> implements ReadCall {
  readonly #names: readonly string[];
  readonly #toValue: ToValue<V>;
  readonly #readings: Reading<V>[];
  #open: number;

  constructor(
    names: readonly string[],
    toValue: ToValue<V>,
    resolve: (readings: Reading<V>[]) => void,
    reject: (error: TallystickError) => void,
  ) {
    super(resolve, reject);
    this.#names = names;
    this.#toValue = toValue;
    this.#readings = new Array(names.length);
    this.#open = names.length;
  }

  nameOf(index: number): string {
    return this.#names[index] as string;
  }

  found(index: number, found: bigint, exists: boolean, { durable, position }: Shown): void {
    try {
      const value = this.#toValue(found);
      this.#readings[index] = { name: this.nameOf(index), value, exists, exact: true, durable, position };
      if (--this.#open === 0) this.resolve(this.#readings);
    } catch (error) {
      this.reject(error as TallystickError);
    }
  }
}

/** The reading half of a client. Reads of one turn go out together. */
export class Reader<V extends bigint | number> {
  readonly #session: Session;
  readonly #toValue: ToValue<V>;
  readonly #timeout: number;
  readonly #name = new ByteWriter();
  /** Of this turn, those that wait for no position. */
  readonly #turn = new Groups();
  readonly #endTurn = (): void => this.#sendAll(this.#turn, undefined);

  constructor(session: Session, toValue: ToValue<V>, timeout: number) {
    this.#session = session;
    this.#toValue = toValue;
    this.#timeout = timeout;
  }

  get(name: string, options: ReadOptions): Promise<V> {
    const call = new GetCall(name, this.#toValue);
    try {
      if (this.#start(call, options)) this.#collect(call, 1, options);
    } catch (error) {
      call.reject(error as TallystickError);
    }
    return call.promise;
  }

  read(names: readonly string[], options: ReadOptions): Promise<Reading<V>[]> {
    if (names.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      const call = new ReadingsCall(names, this.#toValue, resolve, reject);
      try {
        if (this.#start(call, options)) this.#collect(call, names.length, options);
      } catch (error) {
        call.reject(error as TallystickError);
      }
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

  #collect(call: ReadCall, count: number, { read, after }: ReadOptions): void {
    const isLatest = read === 'latest';
    if (!after) {
      for (let i = 0; i < count; i++) this.#add(this.#turn, call, i, isLatest, undefined);
      return;
    }
    // Those that wait for a position go alone, so that no other waits with them
    const groups = new Groups();
    for (let i = 0; i < count; i++) this.#add(groups, call, i, isLatest, after);
    this.#sendAll(groups, after);
  }

  #add(groups: Groups, call: ReadCall, index: number, isLatest: boolean, after: Position | undefined): void {
    const { limits, partitions, clock } = this.#session;
    const name = call.nameOf(index);
    this.#name.reset();
    const length = typeof name === 'string' && name.length <= limits.name ? this.#name.name(name) : 0;
    if (length < 1 || length > limits.name) throw new TallystickError('NAME_INVALID');
    const group = groups.of(partitionOf(this.#name.buffer, 0, length, partitions), isLatest);
    if (group.length === 0) {
      if (groups === this.#turn && groups.filled.length === 0) clock.endOfTurn(this.#endTurn);
      groups.filled.push(group);
    } else if (!group.hasRoom(length, limits)) this.#send(group, after);
    group.add(call, index, this.#name);
  }

  #sendAll(groups: Groups, after: Position | undefined): void {
    for (const group of groups.takeFilled()) this.#send(group, after);
  }

  #send(group: Group, after: Position | undefined): void {
    this.#session.laneOf(group.partition).submit(group.take(this.#session, after));
  }
}
