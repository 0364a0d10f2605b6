import { ABSENT, codeOfStatus, OK, TallystickError } from '../errors.js';
import { ByteWriter } from '../protocol/bytes.js';
import { decodeExpireAnswer } from '../protocol/expiry.js';
import { finishFrame, writeHeader } from '../protocol/frame.js';
import { decodeOnce, decodeOnceAnswer, writeCounting } from '../protocol/once.js';
import { Flag, Opcode } from '../protocol/opcode.js';
import {
  decodeAdd,
  type Extension,
  type Operation,
  writeExtendedDelta,
  writeNameBytesKey,
  writeOperationByName,
  writeSequence,
} from '../protocol/request.js';
import { type AddAnswer, decodeAddAnswer, decodeSetAnswer } from '../protocol/response.js';
import { bitsOfSeen, decodeMergeAnswer, decodeSee, decodeSeeAnswer, writeItem } from '../protocol/uniques.js';
import type { Waiter } from './call.js';
import type { CounterList } from './counters.js';
import type { FailureLog } from './failures.js';

/**
 * Where a batch stands. QUEUED waits to be sent (again), SENT waits for its answer, KEPT is answered but may be undone
 * by a crash of the server, DONE is over.
 */
export const BatchState = { OPEN: 0, QUEUED: 1, SENT: 2, KEPT: 3, DONE: 4 } as const;
export type BatchState = (typeof BatchState)[keyof typeof BatchState];

/** What a batch is from its first operation on. */
export interface BatchKind {
  readonly opcode:
    | typeof Opcode.ADD
    | typeof Opcode.SEE
    | typeof Opcode.ONCE
    | typeof Opcode.MERGE
    | typeof Opcode.SET
    | typeof Opcode.DELETE
    | typeof Opcode.EXPIRE;
  /** ATOMIC, VALUES. */
  readonly flags: number;
  /** Whether it is answered when applied and not when flushed. */
  readonly applied: boolean;
  readonly cursor?: Uint8Array;
}

/** Batches whose bodies begin with how many operations they have. */
const HAS_COUNT: ReadonlySet<number> = new Set([Opcode.ADD, Opcode.SEE, Opcode.ONCE]);

/** The answer to one of them; `counted` is of a ONCE. */
type BatchAnswer = AddAnswer & { readonly counted?: readonly boolean[] };

const NONE: CounterList = { tables: [], rows: [] };

/**
 * Bytes before the operations, written backwards from them at each sending:
 *
 *   … unused | header 12 | sequence <= 8 | unanswered <= 2 | cursor 1 + <= 64 | count <= 3 || operations …
 */
export const BYTES_BESIDE_OPERATIONS = 96;
const ROOM = BYTES_BESIDE_OPERATIONS;
const EMPTY_ROOM = new Uint8Array(ROOM);
const head = new ByteWriter(ROOM);

/**
 * One sequenced request to one partition, and who waits for what of it: either a waiter for each operation, or nobody
 * because all of them are sums of counters.
 */
export class Batch {
  state: BatchState = BatchState.OPEN;
  sequence = 0;
  /** The position that its answer gave. */
  position = 0;
  /** Whether a sending of it ended without an answer, so that it may have been applied. */
  isUncertain = false;
  /** Whether callers were told that it is applied; it must then never be given up. */
  isPromised = false;
  /** Whether it was emptied, or rewritten by names, after a sending that may have been applied. */
  isReplaced = false;

  /** How often it was sent. */
  sendings = 0;

  readonly applied: boolean;
  operations = 0;
  #kind: BatchKind;
  #payload: ByteWriter | undefined;
  #waiters: Waiter[] = [];
  #indexes: number[] = [];
  #counters: CounterList | undefined;

  /** `capacity`: how many bytes its operations will probably have. */
  constructor(kind: BatchKind, capacity: number) {
    this.applied = kind.applied;
    this.#kind = kind;
    this.#payload = new ByteWriter(ROOM + capacity);
    this.#payload.bytes(EMPTY_ROOM);
  }

  /** Writes an operation, its name in `source` up to `end`; `waitFor` follows. */
  write(source: Uint8Array, end: number, delta: number | bigint, extension: Extension | undefined): void {
    const { payload } = this;
    writeNameBytesKey(payload, source, 0, end, extension !== undefined);
    if (extension) writeExtendedDelta(payload, delta, extension);
    else payload.zigzag(delta);
  }

  /** Writes the sighting of an item under a name; `waitFor` follows. */
  writeItem(source: Uint8Array, end: number, item: Uint8Array): void {
    writeNameBytesKey(this.payload, source, 0, end);
    writeItem(this.payload, item);
  }

