import { TallystickError } from '../errors.js';
import { ByteWriter } from '../protocol/bytes.js';
import { encodeExpire } from '../protocol/expiry.js';
import { Flag, Opcode } from '../protocol/opcode.js';
import { partitionOf } from '../protocol/partition-hash.js';
import { encodeDelete, encodeSet } from '../protocol/request.js';
import type { UniqueItems } from '../protocol/sketch.js';
import { encodeMerge, type Seen } from '../protocol/uniques.js';
import { Batch, type BatchKind } from './batch.js';
import { kindOf } from './batcher.js';
import {
  BatchCall,
  type BatchResult,
  Call,
  type CallOptions,
  ChangeCall,
  CursorCall,
  type FailedOperation,
  NO_OPTIONS,
  PlainBatchCall,
  type ToValue,
  ValueCall,
  type Waiter,
} from './call.js';
import type { Counter } from './counter.js';
import { type Counters, CounterTable, toInt64 } from './counters.js';
import { type Expiry, expiryOf, type ToldExpiry, toldExpiry } from './expiry.js';
import { Handles } from './handles.js';
import { Increments } from './increments.js';
import { Position } from './position.js';
import type { Session } from './session.js';
import {
  bytesOfItem,
  COUNTED,
  COUNTED_APPLIED,
  type CountedOnce,
  type Item,
  type OnceOptions,
  SEEN,
  SEEN_APPLIED,
  SeeCall,
  type SeeOptions,
  withinOf,
} from './sightings.js';
import { STAGE, touchOperations } from './touch.js';
import {
  type Ack,
  type BatchOperation,
  type BatchOptions,
  type BatchToOptions,
  checkDelta,
  type Deleted,
  type DeleteOptions,
  extensionOf,
  hasConditions,
  type IncrementOptions,
  type OperationOptions,
  reasonOf,
  type SetOptions,
} from './write-options.js';

/** Bytes of most values and reasons. */
const SMALL_CHANGE = 64;

/** A result for each operation, or only what failed. */
export type BatchAnswer<V> = BatchResult<V> | readonly FailedOperation[];
type WaitingCall = Pick<Call<unknown>, 'isSettled' | 'outcome' | 'limit' | 'reject'>;
type AnyBatchCall<V> = BatchCall<V> | PlainBatchCall | CursorCall;

interface PendingFlush {
  readonly call: Call<Position>;
  /** For each partition the sequence up to which all must be durable. */
  targets: readonly number[];
  takenBack: number;
}

