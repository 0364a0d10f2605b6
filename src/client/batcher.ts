/**
 * Collects the operations of one partition into batches. What is called within one turn goes out together at its end;
 * while some batches are on their way the next one collects, so that batches grow with the load and a lone call
 * does not wait. A full batch goes at once.
 */

import { TallystickError } from '../errors.js';
import { Flag, Opcode } from '../protocol/opcode.js';
import type { Extension } from '../protocol/request.js';
import type { Backlog } from './backlog.js';
import { Batch, type BatchKind } from './batch.js';
import type { Waiter } from './call.js';
import type { CounterHandle } from './counter.js';
import type { FailureLog } from './failures.js';
import type { Sender } from './sender.js';

/** Unanswered batches from which on a batch that is not full waits for an answer. */
const MOST_PARTIAL = 2;
/** More than an operation has beside its name: head, delta, fields, bounds, operation id. */
const MOST_BESIDE_NAME = 64;
/** Handles are loaded so many at a time before their sums are written: among a million, each would be a miss of its own. */
const STAGE = 64;
const SMALLEST_CAPACITY = 256;
const LARGEST_CAPACITY = 65_536;

const NAMED: BatchKind = { opcode: Opcode.ADD, flags: Flag.VALUES, applied: false };
const NAMED_APPLIED: BatchKind = { ...NAMED, applied: true };
const SUMS: BatchKind = { opcode: Opcode.ADD, flags: 0, applied: false };
const SUMS_APPLIED: BatchKind = { ...SUMS, applied: true };

/** What a batch may have; bytes without the header and what precedes the operations. */
export interface BatchLimits {
  readonly operations: number;
  /** Bytes of a name. */
  readonly name: number;
  readonly bytes: number;
}

/** What all batchers of a client share. */
export interface BatcherContext {
  readonly backlog: Backlog;
  readonly limits: BatchLimits;
  /** Whether handles' sums are acknowledged when applied. */
  readonly applied: boolean;
  readonly isClosed: boolean;
  /** Makes `endTurn` be called at the end of the turn. */
  schedule(batcher: Batcher): void;
  /** Asks for the ids of counters. */
  openIds(batcher: Batcher, handles: readonly CounterHandle[]): void;
}

export class Batcher {
  readonly sender: Sender;
  /** The life of the data directory in which new ids of this partition hold. */
  epoch = -1;
  /** Whether it is to be called at the end of the turn. */
  isScheduled = false;
  readonly #context: BatcherContext;
  #named: Batch | undefined;
  #dirty: CounterHandle[] = [];
  #takenBack = 0;
  #capacity = SMALLEST_CAPACITY;
  /** Means nothing; keeps what `#touch` loads from being optimised away. */
  touched = 0;

  constructor(sender: Sender, context: BatcherContext) {
    this.sender = sender;
    this.#context = context;
  }

  get backlog(): Backlog {
    return this.#context.backlog;
  }

  /** How often sums came back to be sent again. */
  get takenBack(): number {
    return this.#takenBack;
  }