  /** Writes an increment that counts once for its item; `waitFor` follows. */
  writeOnce(source: Uint8Array, end: number, item: Uint8Array, delta: number | bigint, within: number): void {
    const isExtended = within !== 0 || (delta !== 1 && delta !== 1n);
    writeNameBytesKey(this.payload, source, 0, end, isExtended);
    writeItem(this.payload, item);
    if (isExtended) writeCounting(this.payload, delta, within);
  }

  /** Where a SET or DELETE is written, or sums, which `carry` follows. */
  get payload(): ByteWriter {
    return this.#payload as ByteWriter;
  }

  get kind(): BatchKind {
    return this.#kind;
  }

  /** Bytes of the operations. */
  get length(): number {
    return this.#payload ? this.#payload.length - ROOM : 0;
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#payload?.buffer.length ?? 0;
  }

  /** The operation written last, or the SET or DELETE, is this waiter's operation `index`. */
  waitFor(waiter: Waiter, index: number): void {
    this.#waiters.push(waiter);
    this.#indexes.push(index);
    this.operations++;
  }

  /** The waiter waits for the batch as a whole, which has no operation. */
  waitForCursor(waiter: Waiter): void {
    this.#waiters.push(waiter);
    this.#indexes.push(0);
  }

  /** All operations are sums of these counters, in this order. */
  carry(counters: CounterList): void {
    this.#counters = counters;
    this.operations = counters.rows.length;
  }

  /** Whether nobody waits for it any more and nobody was told that it is applied. */
  get isAbandoned(): boolean {
    if (this.isPromised || this.#counters || this.#waiters.length === 0) return false;
    return this.#waiters.every((waiter) => waiter.isSettled);
  }

  /** Whether it only takes its sequence. */
  get isEmptied(): boolean {
    return this.isReplaced && this.operations === 0;
  }

  /** The frame, to be sent with a request id patched in. */
  frame(partition: number, unanswered: number): Uint8Array {
    const payload = this.payload;
    head.reset();
    const { opcode, flags, cursor } = this.#kind;
    writeHeader(head, opcode, flags | Flag.SEQUENCED | (this.applied ? Flag.APPLIED : 0), partition, 0);
    writeSequence(head, this.sequence, unanswered, cursor);
    if (HAS_COUNT.has(opcode)) head.varint(this.operations);
    const start = ROOM - head.length;
    payload.buffer.set(head.view(), start);
    finishFrame(payload, start);
    return payload.buffer.subarray(start, payload.length);
  }

  /** Takes the answer and tells the callers. Throws BAD_REQUEST for a body that does not follow protocol.md. */
  settle(body: Uint8Array, failures: FailureLog): { readonly position: number; readonly flushed: number } {
    const { opcode, flags } = this.#kind;
    if (opcode === Opcode.SET || opcode === Opcode.DELETE) return this.#settleChange(body);
    if (opcode === Opcode.MERGE) return this.#settleMerge(body);
    if (opcode === Opcode.EXPIRE) return this.#settleExpire(body);
    const decode = opcode === Opcode.ADD ? decodeAddAnswer : opcode === Opcode.SEE ? decodeOutcomes : decodeOnceAnswer;
    const answer: BatchAnswer = decode(body, this.operations, (flags & Flag.VALUES) !== 0);
    const operations = this.#isReported && answer.refused.length > 0 ? this.#decode() : undefined;
    for (const { index, status } of answer.refused) {
      const error = new TallystickError(codeOfStatus(status), undefined, { outcome: 'refused' });
      const operation = operations?.[index];
      if (operation) this.#report(operation, index, error, failures);
      else this.#waiters[index]?.fail(this.#indexes[index] as number, error);
    }
    // a refused operation's waiter is settled by now
    for (let i = 0; i < this.#waiters.length; i++) {
      this.#waiters[i]?.succeed(this.#indexes[i] as number, answer.values[i] ?? 0n, answer.counted?.[i] ?? true);
    }
    this.#promise();
    return answer;
  }

  /** The batch was applied before, its answer is lost: an error to who waits, a success to sums. */
  settleWithoutAnswer(error: TallystickError): void {
    for (let i = 0; i < this.#waiters.length; i++) this.#waiters[i]?.fail(this.#indexes[i] as number, error);
    this.#promise();
  }

  /** Fails all of it: tells who waits, and the failure log where nobody does. */
  fail(error: TallystickError, failures: FailureLog): void {
    if (this.#isReported) {
      this.#decode().forEach((operation, i) => {
        failures.record(this.#nameOf(operation, i), operation.delta, error.code, error.outcome);
      });
    } else {
      for (let i = 0; i < this.#waiters.length; i++) this.#waiters[i]?.fail(this.#indexes[i] as number, error);
    }
  }

  /** Makes it a batch that does nothing but take its sequence. */
  empty(): void {
    this.#kind = { opcode: Opcode.ADD, flags: 0, applied: this.applied };
    this.operations = 0;
    this.#payload = new ByteWriter(ROOM);
    this.#payload.bytes(EMPTY_ROOM);
    this.#waiters = [];
    this.#indexes = [];
    this.#counters = undefined;
    this.isReplaced = true;
  }

  /** Whether its operations are sums, which may be by ids. */
  get hasSums(): boolean {
    return this.#counters !== undefined;
  }

  /**
   * Writes the operations by name, for a server to which their ids mean nothing or other counters; the counters forget
   * their ids. False where that takes more than `limit` bytes. If the first form was applied, the server will find
   * that this one is in conflict with it, so that it counts once in any case.
   */
  rewriteByName(limit: number): boolean {
    const { tables, rows } = this.#counters ?? NONE;
    for (let i = 0; i < tables.length; i++) tables[i]?.forgetId(rows[i] as number);
    const payload = new ByteWriter(ROOM + this.length * 4);
    payload.bytes(EMPTY_ROOM);
    this.#decode().forEach((operation, i) => {
      writeOperationByName(payload, this.#nameOf(operation, i), operation.delta);
    });
    if (payload.length - ROOM > limit) return false;
    this.#payload = payload;
    this.isReplaced = true;
    return true;
  }

  /** Ends it and gives its memory back. */
  finish(): void {
    this.state = BatchState.DONE;
    this.#payload = undefined;
    this.#waiters = [];
    this.#counters = undefined;
  }

  #settleChange(body: Uint8Array): { readonly position: number; readonly flushed: number } {
    const answer = decodeSetAnswer(body);
    const { status, previous } = answer;
    if (status === OK || status === ABSENT) this.#waiters[0]?.succeed(0, previous, status === OK);
    else this.#waiters[0]?.fail(0, new TallystickError(codeOfStatus(status), `It is ${previous}.`));
    this.#promise();
    return answer;
  }

