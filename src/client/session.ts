import type { Clock } from '../clock.js';
import { TallystickError } from '../errors.js';
import {
  type Accuracy,
  type AccuracyRule,
  type GrossRule,
  type HelloAnswer,
  type HelloRequest,
  PROTOCOL_VERSION,
  type ProducerRef,
} from '../protocol/control.js';
import { LANE } from '../protocol/opcode.js';
import { matchesPattern } from '../protocol/pattern.js';
import { Additions, type AdditionsContext } from './additions.js';
import { Backlog, type BacklogLimits, DEFAULT_BACKLOG } from './backlog.js';
import { Backoff } from './backoff.js';
import type { BatchKind } from './batch.js';
import { BYTES_BESIDE_OPERATIONS } from './batch.js';
import { Batcher, type BatcherContext, type BatchLimits, kindOf } from './batcher.js';
import type { Call, CallOptions } from './call.js';
import { Connection } from './connection.js';
import type { CounterList } from './counters.js';
import { Deadlines } from './deadlines.js';
import { FailureLog } from './failures.js';
import { Lane, type LaneContext } from './lane.js';
import { openIds } from './open-ids.js';
import { Request } from './request.js';
import { Sender, type SenderContext, type Statistics } from './sender.js';
import type { Telemetry } from './telemetry.js';
import { type Address, laneAddress, type Transport } from './transport.js';

/** Increments of one turn that go out before it ends. */
const PORTION = 512;
const CLIENT_NAME = 'tallystick-js';

/** Time, chance and the network: what a test replaces. */
export interface Environment {
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly randomBytes: (count: number) => Uint8Array;
  readonly transport: Transport;
  readonly backlog?: BacklogLimits;
}

export interface SessionOptions {
  /** Without a producer nothing can be written. */
  readonly producer: ProducerRef | undefined;
  readonly token: string | undefined;
  /** Whether sums are acknowledged when applied. */
  readonly applied: boolean;
  /** Whether the caller has said so, or the contrary. */
  readonly isAckGiven: boolean;
  /** Whether each lane is connected to; else one of them is, and reaches all partitions. */
  readonly isDirect: boolean;
  readonly resends: boolean;
  readonly telemetry?: Telemetry | undefined;
}

/** Hears of progress and of the end. */
export interface SessionListener {
  /** Whatever is not in its batch yet is to be put there now. */
  delivering(): void;
  progressed(): void;
  ended(error: TallystickError): void;
}

/** The connected lanes and the senders and batchers of their partitions: what readers and writers share. */
export class Session implements LaneContext, SenderContext, BatcherContext, AdditionsContext {
  readonly clock: Clock;
  readonly random: () => number;
  readonly transport: Transport;
  readonly seeds: readonly Address[];
  readonly backlog: Backlog;
  readonly deadlines: Deadlines;
  readonly failures = new FailureLog();
  readonly statistics: Statistics = { repeated: 0, resent: 0, reconnections: 0, batches: 0, operations: 0 };
  readonly lanes: Lane[] = [];
  readonly batchers: Batcher[] = [];
  readonly additions = new Additions(this);
  readonly cursors = new Map<number, Uint8Array>();
  epoch = 0;
  limits: BatchLimits = { operations: 0, name: 0, bytes: 0 };
  #accuracy: readonly AccuracyRule[] | undefined;
  /** Which names have their increases and decreases told apart, as the server said last. */
  grossRules: readonly GrossRule[] | undefined;
  cursorLimit = 0;
  /** Whoever else is to hear of the end, once. */
  readonly followers = new Set<(error: TallystickError) => void>();
  listener: SessionListener = { delivering: () => undefined, progressed: () => undefined, ended: () => undefined };
  /** Why nothing new is taken; undefined while the session is open. */
  closedBy: TallystickError | undefined;

