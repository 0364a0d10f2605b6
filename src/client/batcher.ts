/**
 * Collects the operations of one partition into batches. What is called within one turn goes out together at its end;
 * while some batches are on their way the next one collects, so that batches grow with the load and a lone call
 * does not wait. A full batch goes at once.
 */

import type { TallystickError } from '../errors.js';
import { ByteWriter } from '../protocol/bytes.js';
import { Flag, Opcode } from '../protocol/opcode.js';
import type { Extension } from '../protocol/request.js';
import type { Backlog } from './backlog.js';
import { Batch, type BatchKind } from './batch.js';
import type { Waiter } from './call.js';
import { type CounterList, type CounterTable, exactDelta, Selection } from './counters.js';
import type { FailureLog } from './failures.js';
import type { Sender } from './sender.js';
import { SummedCalls } from './summed-calls.js';
import { Sums } from './sums.js';

/** Unanswered batches from which on a batch that is not full waits for an answer. */
const MOST_PARTIAL = 2;
/** More than an operation has beside its name: head, delta, fields, bounds, operation id. */
const MOST_BESIDE_NAME = 64;
const SMALLEST_CAPACITY = 256;
const LARGEST_CAPACITY = 65_536;

/** Of named operations whose values are answered. */
const VALUED: BatchKind = { opcode: Opcode.ADD, flags: Flag.VALUES, applied: false };
const VALUED_APPLIED: BatchKind = { ...VALUED, applied: true };
const PLAIN: BatchKind = { opcode: Opcode.ADD, flags: 0, applied: false };
const PLAIN_APPLIED: BatchKind = { ...PLAIN, applied: true };

export function kindOf(applied: boolean, values: boolean): BatchKind {
  if (values) return applied ? VALUED_APPLIED : VALUED;
  return applied ? PLAIN_APPLIED : PLAIN;
}

/** The operations of sums, until it is known how many bytes they take. */
const scratch = new ByteWriter(LARGEST_CAPACITY);
/** The name at hand, in UTF-8. */
const nameBytes = new ByteWriter();
/** Of UTF-8, for one of a string's 16 bits. */
const MOST_BYTES_OF_CHARACTER = 3;

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
  /** Of increments of relaxed names. */
  readonly summedKind: BatchKind;
  /** Whether sums are acknowledged when applied. */
  readonly applied: boolean;
  /** Makes `endTurn` be called at the end of the turn. */
  schedule(batcher: Batcher): void;
  /** Asks for the ids of counters. */
  openIds(batcher: Batcher, counters: CounterList): void;
}

const bytesFor = (name: string): number => name.length * MOST_BYTES_OF_CHARACTER + MOST_BESIDE_NAME;

export class Batcher {
  readonly sender: Sender;
  /** Whether it is to be called at the end of the turn. */
  isScheduled = false;
  readonly #context: BatcherContext;
  #named: Batch | undefined;
  /** Sightings, which keep no order with increments: neither shows the other. */
  #seen: Batch | undefined;
  /** Increments of relaxed names, summed up by name; the last of a name takes more. They come after those in `#named`. */
  #summed: SummedCalls[] = [];
  readonly #summedLast = new Map<string, SummedCalls>();
  #summedBytes = 0;
  readonly #sums = new Sums();
  #epoch = 0;
  #takenBack = 0;
  #capacity = SMALLEST_CAPACITY;

  constructor(sender: Sender, context: BatcherContext) {
    this.sender = sender;
    this.#context = context;
  }

  /** The life of the data directory in which new ids of this partition hold, as 32 bits with a sign. */
  get epoch(): number {
    return this.#epoch;
  }

