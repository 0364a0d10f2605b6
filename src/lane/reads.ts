import type { Clock, Timer } from '../clock.js';
import { codeOfStatus, OK } from '../errors.js';
import type { Partition } from '../partition/partition.js';
import { ByteReader } from '../protocol/bytes.js';
import type { FrameView } from '../protocol/frame.js';
import { Flag } from '../protocol/opcode.js';
import { type Address, type Answers, addressOf, type LaneConnection } from './answers.js';

/** How long a read waits for the position that it asks for. */
const POSITION_MILLISECONDS = 5_000;

/** A GET that waits for a position. */
interface Waiter {
  readonly connection: LaneConnection;
  readonly address: Address;
  readonly sequence: number;
  readonly keys: Uint8Array;
  readonly deadline: Timer;
}

/** GET and LIST: read now, shown at once or when flushed; GET also when the partition has come to a position. */
export class Reads {
  readonly #answers: Answers;
  readonly #clock: Clock;
  readonly #epoch: number;
  readonly #waiters = new Map<number, Set<Waiter>>();

  constructor(answers: Answers, clock: Clock, epoch: number) {
    this.#answers = answers;
    this.#clock = clock;
    this.#epoch = epoch;
  }

  /** @throws TallystickError BAD_REQUEST */
  get(connection: LaneConnection, frame: FrameView, partition: Partition): void {
    if ((frame.flags & Flag.AFTER) === 0) {
      this.#show(connection, frame, partition, frame.body);
      return;
    }
    const reader = new ByteReader(frame.body);
    const epoch = reader.u32();
    const sequence = reader.varint();
    const keys = frame.body.subarray(reader.offset);
    if (epoch !== this.#epoch) this.#answers.refuse(connection, frame, 'EPOCH_MISMATCH');
    else if (sequence <= partition.sequence) this.#show(connection, frame, partition, keys);
    else this.#await(connection, addressOf(frame), sequence, keys.slice());
  }

  /** @throws TallystickError BAD_REQUEST */
  list(connection: LaneConnection, frame: FrameView, partition: Partition): void {
    this.#answer(connection, frame, partition, partition.list(frame.body));
  }

  /** To be called when a partition has moved on. */
  moved(number: number, partition: Partition): void {
    const waiters = this.#waiters.get(number);
    if (!waiters) return;
    for (const waiter of waiters) {
      if (waiter.sequence > partition.sequence) continue;
      waiters.delete(waiter);
      waiter.deadline.cancel();
      this.#show(waiter.connection, waiter.address, partition, waiter.keys);
    }
  }

  #show(connection: LaneConnection, frame: Address, partition: Partition, keys: Uint8Array): void {
    this.#answer(connection, frame, partition, partition.read(keys));
  }

  #answer(connection: LaneConnection, frame: Address, partition: Partition, status: number): void {
    if (status !== OK) {
      this.#answers.refuse(connection, frame, codeOfStatus(status));
      return;
    }
    const result = { position: partition.sequence, answer: partition.answer, flags: 0 };
    if (frame.flags & Flag.LATEST) this.#answers.now(connection, frame, result);
    else this.#answers.whenFlushed(connection, frame, result, 'refused');
  }

  #await(connection: LaneConnection, address: Address, sequence: number, keys: Uint8Array): void {
    const waiters = this.#waiters.get(address.partition) ?? new Set();
    this.#waiters.set(address.partition, waiters);
    const deadline = this.#clock.setTimer(POSITION_MILLISECONDS, () => {
      waiters.delete(waiter);
      this.#answers.refuse(connection, address, 'POSITION_UNAVAILABLE');
    });
    const waiter = { connection, address, sequence, keys, deadline };
    waiters.add(waiter);
  }
}