  /** Who waits for a MERGE gets the number as the value, and whether it is exact. */
  #settleMerge(body: Uint8Array): { readonly position: number; readonly flushed: number } {
    const answer = decodeMergeAnswer(body);
    const { status, count, exact } = answer;
    if (status === OK) this.#waiters[0]?.succeed(0, BigInt(count), exact);
    else this.#waiters[0]?.fail(0, new TallystickError(codeOfStatus(status), undefined, { outcome: 'refused' }));
    this.#promise();
    return answer;
  }

  /** Who waits for an EXPIRE gets the time as the value, and whether there was a counter. */
  #settleExpire(body: Uint8Array): { readonly position: number; readonly flushed: number } {
    const answer = decodeExpireAnswer(body);
    const { status, expires } = answer;
    if (status === OK || status === ABSENT) this.#waiters[0]?.succeed(0, BigInt(expires), status === OK);
    else this.#waiters[0]?.fail(0, new TallystickError(codeOfStatus(status), undefined, { outcome: 'refused' }));
    this.#promise();
    return answer;
  }

  #promise(): void {
    this.isPromised = true;
    this.#waiters = [];
    this.#indexes = [];
  }

  /** Whether failures go to the log: no caller waits, or callers were answered already. */
  get #isReported(): boolean {
    return this.isPromised || this.#counters !== undefined;
  }

  #report(operation: Operation, index: number, error: TallystickError, failures: FailureLog): void {
    const { tables, rows } = this.#counters ?? NONE;
    const table = tables[index];
    if (table && error.code === 'ID_UNKNOWN') table.giveBack(rows[index] as number, operation.delta);
    else failures.record(this.#nameOf(operation, index), operation.delta, error.code, error.outcome);
  }

  #nameOf({ key }: Operation, index: number): string {
    if ('name' in key) return key.name;
    const { tables, rows } = this.#counters ?? NONE;
    return tables[index]?.names[rows[index] as number] ?? '';
  }

  #decode(): Operation[] {
    const body = new ByteWriter(this.length + 8);
    body.varint(this.operations);
    body.bytes(this.payload.buffer, ROOM, this.payload.length);
    if (this.#kind.opcode === Opcode.ADD) return decodeAdd(body.view(), 0).operations as Operation[];
    if (this.#kind.opcode === Opcode.ONCE) {
      return decodeOnce(body.view(), 0).operations.map(({ key, delta = 1n }) => ({ key, delta }));
    }
    return decodeSee(body.view(), 0).sightings.map(({ key }) => ({ key, delta: 0n }));
  }
}

/** The answer to a SEE as if its outcomes were values. */
function decodeOutcomes(body: Uint8Array, items: number, values: boolean): AddAnswer {
  const { seen, ...answer } = decodeSeeAnswer(body, items, values);
  return { ...answer, values: seen.map((outcome) => BigInt(bitsOfSeen(outcome))) };
}
