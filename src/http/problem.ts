import { ERRORS, type ErrorCode, TallystickError } from '../errors.js';
import type { Reply } from './reply.js';

/** Errors as HTTP tells them: RFC 9457, with what every error of ours says. */

export const PROBLEM_TYPE = 'application/problem+json';

/** The status of each code that a client of HTTP can meet; any other is a defect, 500. */
const STATUSES: Partial<Record<ErrorCode, number>> = {
  // The request
  BAD_REQUEST: 400,
  INVALID_ARGUMENT: 400,
  NAME_INVALID: 400,
  ROUTE_UNKNOWN: 404,
  METHOD_UNKNOWN: 405,
  NOT_ACCEPTABLE: 406,
  REQUEST_TIMEOUT: 408,
  FRAME_TOO_LARGE: 413,
  BODY_TOO_LARGE: 413,
  TOO_MANY_OPERATIONS: 413,
  MEDIA_UNSUPPORTED: 415,
  HOST_REFUSED: 421,
  HEADERS_TOO_LARGE: 431,
  // The counter's state
  OVERFLOW: 409,
  OUT_OF_BOUNDS: 409,
  EXPECTATION_FAILED: 409,
  ATOMIC_ABORTED: 409,
  EPOCH_MISMATCH: 409,
  KEY_IN_PROGRESS: 409,
  OPERATION_CONFLICT: 422,
  VALUE_UNSAFE: 422,
  NOT_TRACKED: 422,
  TIME_TOO_OLD: 422,
  TIME_AHEAD: 422,
  UNAUTHORIZED: 401,
  // The server
  QUOTA_EXCEEDED: 429,
  ITEMS_FULL: 429,
  OVERLOADED: 503,
  TOO_SLOW: 503,
  SHUTTING_DOWN: 503,
  OPERATIONS_FULL: 503,
  PRODUCERS_FULL: 503,
  PRODUCER_UNKNOWN: 503,
  PRODUCER_FENCED: 503,
  CONNECTION_LOST: 503,
  CLOSED: 503,
  ABORTED: 503,
  POSITION_UNAVAILABLE: 503,
  TIMEOUT: 504,
  MEMORY_FULL: 507,
  STORAGE_FULL: 507,
};

/** Seconds after which the same request may succeed; the server cannot know more than that now it does not. */
const RETRY_AFTER: Partial<Record<ErrorCode, number>> = {
  KEY_IN_PROGRESS: 1,
  QUOTA_EXCEEDED: 1,
  OVERLOADED: 1,
  TOO_SLOW: 1,
  SHUTTING_DOWN: 1,
  OPERATIONS_FULL: 1,
  STORAGE_FULL: 5,
};

export const statusOf = (code: ErrorCode): number => STATUSES[code] ?? 500;

/** All of the table, for those who describe it. */
export const HTTP_CODES = Object.keys(STATUSES) as readonly ErrorCode[];

/** An error as JSON, alone or within a batch's results. */
export function errorObject({ code, detail, retryable, outcome }: TallystickError) {
  return { code, title: ERRORS[code].message, ...(detail !== '' && { detail }), retryable, outcome };
}

/** An error that tells more than itself: what became of each operation of a batch of which none was applied. */
export class BatchError extends TallystickError {
  readonly results: readonly unknown[];

  constructor(first: TallystickError, results: readonly unknown[]) {
    super(first.code, first.detail, { outcome: first.outcome, cause: first });
    this.results = results;
  }
}

/** The reply that tells an error. `headers` are names and values in turn. */
export function problem(error: TallystickError, headers: readonly string[] = []): Reply {
  const { code } = error;
  const status = statusOf(code);
  const retryAfter = RETRY_AFTER[code];
  const body = {
    type: `urn:tallystick:error:${code}`,
    status,
    ...errorObject(error),
    ...(error instanceof BatchError && { results: error.results }),
  };
  return {
    status,
    type: PROBLEM_TYPE,
    body: JSON.stringify(body),
    code,
    headers: retryAfter === undefined ? headers : [...headers, 'Retry-After', String(retryAfter)],
  };
}
