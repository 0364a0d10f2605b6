import { type ErrorCode, type Outcome, TallystickError } from '../errors.js';

/** An increment that failed after nobody waited for it any more. */
export interface FailedIncrement {
  readonly name: string;
  readonly delta: bigint;
  readonly code: ErrorCode;
  readonly outcome: Outcome;
}

/** Some increments before a flush failed: those of `add`, and those acknowledged as applied that a crash undid. */
export class FlushError extends TallystickError {
  override readonly name = 'FlushError';
  readonly failed: readonly FailedIncrement[];
  /** How many more failed than `failed` holds. */
  readonly omitted: number;

  constructor(failed: readonly FailedIncrement[], omitted: number, cause?: TallystickError) {
    const first = failed[0];
    const detail = `${failed.length + omitted} failed; the first: "${first?.name}" by ${first?.delta}, ${first?.code}.`;
    super('FLUSH_FAILED', detail, { cause });
    this.failed = failed;
    this.omitted = omitted;
  }
}

const MOST_KEPT = 10_000;

/** Keeps failures until a flush reports them, each once. */
export class FailureLog {
  #failed: FailedIncrement[] = [];
  #omitted = 0;

  record(name: string, delta: bigint, code: ErrorCode, outcome: Outcome): void {
    if (this.#failed.length < MOST_KEPT) this.#failed.push({ name, delta, code, outcome });
    else this.#omitted++;
  }

  /** The error that reports what was recorded since the last call; undefined where nothing was. */
  take(cause?: TallystickError): FlushError | undefined {
    if (this.#failed.length === 0) return undefined;
    const error = new FlushError(this.#failed, this.#omitted, cause);
    this.#failed = [];
    this.#omitted = 0;
    return error;
  }
}
