import type { ErrorCode, TallystickError } from '../errors.js';
import type { FlushWaiter, GroupCommit } from '../log/group-commit.js';
import { ByteWriter } from '../protocol/bytes.js';
import type { FrameView } from '../protocol/frame.js';
import { ANSWER, Opcode } from '../protocol/opcode.js';
import { decodeError, errorOf } from '../protocol/response.js';
import type { Subscriber } from '../pubsub/subscriber.js';
import type { Connection, RefusalDetails } from '../transport/connection.js';
import type { ProducerHandle, Session } from './greeting.js';

/** Who a request is from, and where its answer goes: a client of this lane, or one of another lane that forwards it. */
export interface Requester extends Subscriber {
  readonly session: {
    /** What the client calls itself. */
    readonly client: string;
    /** What it writes as in a partition. */
    handle(partition: number): ProducerHandle;
  };
  /** Where it connected from, for people. */
  readonly remote: string;
  /** Ends a request with its answer, unless MORE are to follow; the body is copied. */
  answer(opcode: number, flags: number, partition: number, requestId: number, body: Uint8Array): void;
  /** Ends a request with an ERROR. */
  refuse(requestId: number, partition: number, error: TallystickError | ErrorCode, details?: RefusalDetails): void;
}

/** A client of this lane. */
export type LaneConnection = Connection<Session>;

/** Where an answer goes: what is left of a request when its body is gone. */
export type Address = Pick<FrameView, 'opcode' | 'flags' | 'partition' | 'requestId'>;

/** What the kernel has to say about a request, and as of which position of the partition. */
export interface Result {
  readonly position: number;
  /** A view of kernel memory: valid until the kernel is called again. */
  readonly answer: Uint8Array;
  /** Flags of the answer. */
  readonly flags: number;
}

/** How a lane answers: at once, or when what the answer shows is flushed. */
export class Answers {
  readonly #commit: GroupCommit;
  readonly #isPoisoned: () => boolean;
  readonly #writer = new ByteWriter(4096);

  constructor(commit: GroupCommit, isPoisoned: () => boolean) {
    this.#commit = commit;
    this.#isPoisoned = isPoisoned;
  }

  /** The one place that answers. After a failure of storage, of any lane, nothing is acknowledged any more. */
  send(to: Requester, address: Address, flags: number, body: Uint8Array): void {
    if (this.#isPoisoned()) this.refuse(to, address, 'STORAGE_FAILED');
    else to.answer(address.opcode, flags, address.partition, address.requestId, body);
  }

  refuse(
    to: Requester,
    { requestId, partition }: Address,
    reason: ErrorCode | TallystickError,
    details?: RefusalDetails,
  ): void {
    to.refuse(requestId, partition, reason, details);
  }

  /** Passes on what another lane answered, where it is not too late for an acknowledgement by now. */
  relay(to: Requester, answer: FrameView): void {
    if (answer.opcode !== Opcode.ERROR) {
      this.send(to, { ...addressOf(answer), opcode: answer.opcode & ~ANSWER }, answer.flags, answer.body);
      return;
    }
    const error = decodeError(answer.body);
    if (error.outcome === 'applied' && this.#isPoisoned()) this.refuse(to, answer, 'STORAGE_FAILED');
    else this.refuse(to, answer, errorOf(error), { position: error.position });
  }

  /** An answer about a partition begins with its position, and with how far the partition is flushed. */
  now(to: Requester, address: Address, { position, answer, flags }: Result): void {
    const writer = this.#writer;
    writer.reset();
    writer.varint(position);
    writer.varint(this.#commit.flushedSequence(address.partition));
    writer.bytes(answer);
    this.send(to, address, flags, writer.view());
  }

  /**
   * Answers when the position is flushed. Where nobody can say when that will be, `outcome` is what became of the request: a
   * read is refused, a write has an unknown end. `ended` is told then, and whether it was shown.
   */
  whenFlushed(
    to: Requester,
    frame: Address,
    result: Result,
    outcome: 'refused' | 'unknown',
    ended?: (isShown: boolean) => void,
  ): void {
    const waiting = new WaitingAnswer(this, to, frame, result, outcome, ended);
    // What is flushed is told at once, while the answer is valid
    if (!this.isFlushed(frame.partition, result.position)) waiting.keep();
    this.#commit.waitFlushed(frame.partition, result.position, waiting);
  }

  /** Calls back when everything that was applied on this lane is flushed; else refuses. `ended` is told either way. */
  whenAllFlushed(to: Requester, frame: Address, flushed: (address: Address) => void, ended?: () => void): void {
    const address = addressOf(frame);
    this.#commit.waitAll({
      flushed: () => {
        flushed(address);
        ended?.();
      },
      unknown: (error) => {
        this.refuse(to, address, error);
        ended?.();
      },
    });
  }

  /** How far the partition is flushed. */
  flushedPosition(partition: number): number {
    return this.#commit.flushedSequence(partition);
  }

  /** Whether what the partition has come to is flushed, so that nobody waits for it. */
  isFlushed(partition: number, position: number): boolean {
    return this.#commit.flushedSequence(partition) >= position;
  }

  /** ALREADY_APPLIED is an acknowledgement too, so it waits like one. */
  alreadyApplied(to: Requester, frame: Address, position: number, waitFor: number): void {
    const address = addressOf(frame);
    this.#commit.waitFlushed(address.partition, waitFor, {
      flushed: () => {
        const poisoned = this.#isPoisoned();
        this.refuse(to, address, poisoned ? 'STORAGE_FAILED' : 'ALREADY_APPLIED', poisoned ? {} : { position });
      },
      unknown: (error) => this.refuse(to, address, error),
    });
  }
}

/** An answer that waits for its flush: one object, as there is one for each durable write. */
class WaitingAnswer implements FlushWaiter, Address, Result {
  readonly #answers: Answers;
  readonly #to: Requester;
  readonly #outcome: 'refused' | 'unknown';
  readonly #ended: ((isShown: boolean) => void) | undefined;
  readonly opcode: number;
  readonly partition: number;
  readonly requestId: number;
  readonly position: number;
  readonly flags: number;
  answer: Uint8Array;

  constructor(
    answers: Answers,
    to: Requester,
    { opcode, partition, requestId }: Address,
    { position, answer, flags }: Result,
    outcome: 'refused' | 'unknown',
    ended: ((isShown: boolean) => void) | undefined,
  ) {
    this.#answers = answers;
    this.#to = to;
    this.#outcome = outcome;
    this.#ended = ended;
    this.opcode = opcode;
    this.partition = partition;
    this.requestId = requestId;
    this.position = position;
    this.flags = flags;
    this.answer = answer;
  }

  /** Takes a copy of the answer, which is valid until the kernel is called again. */
  keep(): void {
    this.answer = this.answer.slice();
  }

  flushed(): void {
    this.#answers.now(this.#to, this, this);
    this.#ended?.(true);
  }

  unknown(error: TallystickError): void {
    this.#answers.refuse(this.#to, this, error, { outcome: this.#outcome });
    this.#ended?.(false);
  }
}

/** A frame is valid during its call only. */
export function addressOf({ opcode, flags, partition, requestId }: Address): Address {
  return { opcode, flags, partition, requestId };
}