  /** Adds an operation, its name in `source` up to `end`, to the open batch. */
  append(
    source: Uint8Array,
    end: number,
    delta: number | bigint,
    extension: Extension | undefined,
    applied: boolean,
    waiter: Waiter,
    index: number,
  ): void {
    const { limits } = this.#context;
    let batch = this.#named;
    if (batch) {
      const isFull = batch.operations >= limits.operations || batch.length + end + MOST_BESIDE_NAME > limits.bytes;
      if (isFull || batch.applied !== applied) {
        this.#sealNamed();
        batch = undefined;
      }
    }
    if (!batch) {
      batch = new Batch(applied ? NAMED_APPLIED : NAMED, this.#capacity);
      this.#named = batch;
      this.#schedule();
    }
    batch.write(source, end, delta, extension);
    batch.waitFor(waiter, index);
  }

  /** Sends a batch of its own, after what was called before it. */
  send(batch: Batch): void {
    this.#sealNamed();
    this.sender.enqueue(batch);
  }

  /** Puts a handle on the list of those with a sum to be sent. Throws CLOSED. */
  markDirty(handle: CounterHandle): void {
    if (this.#context.isClosed) throw new TallystickError('CLOSED');
    if (this.#dirty.length >= this.#context.limits.operations && !this.backlog.isFull) this.#sealSums(1);
    this.#list(handle);
  }

  /** The same for a sum that a batch carried in vain, also while the client closes. */
  takeBack(handle: CounterHandle): void {
    this.#takenBack++;
    if (!handle.isDirty) this.#list(handle);
  }

  /** Sends the sum of one handle in a batch of its own. */
  sendSum(handle: CounterHandle): void {
    const batch = new Batch(this.#context.applied ? SUMS_APPLIED : SUMS, SMALLEST_CAPACITY);
    handle.writeSum(batch.payload, this.epoch);
    batch.carry([handle]);
    this.sender.enqueue(batch);
  }

  /** Sends what was collected, unless enough is on its way: then the next answer does. */
  endTurn(): void {
    if (this.sender.unanswered >= MOST_PARTIAL) return;
    this.#sealNamed();
    if (!this.backlog.isFull) this.#sealSums(Number.POSITIVE_INFINITY);
  }

  /** After an answer: what waited for one goes at the end of the turn. */
  progressed(): void {
    if (this.#named || this.#dirty.length > 0) this.#schedule();
  }

  /** Sends all that was collected and returns the sequence of the last batch. */
  flush(): number {
    this.#sealNamed();
    this.#sealSums(Number.POSITIVE_INFINITY);
    return this.sender.last;
  }

  /** Fails what was collected, none of which was sent, and forgets it. */
  fail(error: TallystickError, failures: FailureLog): void {
    if (this.#named) this.#named.fail(error, failures);
    this.#named = undefined;
    for (const batch of this.#takeSums(Number.POSITIVE_INFINITY, [])) batch.fail(error, failures);
  }

  #sealNamed(): void {
    const batch = this.#named;
    if (!batch) return;
    this.#named = undefined;
    this.#capacity = Math.min(LARGEST_CAPACITY, Math.max(SMALLEST_CAPACITY, batch.length));
    this.sender.enqueue(batch);
  }

  #sealSums(mostBatches: number): void {
    if (this.#dirty.length === 0) return;
    const withoutId: CounterHandle[] = [];
    for (const batch of this.#takeSums(mostBatches, withoutId)) this.sender.enqueue(batch);
    if (withoutId.length > 0) this.#context.openIds(this, withoutId);
  }

  /** Makes batches of the handles on the list. Those to be opened are added to `withoutId`. */
  #takeSums(mostBatches: number, withoutId: CounterHandle[]): Batch[] {
    const handles = this.#dirty;
    const batches: Batch[] = [];
    let next = 0;
    while (next < handles.length && batches.length < mostBatches) {
      const batch = new Batch(this.#context.applied ? SUMS_APPLIED : SUMS, LARGEST_CAPACITY);
      next = this.#fill(batch, handles, next, withoutId);
      batches.push(batch);
    }
    this.#dirty = handles.slice(next);
    return batches;
  }

  /** Writes sums from the handle `from` on until the batch is full, and returns the next handle. */
  #fill(batch: Batch, handles: readonly CounterHandle[], from: number, withoutId: CounterHandle[]): number {
    const { limits } = this.#context;
    const { epoch } = this;
    const to = Math.min(handles.length, from + limits.operations);
    const mostBytes = limits.bytes - MOST_BESIDE_NAME - limits.name;
    let next = from;
    for (; next < to && batch.length <= mostBytes; next++) {
      if ((next - from) % STAGE === 0) this.#touch(handles, next, Math.min(to, next + STAGE));
      const handle = handles[next] as CounterHandle;
      handle.isDirty = false;
      if (!handle.writeSum(batch.payload, epoch) && handle.startOpening()) withoutId.push(handle);
    }
    batch.carry(from === 0 && next === handles.length ? handles : handles.slice(from, next));
    return next;
  }

  /** Loads handles into the cache. Nothing else in the loop, so that their misses overlap. */
  #touch(handles: readonly CounterHandle[], from: number, to: number): void {
    let sum = 0;
    for (let i = from; i < to; i++) sum += (handles[i] as CounterHandle).touch();
    this.touched = sum;
  }

  #schedule(): void {
    if (!this.isScheduled) this.#context.schedule(this);
  }

  #list(handle: CounterHandle): void {
    handle.isDirty = true;
    this.#dirty.push(handle);
    this.#schedule();
  }
}
