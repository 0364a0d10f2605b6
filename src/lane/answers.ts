import { type ErrorCode, TallystickError } from '../errors.js';
import type { GroupCommit } from '../log/group-commit.js';
import { ByteWriter } from '../protocol/bytes.js';
import type { FrameView } from '../protocol/frame.js';
import type { Connection, RefusalDetails } from '../transport/connection.js';
import type { Session } from './greeting.js';

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
  send(connection: LaneConnection, address: Address, flags: number, body: Uint8Array): void {
    if (this.#isPoisoned()) this.refuse(connection, address, 'STORAGE_FAILED');
    else connection.answer(address.opcode, flags, address.partition, address.requestId, body);
  }

  refuse(
    connection: LaneConnection,
    { requestId, partition }: Address,
    reason: ErrorCode | TallystickError,
    details?: RefusalDetails,
  ): void {
    connection.refuse(requestId, partition, reason, details);
  }

  /** An answer about a partition begins with its position, and with how far the partition is flushed. */
  now(connection: LaneConnection, address: Address, { position, answer, flags }: Result): void {
    const writer = this.#writer;
    writer.reset();
    writer.varint(position);
    writer.varint(this.#commit.flushedSequence(address.partition));
    writer.bytes(answer);
    this.send(connection, address, flags, writer.view());
  }

  /**
   * Answers when the position is flushed. Where nobody can say when that will be, `outcome` is what became of the request: a
   * read is refused, a write has an unknown end.
   */
  whenFlushed(connection: LaneConnection, frame: Address, result: Result, outcome: 'refused' | 'unknown'): void {
    const address = addressOf(frame);
    const kept = { ...result, answer: result.answer.slice() };
    this.#commit.waitFlushed(address.partition, result.position, {
      flushed: () => this.now(connection, address, kept),
      unknown: (error) => this.refuse(connection, address, error, { outcome }),
    });
  }

  /** Calls back when everything that was applied on this lane is flushed. */
  whenAllFlushed(connection: LaneConnection, frame: Address, flushed: (address: Address) => void): void {
    const address = addressOf(frame);
    this.#commit.waitAll({
      flushed: () => flushed(address),
      unknown: (error) => this.refuse(connection, address, error),
    });
  }

  /** ALREADY_APPLIED is an acknowledgement too, so it waits like one. */
  alreadyApplied(connection: LaneConnection, frame: Address, position: number, waitFor: number): void {
    const address = addressOf(frame);
    this.#commit.waitFlushed(address.partition, waitFor, {
      flushed: () => {
        const poisoned = this.#isPoisoned();
        this.refuse(connection, address, poisoned ? 'STORAGE_FAILED' : 'ALREADY_APPLIED', poisoned ? {} : { position });
      },
      unknown: (error) => this.refuse(connection, address, error),
    });
  }
}

/** A frame is valid during its call only. */
export function addressOf({ opcode, flags, partition, requestId }: Address): Address {
  return { opcode, flags, partition, requestId };
}