  enterEpoch(epoch: number): void {
    if (this.#epoch === (epoch | 0)) return;
    this.#epoch = epoch | 0;
    this.#sums.forgetIds();
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
    kind: BatchKind,
    waiter: Waiter,
    index: number,
  ): void {
    this.#named = this.#withRoom(this.#named, kind, end);
    this.#named.write(source, end, delta, extension);
    this.#named.waitFor(waiter, index);
  }

  /** Adds an increment of a name whose increments may be summed up. */
  sum(name: string, delta: number, call: Waiter): void {
    if (this.#summedLast.get(name)?.take(call, delta)) return;
    const { limits } = this.#context;
    const isFull = this.#summed.length >= limits.operations || this.#summedBytes + bytesFor(name) > limits.bytes;
    if (isFull) this.#sealNamed();
    this.#summedLast.set(name, this.#listCall(name, delta, call));
  }

  #listCall(name: string, delta: number, call: Waiter): SummedCalls {
    // What is tried by itself sends nothing: the answer of its batch is being taken.
    const calls = new SummedCalls(name, (alone, step) => this.#listCall(name, step, alone));
    calls.take(call, delta);
    this.#summed.push(calls);
    this.#summedBytes += bytesFor(name);
    this.#schedule();
    return calls;
  }

  /** What is called next of this name comes after its sums. */
  endSum(name: string): void {
    // Where nothing is summed no name is hashed
    if (this.#summed.length > 0 && this.#summedLast.has(name)) this.#sealNamed();
  }

  /** Adds an increment that counts once for its item, which keeps its order with the others. */
  once(
    source: Uint8Array,
    end: number,
    { item, delta, within }: { readonly item: Uint8Array; readonly delta: number | bigint; readonly within: number },
    kind: BatchKind,
    waiter: Waiter,
  ): void {
    this.#named = this.#withRoom(this.#named, kind, end + item.length);
    this.#named.writeOnce(source, end, item, delta, within);
    this.#named.waitFor(waiter, 0);
  }

  /** Adds the sighting of an item to the open batch of them. */
  see(source: Uint8Array, end: number, item: Uint8Array, kind: BatchKind, waiter: Waiter, index: number): void {
    this.#seen = this.#withRoom(this.#seen, kind, end + item.length);
    this.#seen.writeItem(source, end, item);
    this.#seen.waitFor(waiter, index);
  }

  /** The open batch, or, where it has no room for so many bytes or is of another kind, the one after it. */
  #withRoom(batch: Batch | undefined, kind: BatchKind, bytes: number): Batch {
    const { limits } = this.#context;
    if (batch) {
      const isFull = batch.operations >= limits.operations || batch.length + bytes + MOST_BESIDE_NAME > limits.bytes;
      if (!isFull && batch.kind === kind) return batch;
      this.#seal(batch);
    }
    this.#schedule();
    return new Batch(kind, this.#capacity);
  }

  /** Sends a batch of its own, after what was called before it. */
  send(batch: Batch): void {
    this.#sealNamed();
    this.sender.enqueue(batch);
  }

  /** Adds to the sum of a counter: a safe integer, or a number of 64 bits that is none. */
  add(table: CounterTable, row: number, delta: number | bigint): void {
    if (this.#sums.merge(table, row, delta)) return;
    const { limits, backlog } = this.#context;
    if (this.#sums.length >= limits.operations && !backlog.isFull) this.#sealSums(1);
    this.#list(table, row, delta);
  }

  /** The same for a sum that a batch carried in vain. It sends nothing: the answer of that batch is being taken. */
  takeBack(table: CounterTable, row: number, sum: bigint): void {
    this.#takenBack++;
    const delta = exactDelta(sum);
    if (!this.#sums.merge(table, row, delta)) this.#list(table, row, delta);
  }

  /** What is to be sent of this counter goes by its name. */
  forgetId(table: CounterTable, row: number): void {
    this.#sums.forgetId(table, row);
  }

  /** Sends what was collected, unless enough is on its way: then the next answer does. */
  endTurn(): void {
    if (this.sender.unanswered >= MOST_PARTIAL) return;
    this.#sealNamed();
    if (!this.#context.backlog.isFull) this.#sealSums(Number.POSITIVE_INFINITY);
  }

  /** After an answer: what waited for one goes at the end of the turn. */
  progressed(): void {
    if (this.#named || this.#seen || this.#summed.length > 0 || this.#sums.length > 0) this.#schedule();
  }

  /** Sends all that was collected and returns the sequence of the last batch. */
  flush(): number {
    this.#sealNamed();
    this.#sealSums(Number.POSITIVE_INFINITY);
    return this.sender.last;
  }

  /** Fails what was collected, none of which was sent, and forgets it. */
  fail(error: TallystickError, failures: FailureLog): void {
    this.#named?.fail(error, failures);
    this.#seen?.fail(error, failures);
    for (const calls of this.#takeSummed()) calls.fail(0, error);
    this.#named = undefined;
    this.#seen = undefined;
    for (const batch of this.#takeSums(Number.POSITIVE_INFINITY, new Selection())) batch.fail(error, failures);
  }

  #sealNamed(): void {
    const named = this.#named;
    const seen = this.#seen;
    this.#named = undefined;
    this.#seen = undefined;
    if (named) this.#seal(named);
    this.#sealSummed();
    if (seen) this.#seal(seen);
  }

  #sealSummed(): void {
    let batch: Batch | undefined;
    for (const calls of this.#takeSummed()) {
      nameBytes.reset();
      const end = nameBytes.name(calls.name);
      batch = this.#withRoom(batch, this.#context.summedKind, end);
      batch.write(nameBytes.buffer, end, calls.sum, undefined);
      batch.waitFor(calls, 0);
    }
    if (batch) this.#seal(batch);
  }

  #takeSummed(): readonly SummedCalls[] {
    const summed = this.#summed;
    if (summed.length === 0) return summed;
    this.#summed = [];
    this.#summedLast.clear();
    this.#summedBytes = 0;
    return summed;
  }

  #seal(batch: Batch): void {
    this.#capacity = Math.min(LARGEST_CAPACITY, Math.max(SMALLEST_CAPACITY, batch.length));
    this.sender.enqueue(batch);
  }

  #sealSums(mostBatches: number): void {
    if (this.#sums.length === 0) return;
    const toOpen = new Selection();
    for (const batch of this.#takeSums(mostBatches, toOpen)) this.sender.enqueue(batch);
    if (toOpen.rows.length > 0) this.#context.openIds(this, toOpen);
  }

  /** Makes batches of the first sums, and adds the counters that are to get an id. */
  #takeSums(mostBatches: number, toOpen: Selection): Batch[] {
    const { limits, applied } = this.#context;
    const mostBytes = limits.bytes - MOST_BESIDE_NAME - limits.name;
    const batches: Batch[] = [];
    let next = 0;
    while (next < this.#sums.length && batches.length < mostBatches) {
      const from = next;
      scratch.reset();
      next = this.#sums.write(scratch, from, limits.operations, mostBytes, toOpen);
      const batch = new Batch(kindOf(applied, false), scratch.length);
      batch.payload.bytes(scratch.view());
      batch.carry(this.#sums.counters(from, next));
      batches.push(batch);
    }
    this.#sums.removeFirst(next);
    return batches;
  }

  #list(table: CounterTable, row: number, delta: number | bigint): void {
    this.#sums.append(table, row, delta, this.#epoch);
    this.#schedule();
  }

  #schedule(): void {
    if (!this.isScheduled) this.#context.schedule(this);
  }
}
