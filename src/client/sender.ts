/**
 * The exactly-once half of the client for one partition: numbers batches, keeps each until it can no longer be lost,
 * and sends them again in the order of their sequences, with the same bytes.
 *
 *   enqueue -> QUEUED -> transmit -> SENT -> answer -> DONE, or KEPT until it is flushed -> DONE
 *                 ^                    |                  |
 *                 +- connection lost --+                  |
 *                 +- refused, but may pass later ---------+
 *                 +- the server crashed and lost it ------+
 *
 * A refusal consumes no sequence, so nothing after a refused batch can pass: the sender stops, waits until all that is
 * on its way is answered, and starts again from the oldest unanswered batch. A batch that will never pass is
 * replaced by an empty one, because its sequence must be used.
 */

import type { Clock } from '../clock.js';
import { codeOfStatus, type ErrorCode, type Outcome, TallystickError } from '../errors.js';
import type { FrameView } from '../protocol/frame.js';
import { Flag, Opcode } from '../protocol/opcode.js';
import { decodeError, type ErrorAnswer, errorOf } from '../protocol/response.js';
import type { Backlog } from './backlog.js';
import { Backoff } from './backoff.js';
import { type Batch, BatchState } from './batch.js';
import type { FailureLog } from './failures.js';
import type { Telemetry } from './telemetry.js';

/** What the client counted since it connected. */
export interface Statistics {
  /** Batches whose answer was a kept first answer: they had been applied before, their answer was lost. */
  repeated: number;
  /** Batches sent again. */
  resent: number;
  /** Connections opened after the first one of each lane. */
  reconnections: number;
  /** Batches and operations that were answered. */
  batches: number;
  operations: number;
}

/** The way to the lane of the partition. */
export interface SenderPort {
  /** Whether a request may be sent now; if not, `pump` is called once it may. */
  hasRoom(sender: Sender): boolean;
  transmit(frame: Uint8Array, batch: Batch, sender: Sender): void;
  /** Drops the connection: what the server says makes no sense. */
  reset(error: TallystickError): void;
}

/** What all senders of a client share. */
export interface SenderContext {
  readonly clock: Clock;
  readonly random: () => number;
  readonly backlog: Backlog;
  readonly failures: FailureLog;
  readonly statistics: Statistics;
  readonly telemetry: Telemetry | undefined;
  /** Whether batches that are refused for now are sent again. */
  readonly resends: boolean;
  /** After each answer and each new connection. */
  progressed(sender: Sender): void;
  /** The producer can't go on: everything outstanding fails and the client closes. */
  fatal(error: TallystickError): void;
}

/** The largest distance, plus one, between a sequence and the oldest unanswered one. */
const MOST_UNANSWERED = 1024;
/** Refusals of a whole batch after which the same bytes may pass. */
const PASSES_LATER: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'FRAME_TIMEOUT',
  'WINDOW_EXCEEDED',
  'STORAGE_FULL',
  'STORAGE_FAILED',
  'OVERLOADED',
  'QUOTA_EXCEEDED',
  'SHUTTING_DOWN',
]);
/** Those of them that the server may say for long: who does not want to wait is told. */
const MAY_LAST: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['STORAGE_FULL', 'OVERLOADED', 'QUOTA_EXCEEDED']);
/** Finished batches at the front of the array before it is cut. */
const SLACK = 1024;

export class Sender {
  readonly partition: number;
  incarnation = 0;
  readonly #port: SenderPort;
  readonly #context: SenderContext;
  readonly #backoff: Backoff;
  // The batches with the sequences #next - (#batches.length - #front) to #next - 1 stand from #front on
  #batches: Batch[] = [];
  #front = 0;
  #next = 1;
  /** The sequence to send next, if its batch is QUEUED. */
  #cursor = 1;
  /** No batch before this sequence waits for an answer. */
  #oldest = 1;
  #unanswered = 0;
  #inFlight = 0;
  #window = MOST_UNANSWERED;
  /** Bytes of a batch's operations. */
  #mostBytes = 0;
  #isConnected = false;
  #isStopped = false;
  /** The last position of the partition that is known to be flushed, and the last one that an answer gave. */
  #flushed = 0;
  #position = 0;

  constructor(partition: number, port: SenderPort, context: SenderContext) {
    this.partition = partition;
    this.#port = port;
    this.#context = context;
    this.#backoff = new Backoff(context.clock, context.random);
  }

  /** Batches that wait for an answer, sent or not. */
  get unanswered(): number {
    return this.#unanswered;
  }

  /** Whether batches are kept only until they are known to be flushed, and no answer is to come that might say so. */
  get wantsSync(): boolean {
    return this.#unanswered === 0 && this.#first < this.#next;
  }

  /** The sequence of the last batch. */
  get last(): number {
    return this.#next - 1;
  }

  /** No batch up to this sequence can be lost or undone any more. */
  get durableThrough(): number {
    return this.#first - 1;
  }

  /** The position of the last change that an answer told of. */
  get position(): number {
    return this.#position;
  }

