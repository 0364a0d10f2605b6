import type { TallystickError } from '../errors.js';
import { encodeFrame } from '../protocol/frame.js';

/** What a lane sends until it is answered. */
export interface Submission {
  /** The frame, made anew for each time that it is sent where it depends on what was answered. */
  readonly frame: Uint8Array;
  /** Whether somebody still waits. */
  readonly isWanted: boolean;
  /** Takes the body of an answer. Throws BAD_REQUEST for one that does not follow protocol.md. */
  onAnswer(body: Uint8Array): void;
  onError(error: TallystickError): void;
  /** Its connection is gone, or it was refused for now: it will be sent again, where it is wanted by then. */
  onLost?(): void;
}

/** A request without a sequence. It changes nothing that matters if it is repeated, so it is sent until it is answered. */
export class Request implements Submission {
  readonly #frame: Uint8Array;
  readonly #isWanted: () => boolean;
  /** Takes the body of the answer. Throws BAD_REQUEST for one that does not follow protocol.md. */
  readonly onAnswer: (body: Uint8Array) => void;
  readonly onError: (error: TallystickError) => void;

  constructor(
    header: { readonly opcode: number; readonly flags: number; readonly partition: number },
    body: Uint8Array,
    handlers: {
      onAnswer(body: Uint8Array): void;
      onError(error: TallystickError): void;
      /** Whether somebody still waits. */
      isWanted(): boolean;
    },
  ) {
    this.#frame = encodeFrame(header.opcode, header.flags, header.partition, 0, body);
    this.onAnswer = handlers.onAnswer;
    this.onError = handlers.onError;
    this.#isWanted = handlers.isWanted;
  }

  get frame(): Uint8Array {
    return this.#frame;
  }

  get isWanted(): boolean {
    return this.#isWanted();
  }
}
