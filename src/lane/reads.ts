import type { Clock, Timer } from '../clock.js';
import { codeOfStatus, OK, TallystickError } from '../errors.js';
import type { Partition } from '../partition/partition.js';
import { ByteReader } from '../protocol/bytes.js';
import type { FrameView } from '../protocol/frame.js';
import { Flag, Opcode } from '../protocol/opcode.js';
import { type Address, type Answers, addressOf, type Requester } from './answers.js';
import type { HistoryReads } from './history-reads.js';
import type { Unflushed } from './unflushed.js';
import type { WaitingReads } from './waiting-reads.js';

/** How long a read waits for the position that it asks for. */
const POSITION_MILLISECONDS = 5_000;

/** A GET, WINDOW, UNIQUES, HISTORY or EXPIRY that waits for a position. */
interface Waiter {
  readonly from: Requester;
  readonly address: Address;
  readonly sequence: number;
  readonly body: Uint8Array;
  readonly deadline: Timer;
  readonly ended: () => void;
}

export interface ReadsParts {
  readonly answers: Answers;
  readonly clock: Clock;
  readonly epoch: number;
  readonly history: HistoryReads;
  readonly unflushed: Unflushed;
  readonly waiting: WaitingReads;
}

/**
 * GET, WINDOW, UNIQUES, HISTORY, EXPIRY and LIST: read now, shown at once or when flushed; all but LIST also when the partition has come to a position. A GET
 * of counters that are flushed is shown at once, as of the position up to which the partition is.
 */
export class Reads {
  readonly #answers: Answers;
  readonly #clock: Clock;
  readonly #epoch: number;
  readonly #history: HistoryReads;
  readonly #unflushed: Unflushed;
  readonly #waiting: WaitingReads;
  readonly #waiters = new Map<number, Set<Waiter>>();

  constructor({ answers, clock, epoch, history, unflushed, waiting }: ReadsParts) {
    this.#answers = answers;
    this.#clock = clock;
    this.#epoch = epoch;
    this.#history = history;
    this.#unflushed = unflushed;
    this.#waiting = waiting;
  }

  /** @throws TallystickError BAD_REQUEST, OVERLOADED */
  get(from: Requester, frame: FrameView, partition: Partition): void {
    if ((frame.flags & Flag.AFTER) === 0) {
      this.#show(from, frame, partition, frame.body, 0);
      return;
    }
    const reader = new ByteReader(frame.body);
    const epoch = reader.u32();
    const sequence = reader.varint();
    const body = frame.body.subarray(reader.offset);
    if (epoch !== this.#epoch) this.#answers.refuse(from, frame, 'EPOCH_MISMATCH');
    else if (sequence <= partition.sequence) this.#show(from, frame, partition, body, sequence);
    else this.#await(from, addressOf(frame), sequence, body.slice());
  }

  /** @throws TallystickError BAD_REQUEST, OVERLOADED */
  list(from: Requester, frame: FrameView, partition: Partition): void {
    this.#check(frame, partition);
    this.#answer(from, frame, partition, shown(partition, partition.list(frame.body)));
  }

  /** To be called when a partition has moved on. */
  moved(number: number, partition: Partition): void {
    if (this.#waiters.size === 0) return;
    const waiters = this.#waiters.get(number);
    if (!waiters) return;
    for (const waiter of waiters) {
      if (waiter.sequence > partition.sequence) continue;
      waiters.delete(waiter);
      waiter.deadline.cancel();
      waiter.ended();
      this.#show(waiter.from, waiter.address, partition, waiter.body, waiter.sequence);
    }
  }

  /** Shows what is read now, also to one that has waited, as of no position before `after`: what refuses it is answered. */
  #show(from: Requester, frame: Address, partition: Partition, body: Uint8Array, after: number): void {
    try {
      this.#check(frame, partition);
      const answer = this.#read(frame, partition, body);
      if (this.#isFlushed(frame, partition, after)) this.#showFlushed(from, frame, answer);
      else this.#answer(from, frame, partition, answer);
    } catch (error) {
      if (!(error instanceof TallystickError)) throw error;
      this.#answers.refuse(from, frame, error);
    }
  }

  /** What a body reads, a view that is valid until the next one is read. @throws TallystickError what refuses it */
  #read({ opcode, partition: number }: Address, partition: Partition, body: Uint8Array): Uint8Array {
    if (opcode === Opcode.GET) return shown(partition, partition.read(body));
    if (opcode === Opcode.HISTORY) return this.#history.answer(number, partition, body);
    const now = this.#clock.wallMilliseconds();
    if (opcode === Opcode.WINDOW) return shown(partition, partition.window(body, now));
    if (opcode === Opcode.UNIQUES) return shown(partition, partition.uniques(body, now));
    return shown(partition, partition.expiries(body));
  }

  /** Whether there is room for an answer to wait for its flush, where it has to. @throws TallystickError OVERLOADED */
  #check({ flags, partition: number }: Address, { sequence }: Partition): void {
    if ((flags & Flag.LATEST) === 0 && !this.#answers.isFlushed(number, sequence)) this.#waiting.check();
  }

  /** Whether what was just read would wait, but was the same when the partition was as far as it is flushed. */
  #isFlushed({ opcode, flags, partition: number }: Address, partition: Partition, after: number): boolean {
    if (opcode !== Opcode.GET || (flags & Flag.LATEST) !== 0) return false;
    const flushed = this.#answers.flushedPosition(number);
    return after <= flushed && flushed < partition.sequence && this.#unflushed.isReadFlushed(partition);
  }

  #showFlushed(from: Requester, frame: Address, answer: Uint8Array): void {
    this.#answers.now(from, frame, { position: this.#answers.flushedPosition(frame.partition), answer, flags: 0 });
  }

  #answer(from: Requester, frame: Address, partition: Partition, answer: Uint8Array): void {
    const result = { position: partition.sequence, answer, flags: 0 };
    if (frame.flags & Flag.LATEST) this.#answers.now(from, frame, result);
    else this.#answers.whenFlushed(from, frame, result, 'refused', this.#waiting.begin(answer.length));
  }

  #await(from: Requester, address: Address, sequence: number, body: Uint8Array): void {
    this.#waiting.check();
    const waiters = this.#waiters.get(address.partition) ?? new Set();
    this.#waiters.set(address.partition, waiters);
    const deadline = this.#clock.setTimer(POSITION_MILLISECONDS, () => {
      waiters.delete(waiter);
      waiter.ended();
      this.#answers.refuse(from, address, 'POSITION_UNAVAILABLE');
    });
    const waiter = { from, address, sequence, body, deadline, ended: this.#waiting.begin(body.length) };
    waiters.add(waiter);
  }
}

/** What the kernel answers. @throws TallystickError what it refuses */
function shown(partition: Partition, status: number): Uint8Array {
  if (status !== OK) throw new TallystickError(codeOfStatus(status));
  return partition.answer;
}