  get #first(): number {
    return this.#next - (this.#batches.length - this.#front);
  }

  enqueue(batch: Batch): void {
    batch.sequence = this.#next++;
    batch.state = BatchState.QUEUED;
    this.#batches.push(batch);
    this.#unanswered++;
    this.#context.backlog.change(batch.bytes);
    this.pump();
  }

  /** Sends what may be sent. */
  pump(): void {
    if (!this.#isConnected || this.#isStopped) return;
    for (; this.#cursor < this.#next; this.#cursor++) {
      const batch = this.#at(this.#cursor);
      if (batch.state !== BatchState.QUEUED) continue;
      const unanswered = batch.sequence - this.#oldestUnanswered();
      if (unanswered >= this.#window || !this.#port.hasRoom(this)) return;
      // its callers have left and it surely was not applied: let it stay so
      if (batch.isAbandoned && !batch.isUncertain) this.#resize(batch, () => batch.empty());
      if (batch.sendings++ > 0) {
        this.#context.statistics.resent++;
        this.#context.telemetry?.resent('batch');
      }
      batch.state = BatchState.SENT;
      this.#inFlight++;
      this.#port.transmit(batch.frame(this.partition, unanswered), batch, this);
    }
  }

  /** Takes an answer, ERROR too. Throws BAD_REQUEST for a body that does not follow protocol.md. */
  answered(batch: Batch, frame: FrameView): void {
    if (frame.opcode === Opcode.ERROR) {
      this.#refused(batch, decodeError(frame.body));
      return;
    }
    const { operations } = batch;
    const { failures, statistics } = this.#context;
    const { position, flushed } = batch.settle(frame.body, failures);
    statistics.batches++;
    statistics.operations += operations;
    if (frame.flags & Flag.REPEATED) statistics.repeated++;
    this.#completed(batch, position);
    // a durable answer is written after the flush of what it shows
    this.flushedThrough(batch.applied ? flushed : Math.max(flushed, position));
    this.#proceed();
  }

  /** The connection ended before the answer came. */
  lost(batch: Batch): void {
    batch.isUncertain = true;
    this.#requeue(batch);
  }

  /** The connection ended; all that was on its way is lost. */
  disconnected(): void {
    this.#isConnected = false;
    this.#isStopped = false;
    this.#backoff.cancel();
  }

  /**
   * A connection stands. `next` is the sequence that the server expects: what it answered from there on, it has lost.
   * In a new epoch of the data directory ids and positions have lost their meaning.
   */
  resumed(next: number, limits: { readonly window: number; readonly bytes: number }, isNewEpoch: boolean): void {
    if (next > this.#next || next < this.#first) {
      const detail = `Partition ${this.partition} expects sequence ${next}; ${this.#first} to ${this.#next} are known.`;
      this.#context.fatal(new TallystickError('PRODUCER_UNKNOWN', detail, { outcome: 'unknown' }));
      return;
    }
    this.#window = Math.min(limits.window, MOST_UNANSWERED);
    this.#mostBytes = limits.bytes;
    if (isNewEpoch) this.#enterEpoch();
    for (let sequence = next; sequence < this.#next; sequence++) {
      const batch = this.#at(sequence);
      if (batch.state !== BatchState.KEPT) continue;
      batch.state = BatchState.QUEUED;
      this.#unanswered++;
    }
    this.#oldest = this.#first;
    this.#trim();
    this.#isConnected = true;
    this.#restart();
    this.#context.progressed(this);
  }

  /** The partition is flushed up to this position. */
  flushedThrough(position: number): void {
    this.#flushed = Math.max(this.#flushed, position);
    this.#position = Math.max(this.#position, position);
    this.#trim();
    this.#context.progressed(this);
  }

  /** Fails every batch that is not known to be durable, and forgets all. */
  fail(error: TallystickError): void {
    this.disconnected();
    for (let sequence = this.#first; sequence < this.#next; sequence++) {
      const batch = this.#at(sequence);
      if (batch.state === BatchState.DONE) continue;
      const mayBeApplied = batch.isUncertain || batch.isPromised || batch.state === BatchState.SENT;
      batch.fail(withOutcome(error, mayBeApplied ? 'unknown' : 'refused'), this.#context.failures);
      this.#finish(batch);
    }
    this.#batches = [];
    this.#front = 0;
    this.#unanswered = 0;
    this.#inFlight = 0;
  }

  #refused(batch: Batch, answer: ErrorAnswer): void {
    const code = codeOfStatus(answer.status);
    this.#context.telemetry?.refused(code);
    if (code === 'PRODUCER_FENCED' || code === 'PRODUCER_UNKNOWN') this.#context.fatal(errorOf(answer));
    else if (answer.outcome === 'applied') this.#appliedBefore(batch, answer);
    else if (code === 'SEQUENCE_CONFLICT') this.#conflicted(batch, answer);
    else this.#stop(batch, code, errorOf(answer));
  }

  #appliedBefore(batch: Batch, answer: ErrorAnswer): void {
    batch.settleWithoutAnswer(errorOf(answer));
    this.#completed(batch, answer.position);
    this.flushedThrough(batch.applied ? 0 : answer.position);
    this.#proceed();
  }

  /** The sequence is taken: by the first form of a batch that was replaced since, or by a stranger. */
  #conflicted(batch: Batch, answer: ErrorAnswer): void {
    if (batch.isReplaced) batch.settleWithoutAnswer(errorOf(answer));
    else batch.fail(errorOf(answer), this.#context.failures);
    // A crash may take back what has the sequence: then it is used by an empty batch.
    this.#resize(batch, () => batch.empty());
    this.#completed(batch, answer.position, true);
    this.flushedThrough(0);
    this.#proceed();
  }

  /** Nothing behind this batch passes until it does. */
  #stop(batch: Batch, code: ErrorCode, error: TallystickError): void {
    const isOldest = batch.sequence === this.#oldestUnanswered();
    if (error.outcome === 'unknown') batch.isUncertain = true;
    this.#requeue(batch);
    this.#isStopped = true;
    if (code === 'SEQUENCE_GAP') {
      if (isOldest) this.#port.reset(error);
    } else if ((PASSES_LATER.has(code) && (this.#context.resends || !MAY_LAST.has(code))) || batch.isEmptied) {
      this.#backoff.wait(() => this.#restart());
    } else {
      this.#giveUp(batch, error);
      // What follows would meet the same
      if (MAY_LAST.has(code)) this.#backoff.wait(() => this.#restart());
    }
    this.#restart();
  }

  /**
   * It will never pass, or nobody waits until it does: its callers learn why, and its sequence is used by an empty batch. Sums by ids that the server
   * does not know are sent by name instead.
   */
  #giveUp(batch: Batch, error: TallystickError): void {
    const isRewritable = error.code === 'ID_UNKNOWN' && batch.hasSums && !batch.isReplaced;
    if (isRewritable && this.#rewrite(batch)) return;
    batch.fail(withOutcome(error, batch.isUncertain ? 'unknown' : error.outcome), this.#context.failures);
    this.#resize(batch, () => batch.empty());
  }

  /** Sends again from the oldest unanswered batch, once everything on its way is answered and the delay is over. */
  #restart(): void {
    if (!this.#isConnected || this.#inFlight > 0 || this.#backoff.isWaiting) return;
    this.#isStopped = false;
    this.#cursor = this.#oldestUnanswered();
    this.pump();
  }

  #proceed(): void {
    if (this.#isStopped) this.#restart();
    else this.pump();
  }

  /** `mayBeLost`: until the position is flushed, whatever acknowledgement was asked for. */
  #completed(batch: Batch, position: number, mayBeLost = batch.applied): void {
    this.#inFlight--;
    this.#unanswered--;
    this.#backoff.reset();
    batch.position = position;
    this.#position = Math.max(this.#position, position);
    if (mayBeLost) batch.state = BatchState.KEPT;
    else this.#finish(batch);
  }

  #requeue(batch: Batch): void {
    batch.state = BatchState.QUEUED;
    this.#inFlight--;
  }

  #finish(batch: Batch): void {
    const { bytes } = batch;
    batch.finish();
    this.#context.backlog.change(-bytes);
  }

  /** Changes a batch and counts its bytes anew. */
  #resize<T>(batch: Batch, change: () => T): T {
    const before = batch.bytes;
    const result = change();
    this.#context.backlog.change(batch.bytes - before);
    return result;
  }

  #enterEpoch(): void {
    this.#flushed = 0;
    this.#position = 0;
    for (let sequence = this.#first; sequence < this.#next; sequence++) {
      const batch = this.#at(sequence);
      if (batch.state === BatchState.DONE) continue;
      // what the new epoch knows of at all was flushed before it began
      batch.position = 0;
      if (!batch.hasSums || this.#rewrite(batch)) continue;
      batch.fail(new TallystickError('EPOCH_MISMATCH', undefined, { outcome: 'unknown' }), this.#context.failures);
      this.#resize(batch, () => batch.empty());
    }
  }

  #rewrite(batch: Batch): boolean {
    return this.#resize(batch, () => batch.rewriteByName(this.#mostBytes));
  }

  #trim(): void {
    for (; this.#front < this.#batches.length; this.#front++) {
      const batch = this.#batches[this.#front] as Batch;
      if (batch.state === BatchState.KEPT && batch.position <= this.#flushed) this.#finish(batch);
      if (batch.state !== BatchState.DONE) break;
    }
    if (this.#front > SLACK) {
      this.#batches.splice(0, this.#front);
      this.#front = 0;
    }
  }

  #oldestUnanswered(): number {
    this.#oldest = Math.max(this.#oldest, this.#first);
    while (this.#oldest < this.#next && this.#at(this.#oldest).state >= BatchState.KEPT) this.#oldest++;
    return this.#oldest;
  }

  #at(sequence: number): Batch {
    return this.#batches[this.#front + sequence - this.#first] as Batch;
  }
}

const withOutcome = (error: TallystickError, outcome: Outcome) =>
  new TallystickError(error.code, error.detail, { outcome, cause: error.cause });