  readonly #options: SessionOptions;
  #partitionLanes: readonly number[] = [];
  #opening: Call<void> | undefined;
  #openingError: TallystickError | undefined;
  readonly #openingBackoff: Backoff;
  #seedConnection: Connection | undefined;
  #attempts = 0;
  #scheduled: Batcher[] = [];
  #isTurnAwaited = false;
  /** Increments since the last delivery. */
  #called = 0;
  #isOver = false;
  readonly #endTurn = (): void => {
    this.#isTurnAwaited = false;
    this.#deliver();
  };

  constructor(environment: Environment, seeds: readonly Address[], options: SessionOptions) {
    this.clock = environment.clock;
    this.random = environment.random;
    this.transport = environment.transport;
    this.seeds = seeds;
    this.deadlines = new Deadlines(environment.clock);
    this.backlog = new Backlog(environment.backlog ?? DEFAULT_BACKLOG, environment.clock);
    this.#options = options;
    this.#openingBackoff = new Backoff(environment.clock, environment.random);
  }

  get isAckGiven(): boolean {
    return this.#options.isAckGiven;
  }

  get applied(): boolean {
    return this.#options.applied;
  }

  /** Of increments of relaxed names that are summed up: answered from memory unless the client said otherwise. */
  get summedKind(): BatchKind {
    return kindOf(!this.isAckGiven || this.applied, true);
  }

  get resends(): boolean {
    return this.#options.resends;
  }

  get telemetry(): Telemetry | undefined {
    return this.#options.telemetry;
  }

  get isDirect(): boolean {
    return this.#options.isDirect;
  }

  /** How counters of a name are treated: as the server's classes say, `exact` by default. */
  accuracyOf(name: string): Accuracy {
    return this.#accuracy?.find(({ pattern }) => matchesPattern(pattern, name))?.accuracy ?? 'exact';
  }

  get isClosed(): boolean {
    return this.closedBy !== undefined;
  }

  get isReadOnly(): boolean {
    return this.#options.producer === undefined;
  }

  get partitions(): number {
    return this.#partitionLanes.length;
  }

  /** What kept the session from opening so far. */
  get openingError(): TallystickError | undefined {
    return this.#openingError;
  }

  laneOf(partition: number): Lane {
    return this.lanes[this.#partitionLanes[partition] as number] as Lane;
  }

  batcherOf(partition: number): Batcher {
    return this.batchers[partition] as Batcher;
  }

  /** Connects to a seed, learns the lanes from it and connects to all, unless this one is enough; then the call resolves. */
  open(call: Call<void>): void {
    this.#opening = call;
    this.#dialSeed();
  }

  /** Ends everything: what is outstanding fails with the error. */
  end(error: TallystickError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.closedBy ??= error;
    this.#openingBackoff.cancel();
    this.#seedConnection?.close();
    for (const lane of this.lanes) lane.close();
    const refused = new TallystickError(error.code, error.detail, { outcome: 'refused', cause: error.cause });
    this.backlog.fail(refused);
    this.listener.delivering();
    this.additions.endTurn();
    for (const batcher of this.batchers) {
      batcher.fail(refused, this.failures);
      batcher.sender.fail(error);
    }
    for (const lane of this.lanes) lane.fail(refused);
    this.#opening?.reject(error);
    for (const tell of this.followers) tell(refused);
    this.listener.ended(error);
  }

  // --- for lanes ---

  hello(lane: Lane | undefined): HelloRequest {
    const { producer, token, isDirect } = this.#options;
    const isResumable = lane?.epoch !== undefined && producer !== undefined;
    return {
      version: PROTOCOL_VERSION,
      client: CLIENT_NAME,
      ...(token !== undefined && { token }),
      ...(lane && producer && { producer }),
      ...(!isDirect && { direct: false }),
      ...(isResumable && {
        resume: lane.senders.map(({ partition, incarnation }) => ({ partition, incarnation })),
      }),
    };
  }

  greeted(lane: Lane, answer: HelloAnswer): void {
    if (answer.partitions.length !== this.partitions) {
      this.fatal(
        new TallystickError('PRODUCER_UNKNOWN', 'The server has another data directory.', { outcome: 'unknown' }),
      );
      return;
    }
    const isFirst = lane.epoch === undefined;
    const isNewEpoch = lane.epoch !== answer.epoch && !isFirst;
    if (!isFirst) {
      this.statistics.reconnections++;
      this.telemetry?.reconnected();
    }
    lane.epoch = answer.epoch;
    this.epoch = answer.epoch;
    // The same list stays, by which tables know their rows.
    if (JSON.stringify(answer.gross) !== JSON.stringify(this.grossRules)) this.grossRules = answer.gross;
    for (const sender of lane.senders) this.batcherOf(sender.partition).enterEpoch(answer.epoch);
    for (const { partition, incarnation, next, cursor } of answer.producer?.partitions ?? []) {
      const { sender } = this.batcherOf(partition);
      sender.incarnation = incarnation;
      if (isFirst && cursor) this.cursors.set(partition, cursor);
      sender.resumed(next, { window: answer.limits.window, bytes: this.limits.bytes }, isNewEpoch);
      if (this.#isOver) return;
    }
    if (this.lanes.every(({ epoch }) => epoch !== undefined)) this.#opening?.resolve();
  }

  located(answer: HelloAnswer, reachedAt: Address): void {
    for (const lane of this.lanes) {
      const address = answer.lanes[lane.index];
      if (address) lane.address = laneAddress(address, reachedAt);
    }
  }

  // --- for lanes and senders ---

  fatal(error: TallystickError): void {
    this.end(
      error.outcome === 'unknown' ? error : new TallystickError(error.code, error.detail, { outcome: 'unknown' }),
    );
  }

  progressed(sender: Sender): void {
    this.batcherOf(sender.partition).progressed();
    this.listener.progressed();
  }

  // --- for batchers and additions ---

  schedule(batcher: Batcher): void {
    batcher.isScheduled = true;
    this.#scheduled.push(batcher);
    this.scheduleDelivery();
  }

  scheduleDelivery(): void {
    if (this.#isTurnAwaited) return;
    this.#isTurnAwaited = true;
    this.clock.endOfTurn(this.#endTurn);
  }

  /** An increment was called. When there are many in one turn they go in portions: the server works on one while the next is made. */
  called(): void {
    this.scheduleDelivery();
    if (++this.#called < PORTION) return;
    this.#deliver();
    for (const lane of this.lanes) lane.flush();
  }

  #deliver(): void {
    this.#called = 0;
    this.listener.delivering();
    this.additions.endTurn();
    const batchers = this.#scheduled;
    this.#scheduled = [];
    for (const due of batchers) {
      due.isScheduled = false;
      due.endTurn();
    }
  }

  openIds(batcher: Batcher, counters: CounterList): void {
    openIds(this.laneOf(batcher.sender.partition), batcher.sender.partition, counters, this.limits);
  }

  // --- for readers ---

  /** Starts the wait of a call that only reads; false where it is over already. Throws CLOSED. */
  begin<T>(call: Call<T>, { timeout, signal }: CallOptions, defaultTimeout: number): boolean {
    const { closedBy } = this;
    if (closedBy)
      throw new TallystickError('CLOSED', closedBy.code === 'CLOSED' ? '' : closedBy.code, { cause: closedBy });
    call.limit(this.deadlines, timeout ?? defaultTimeout, signal);
    return !call.isSettled;
  }

  /** Sends the same request to all lanes; the call rejects with the first error. */
  askLanes(call: Call<never>, opcode: number, body: Uint8Array, onAnswer: (body: Uint8Array) => void): void {
    const header = { opcode, flags: 0, partition: LANE };
    for (const lane of this.lanes) {
      lane.submit(
        new Request(header, body, {
          onAnswer,
          onError: (error) => call.reject(error),
          isWanted: () => !call.isSettled,
        }),
      );
    }
  }

  // --- connecting ---

  #dialSeed(): void {
    const seed = this.seeds[this.#attempts++ % this.seeds.length] as Address;
    const { producer } = this.#options;
    const hello = { ...this.hello(undefined), ...(producer && { producer }) };
    this.#seedConnection = new Connection(this.transport, this.clock, seed, hello, {
      greeted: (connection, answer) => this.#greetedBySeed(connection, answer),
      answered: () => undefined,
      closed: (_connection, error) => this.#seedClosed(error),
    });
  }

  #seedClosed(error: TallystickError): void {
    this.#openingError = error;
    if (error.retryable) this.#openingBackoff.wait(() => this.#dialSeed());
    else this.end(error);
  }

  #greetedBySeed(connection: Connection, answer: HelloAnswer): void {
    this.#seedConnection = undefined;
    const { limits } = answer;
    this.#accuracy = answer.accuracy;
    this.grossRules = answer.gross;
    this.limits = { operations: limits.batch, name: limits.name, bytes: limits.frame - BYTES_BESIDE_OPERATIONS };
    this.cursorLimit = limits.cursor;
    const { isDirect } = this;
    this.#partitionLanes = isDirect ? answer.partitions : answer.partitions.map(() => 0);
    const { address } = connection;
    const addresses = isDirect ? answer.lanes.map((lane) => laneAddress(lane, address)) : [address];
    addresses.forEach((lane, index) => {
      this.lanes.push(new Lane(index, lane, this));
    });
    for (const [partition, index] of this.#partitionLanes.entries()) {
      const lane = this.lanes[index] as Lane;
      const sender = new Sender(partition, lane, this);
      lane.senders.push(sender);
      this.batchers.push(new Batcher(sender, this));
    }
    for (const lane of this.lanes) {
      if (!isDirect || lane.index === answer.lane) lane.adopt(connection, answer);
      else lane.connect();
    }
  }
}