/** The writing half of a client. */
export class Writer<V extends bigint | number> {
  readonly #session: Session;
  readonly #toValue: ToValue<V>;
  readonly #timeout: number;
  /** The name at hand in UTF-8. */
  readonly #name = new ByteWriter();
  readonly #increments = new Increments((name, delta, kind, caller) =>
    this.#append(caller, 0, name, delta, NO_OPTIONS, kind),
  );
  readonly #handles: Handles;
  #flushes: PendingFlush[] = [];
  /** Means nothing; keeps what `touchOperations` loads from being optimised away. */
  touched = 0;

  constructor(session: Session, toValue: ToValue<V>, timeout: number) {
    this.#session = session;
    this.#toValue = toValue;
    this.#timeout = timeout;
    this.#handles = new Handles(session);
    session.listener = {
      delivering: () => this.#increments.endTurn(),
      progressed: () => this.#progressed(),
      ended: (error) => this.#ended(error),
    };
  }

  increment(name: string, delta: number | bigint, options: IncrementOptions): Promise<V> {
    const call = new ValueCall(this.#toValue);
    try {
      if (!this.#limit(call, options)) return call.promise;
      if (this.#session.backlog.isOpen) this.#increment(call, name, delta, options);
      else this.#incrementLater(call, name, delta, options);
    } catch (error) {
      call.reject(error as TallystickError);
    }
    return call.promise;
  }

  #increment(call: ValueCall<V>, name: string, delta: number | bigint, options: IncrementOptions): void {
    call.outcome = 'unknown';
    if (this.#isSummed(name, delta, options)) this.#sum(call, name, Number(delta));
    else {
      const kind = this.#kindFor(name, options);
      if (hasConditions(options)) this.#append(call, 0, name, delta, options, kind);
      else this.#increments.add(name, delta, kind, call);
    }
    this.#session.called();
  }

  /** Not within `increment`, which would make room for the closure in each call, also where none has to wait. */
  #incrementLater(call: ValueCall<V>, name: string, delta: number | bigint, options: IncrementOptions): void {
    this.#session.backlog.whenRoom(call, () => this.#increment(call, name, delta, options));
  }

  batch(operations: readonly BatchOperation[], options: BatchOptions): Promise<BatchAnswer<V>> {
    if (operations.length === 0) return Promise.resolve([]);
    if (options.atomic) return this.#atomic(operations, options);
    return new Promise((resolve, reject) => {
      const call = this.#batchCall(operations, options, resolve, reject);
      this.#start(call, options, () => {
        for (let i = 0; i < operations.length; i++) {
          if (i % STAGE === 0) this.touched = touchOperations(operations, i, Math.min(operations.length, i + STAGE));
          const operation = operations[i] as BatchOperation;
          const kind = this.#kindFor(operation.name, options);
          this.#append(call, i, operation.name, operation.delta ?? 1, operation, kind);
        }
      });
    });
  }

  batchTo(partition: number, operations: readonly BatchOperation[], options: BatchToOptions): Promise<BatchAnswer<V>> {
    return new Promise((resolve, reject) => {
      const batch = this.#wholeBatch(partition, operations, options);
      let call: AnyBatchCall<V>;
      if (operations.length > 0) {
        call = this.#batchCall(operations, options, resolve, reject);
        for (let i = 0; i < operations.length; i++) batch.waitFor(call, i);
      } else {
        call = new CursorCall(resolve, reject);
        batch.waitForCursor(call);
      }
      this.#send(call, options, partition, batch);
    });
  }

  once(name: string, item: Item, options: OnceOptions): Promise<CountedOnce<V>> {
    return new Promise((resolve, reject) => {
      const call = new ChangeCall((value, counted) => ({ counted, value: this.#toValue(value) }), resolve, reject);
      const { delta = 1 } = options;
      checkDelta(delta);
      const operation = { item: bytesOfItem(item, this.#session.limits.name), delta, within: withinOf(options) };
      const batcher = this.#session.batcherOf(this.partitionOf(name));
      const kind = this.#isAppliedFor(name, options.ack) ? COUNTED_APPLIED : COUNTED;
      this.#start(call, options, () => {
        this.#increments.deliver();
        const end = this.#encode(name);
        batcher.endSum(name);
        batcher.once(this.#name.buffer, end, operation, kind, call);
      });
    });
  }

  see(name: string, items: readonly Item[], options: SeeOptions): Promise<Seen[]> {
    if (items.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      const call = new SeeCall(items.length, resolve, reject);
      const bytes = items.map((item) => bytesOfItem(item, this.#session.limits.name));
      const batcher = this.#session.batcherOf(this.partitionOf(name));
      const kind = this.#isAppliedFor(name, options.ack) ? SEEN_APPLIED : SEEN;
      this.#start(call, options, () => {
        const end = this.#encode(name);
        for (const [i, item] of bytes.entries()) batcher.see(this.#name.buffer, end, item, kind, call, i);
      });
    });
  }

  set(name: string, value: number | bigint, options: SetOptions): Promise<{ readonly previous: V }> {
    return new Promise((resolve, reject) => {
      const call = new ChangeCall((previous) => ({ previous: this.#toValue(previous) }), resolve, reject);
      const request = { key: { name }, value: toInt64(value), ...reasonOf(options) };
      this.#change(Opcode.SET, name, options, call, (payload) => encodeSet(payload, request));
    });
  }

  delete(name: string, options: DeleteOptions): Promise<Deleted<V>> {
    return new Promise((resolve, reject) => {
      const toResult = (previous: bigint, existed: boolean) => ({ previous: this.#toValue(previous), existed });
      const call = new ChangeCall(toResult, resolve, reject);
      const request = { key: { name }, ...reasonOf(options) };
      this.#change(Opcode.DELETE, name, options, call, (payload) => encodeDelete(payload, request));
    });
  }

  /** Brings items under a name; how many different ones it has then. */
  merge(name: string, items: UniqueItems, options: CallOptions): Promise<{ count: number; exact: boolean }> {
    return new Promise((resolve, reject) => {
      const call = new ChangeCall((count, exact) => ({ count: Number(count), exact }), resolve, reject);
      this.#change(Opcode.MERGE, name, options, call, (payload) => encodeMerge(payload, { key: { name }, items }));
    });
  }

  /** Says when a counter ends. */
  expire(name: string, expiry: Expiry, options: CallOptions): Promise<ToldExpiry> {
    return new Promise((resolve, reject) => {
      const call = new ChangeCall((expires, existed) => toldExpiry(Number(expires), existed), resolve, reject);
      const request = { key: { name }, expiry: expiryOf(expiry) };
      this.#change(Opcode.EXPIRE, name, options, call, (payload) => encodeExpire(payload, request));
    });
  }

  /** Sends a SET, DELETE, MERGE or EXPIRE as a batch of its own. */
  #change<R>(
    opcode: typeof Opcode.SET | typeof Opcode.DELETE | typeof Opcode.MERGE | typeof Opcode.EXPIRE,
    name: string,
    options: CallOptions,
    call: ChangeCall<R>,
    encode: (payload: ByteWriter) => void,
  ): void {
    const batch = new Batch({ opcode, flags: 0, applied: false }, SMALL_CHANGE + name.length);
    const partition = this.partitionOf(name);
    encode(batch.payload);
    batch.waitFor(call, 0);
    this.#send(call, options, partition, batch);
  }

  /** Sends a batch of its own, after what was called before it. */
  #send(call: WaitingCall, options: CallOptions, partition: number, batch: Batch): void {
    this.#start(call, options, () => {
      this.#increments.deliver();
      this.#session.batcherOf(partition).send(batch);
    });
  }

  counter(name: string): Counter {
    const known = this.#handles.get(name);
    if (known) return known;
    const partition = this.partitionOf(name);
    this.#checkWritable();
    this.#checkSums(name);
    return this.#handles.make(name, partition);
  }

  counters(names: readonly string[]): Counters {
    this.#checkWritable();
    const table = new CounterTable(names.length, this.#session);
    for (const name of names) {
      this.#checkSums(name);
      table.append(name, this.partitionOf(name));
    }
    Object.freeze(table.names);
    return table;
  }

  flush(options: CallOptions): Promise<Position> {
    return new Promise((resolve, reject) => {
      const failed = this.#session.isClosed ? this.#session.failures.take(this.#session.closedBy) : undefined;
      if (failed) throw failed;
      const call = new Call<Position>(resolve, reject);
      if (this.#session.isReadOnly) call.resolve(this.#position());
      else this.#start(call, options, () => this.#flush(call));
    });
  }

  /** Flushes for the last time: from now on nothing new is taken. */
  finalFlush(options: CallOptions): Promise<Position> {
    const flushed = this.flush(options);
    this.#session.closedBy ??= new TallystickError('CLOSED');
    return flushed;
  }

  drain(options: CallOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#checkWritable();
      const call = new Call<void>(resolve, reject);
      call.limit(this.#session.deadlines, options.timeout ?? this.#timeout, options.signal);
      this.#session.backlog.whenDrained(call);
    });
  }

  /** The partition that owns the name. Throws NAME_INVALID. */
  partitionOf(name: string): number {
    const end = this.#encode(name);
    return partitionOf(this.#name.buffer, 0, end, this.#session.partitions);
  }

  /** Throws INVALID_ARGUMENT for a name whose increments may not be summed. */
  #checkSums(name: string): void {
    if (this.#session.accuracyOf(name) !== 'strict') return;
    throw new TallystickError('INVALID_ARGUMENT', `"${name}" is of a strict class: \`increment\` it, one by one.`);
  }

  #isApplied(ack: Ack | undefined): boolean {
    return ack === undefined ? this.#session.applied : ack === 'applied';
  }

  /** Of one operation: the accuracy of its name decides what the caller did not. */
  #isAppliedFor(name: string, ack: Ack | undefined): boolean {
    const accuracy = this.#session.accuracyOf(name);
    if (accuracy === 'strict') return false;
    if (accuracy === 'relaxed' && ack === undefined && !this.#session.isAckGiven) return true;
    return this.#isApplied(ack);
  }

  /** Whether an increment is summed with others of its name: a relaxed one, and nothing is said of this increment alone. */
  #isSummed(name: string, delta: number | bigint, options: IncrementOptions): boolean {
    if (this.#session.accuracyOf(name) !== 'relaxed' || options.ack !== undefined || hasConditions(options))
      return false;
    return typeof delta === 'bigint' ? Number.isSafeInteger(Number(delta)) : Number.isSafeInteger(delta);
  }

  #sum(call: ValueCall<V>, name: string, delta: number): void {
    this.#increments.deliver();
    try {
      this.#session.batcherOf(this.partitionOf(name)).sum(name, delta, call);
    } catch (error) {
      call.fail(0, error as TallystickError);
    }
  }

  #kindFor(name: string, { ack, values = true }: { readonly ack?: Ack; readonly values?: boolean }): BatchKind {
    return kindOf(this.#isAppliedFor(name, ack), values);
  }

  #batchCall(
    operations: readonly BatchOperation[],
    { values = true }: BatchOptions,
    resolve: (answer: BatchAnswer<V>) => void,
    reject: (error: TallystickError) => void,
  ): AnyBatchCall<V> {
    if (!values) return new PlainBatchCall(operations, resolve, reject);
    return new BatchCall(operations, this.#toValue, resolve, reject);
  }

  /** Starts the wait and runs when there is room for more. */
  #start(call: WaitingCall, options: CallOptions, run: () => void): void {
    if (!this.#limit(call, options)) return;
    this.#session.backlog.whenRoom(call, () => {
      call.outcome = 'unknown';
      run();
    });
  }

  /** Starts the wait; false where it is over already. Throws CLOSED, INVALID_ARGUMENT. */
  #limit(call: WaitingCall, options: CallOptions): boolean {
    this.#checkWritable();
    call.limit(this.#session.deadlines, options.timeout ?? this.#timeout, options.signal);
    return !call.isSettled;
  }

  #checkWritable(): void {
    const { closedBy, isReadOnly } = this.#session;
    if (closedBy)
      throw new TallystickError('CLOSED', closedBy.code === 'CLOSED' ? '' : closedBy.code, { cause: closedBy });
    if (isReadOnly) throw new TallystickError('INVALID_ARGUMENT', 'A client without a producer can only read.');
  }

  /** Writes the name to the scratch and returns its length in bytes. Throws NAME_INVALID. */
  #encode(name: string): number {
    const most = this.#session.limits.name;
    this.#name.reset();
    const length = typeof name === 'string' && name.length <= most ? this.#name.name(name) : 0;
    if (length < 1 || length > most) throw new TallystickError('NAME_INVALID');
    return length;
  }

  #append(
    waiter: Waiter,
    index: number,
    name: string,
    delta: number | bigint,
    options: OperationOptions,
    kind: BatchKind,
  ): void {
    this.#increments.deliver();
    try {
      const end = this.#encode(name);
      checkDelta(delta);
      const partition = partitionOf(this.#name.buffer, 0, end, this.#session.partitions);
      const batcher = this.#session.batcherOf(partition);
      batcher.endSum(name);
      batcher.append(this.#name.buffer, end, delta, extensionOf(options), kind, waiter, index);
    } catch (error) {
      waiter.fail(index, error as TallystickError);
    }
  }

  #atomic(operations: readonly BatchOperation[], options: BatchOptions): Promise<BatchAnswer<V>> {
    return new Promise((resolve) => {
      const partitions = new Set(operations.map(({ name }) => this.partitionOf(name)));
      const [partition = 0] = partitions;
      if (partitions.size > 1) {
        const detail = 'The names of an atomic batch must share a partition: give them a common {tag}.';
        throw new TallystickError('INVALID_ARGUMENT', detail);
      }
      resolve(this.batchTo(partition, operations, options));
    });
  }

  /** One batch of these operations. Throws for what no single frame can hold. */
  #wholeBatch(partition: number, operations: readonly BatchOperation[], options: BatchToOptions): Batch {
    const { limits, cursorLimit, partitions } = this.#session;
    const { cursor } = options;
    if (!(Number.isInteger(partition) && partition >= 0 && partition < partitions)) {
      throw new TallystickError('INVALID_ARGUMENT', `There is no partition ${partition} of ${partitions}.`);
    }
    if (cursor && cursor.length > cursorLimit) {
      throw new TallystickError('INVALID_ARGUMENT', `A cursor has at most ${cursorLimit} bytes.`);
    }
    if (operations.length > limits.operations) throw new TallystickError('TOO_MANY_OPERATIONS');
    const { opcode, flags, applied } = kindOf(this.#isApplied(options.ack), options.values ?? true);
    const kind: BatchKind = {
      opcode,
      flags: flags | (options.atomic ? Flag.ATOMIC : 0),
      applied,
      ...(cursor && { cursor: cursor.slice() }),
    };
    const batch = new Batch(kind, 32 * operations.length);
    for (const operation of operations) {
      const end = this.#encode(operation.name);
      checkDelta(operation.delta ?? 1);
      batch.write(this.#name.buffer, end, operation.delta ?? 1, extensionOf(operation));
    }
    if (batch.length > limits.bytes) throw new TallystickError('FRAME_TOO_LARGE');
    return batch;
  }

  #flush(call: Call<Position>): void {
    this.#increments.deliver();
    this.#session.additions.deliver();
    const targets = this.#session.batchers.map((batcher) => batcher.flush());
    this.#flushes.push({ call, targets, takenBack: this.#takenBack() });
    this.#progressed();
  }

  #progressed(): void {
    if (this.#flushes.length > 0) this.#flushes = this.#flushes.filter((flush) => !this.#isFinished(flush));
  }

  #isFinished(flush: PendingFlush): boolean {
    const { batchers, failures } = this.#session;
    if (flush.call.isSettled) return true;
    const isDurable = () => batchers.every(({ sender }, i) => sender.durableThrough >= (flush.targets[i] as number));
    if (!isDurable()) return false;
    if (flush.takenBack !== this.#takenBack()) {
      // sums of this flush came back, so they are not durable yet
      flush.takenBack = this.#takenBack();
      flush.targets = batchers.map((batcher) => batcher.flush());
      if (!isDurable()) return false;
    }
    const error = failures.take();
    if (error) flush.call.reject(error);
    else flush.call.resolve(this.#position());
    return true;
  }

  #ended(error: TallystickError): void {
    const waiting = this.#flushes.filter(({ call }) => !call.isSettled);
    this.#flushes = [];
    for (const { call } of waiting) call.reject(this.#session.failures.take(error) ?? error);
  }

  #takenBack(): number {
    return this.#session.batchers.reduce((sum, batcher) => sum + batcher.takenBack, 0);
  }

  /** As far as answers told of the partitions. */
  #position(): Position {
    const told = this.#session.batchers.map(({ sender }) => [sender.partition, sender.position] as const);
    return new Position(this.#session.epoch, new Map(told.filter(([, position]) => position > 0)));
  }
}
