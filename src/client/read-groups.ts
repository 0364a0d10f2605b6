import { ABSENT, codeOfStatus, OK, TallystickError } from '../errors.js';
import { ByteWriter } from '../protocol/bytes.js';
import { finishFrame, writeHeader } from '../protocol/frame.js';
import { Flag, Opcode } from '../protocol/opcode.js';
import { writeAfter, writeNameBytesKey } from '../protocol/request.js';
import { decodeGetAnswer, type ReadValue } from '../protocol/response.js';
import type { BatchLimits } from './batcher.js';
import { Position } from './position.js';
import type { Submission } from './request.js';
import type { Session } from './session.js';

/** Reads from the call to the answer: collected by partition, of which each sends one request. */

/** More than the head of a key and the count of keys have. */
const MOST_BESIDE_NAME = 16;
/** Of keys: for more the memory is given back. */
const MOST_KEPT_BYTES = 8_192;
/** Where frames are made: each is copied from here in its length. */
const frameWriter = new ByteWriter();

/** What an answer says beside the values. */
export interface Shown {
  readonly durable: boolean;
  readonly position: Position;
}

/** Who reads one or more counters. */
export interface ReadCall {
  readonly isSettled: boolean;
  /** Of the caller's names. */
  nameOf(index: number): string;
  found(index: number, value: bigint, exists: boolean, shown: Shown): void;
  reject(error: TallystickError): void;
}

/** Keys of one partition that are to be read with one request. */
export class Group {
  readonly partition: number;
  readonly flags: number;
  #keys = new ByteWriter();
  #calls: ReadCall[] = [];
  #indexes: number[] = [];

  constructor(partition: number, flags: number) {
    this.partition = partition;
    this.flags = flags;
  }

  get length(): number {
    return this.#calls.length;
  }

  hasRoom(bytes: number, limits: BatchLimits): boolean {
    return this.length < limits.operations && this.#keys.length + bytes + MOST_BESIDE_NAME <= limits.bytes;
  }

  /** Takes the key in `name`, which is the caller's name `index`. */
  add(call: ReadCall, index: number, name: ByteWriter): void {
    writeNameBytesKey(this.#keys, name.buffer, 0, name.length);
    if (this.#calls.length === 0) {
      // In a turn of few calls a group has one, and an empty array makes room for 17 with the first
      this.#calls = [call];
      this.#indexes = [index];
    } else {
      this.#calls.push(call);
      this.#indexes.push(index);
    }
  }

  /** The request, with all that it holds; it takes the next ones. */
  take(session: Session, after: Position | undefined): ReadRequest {
    const { partition, flags } = this;
    const sequence = after?.sequenceOf(partition);
    frameWriter.reset();
    writeHeader(frameWriter, Opcode.GET, flags | (sequence === undefined ? 0 : Flag.AFTER), partition, 0);
    if (after && sequence !== undefined) writeAfter(frameWriter, after.epoch, sequence);
    frameWriter.varint(this.length);
    frameWriter.bytes(this.#keys.buffer, 0, this.#keys.length);
    finishFrame(frameWriter, 0);
    const request = new ReadRequest(frameWriter.copy(), this, session, this.#calls, this.#indexes);
    if (this.#keys.buffer.length > MOST_KEPT_BYTES) this.#keys = new ByteWriter();
    this.#keys.reset();
    this.#calls = [];
    this.#indexes = [];
    return request;
  }
}

/** Groups by partition, those of `latest` apart. They stay, emptied, so that a turn finds them again. */
export class Groups {
  readonly #all: (Group | undefined)[] = [];
  /** Those that hold something. */
  filled: Group[] = [];

  of(partition: number, isLatest: boolean): Group {
    const at = partition * 2 + (isLatest ? 1 : 0);
    this.#all[at] ??= new Group(partition, isLatest ? Flag.LATEST : 0);
    return this.#all[at];
  }

  takeFilled(): readonly Group[] {
    const { filled } = this;
    this.filled = [];
    return filled;
  }
}

/** Readings of one partition on their way. */
class ReadRequest implements Submission, Shown {
  readonly frame: Uint8Array;
  readonly #group: Group;
  readonly #session: Session;
  readonly #calls: readonly ReadCall[];
  readonly #indexes: readonly number[];
  #sequence = 0;
  #position: Position | undefined;
  durable = false;

  constructor(
    frame: Uint8Array,
    group: Group,
    session: Session,
    calls: readonly ReadCall[],
    indexes: readonly number[],
  ) {
    this.frame = frame;
    this.#group = group;
    this.#session = session;
    this.#calls = calls;
    this.#indexes = indexes;
  }

  get isWanted(): boolean {
    return this.#calls.some((call) => !call.isSettled);
  }

  /** Made for those who ask. */
  get position(): Position {
    this.#position ??= new Position(
      this.#session.epoch,
      new Map<number, number>().set(this.#group.partition, this.#sequence),
    );
    return this.#position;
  }

  onAnswer(body: Uint8Array): void {
    const { position, flushed, values } = decodeGetAnswer(body);
    const calls = this.#calls;
    if (values.length !== calls.length) throw new TallystickError('BAD_REQUEST', `${values.length} values.`);
    this.#sequence = position;
    this.durable = (this.#group.flags & Flag.LATEST) === 0 || position <= flushed;
    for (let i = 0; i < calls.length; i++) {
      const call = calls[i] as ReadCall;
      const index = this.#indexes[i] as number;
      const { status, value = 0n } = values[i] as ReadValue;
      if (status === OK || status === ABSENT) call.found(index, value, status === OK, this);
      else call.reject(new TallystickError(codeOfStatus(status), `Reading "${call.nameOf(index)}".`));
    }
  }

  onError(error: TallystickError): void {
    for (const call of this.#calls) call.reject(error);
  }
}
