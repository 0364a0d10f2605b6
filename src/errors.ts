/**
 * The one table of errors. A row is a code, its status byte on the wire, whether the same call may succeed
 * later, what became of the operation, and a sentence that says what to do next.
 *
 * Statuses 0 (OK) and 1 (ABSENT) are no errors; codes without a status never cross the wire.
 */

/** What became of the operation that an error answers. */
export type Outcome = 'refused' | 'unknown' | 'applied';

interface ErrorRow {
  readonly status: number;
  readonly retryable: boolean;
  readonly outcome: Outcome;
  readonly message: string;
}

const row = (status: number, retryable: boolean, outcome: Outcome, message: string): ErrorRow => ({
  status,
  retryable,
  outcome,
  message,
});

/** Statuses that are not errors. */
export const OK = 0;
export const ABSENT = 1;

export const ERRORS = {
  // The frame or the request
  BAD_REQUEST: row(2, false, 'refused', 'The request does not follow protocol.md.'),
  FRAME_TOO_LARGE: row(3, false, 'refused', 'The frame is longer than the limit that HELLO states. Split the batch.'),
  FRAME_TIMEOUT: row(4, true, 'refused', 'A frame stayed incomplete past the deadline. Reconnect and send it again.'),
  UNKNOWN_OPCODE: row(5, false, 'refused', 'The server does not know this opcode. Compare the versions in HELLO.'),
  VERSION_MISMATCH: row(6, false, 'refused', 'The server speaks another protocol version. Upgrade the older side.'),
  HELLO_REQUIRED: row(7, false, 'refused', 'The first frame of a connection must be HELLO, within the deadline.'),
  UNAUTHORIZED: row(8, false, 'refused', 'The token is missing or wrong.'),
  WRONG_PARTITION: row(
    9,
    false,
    'refused',
    'A name does not hash to the partition of its frame, or another lane owns that partition. Use the map in HELLO.',
  ),
  TOO_MANY_OPERATIONS: row(10, false, 'refused', 'The batch has more operations than HELLO allows. Split it.'),
  NAME_INVALID: row(11, false, 'refused', 'A name is 1 to 1,024 bytes of valid UTF-8.'),
  ID_UNKNOWN: row(12, false, 'refused', 'No counter has this id (any more). OPEN the name again.'),
  // The values
  OVERFLOW: row(13, false, 'refused', 'The step would leave the signed 64-bit range.'),
  OUT_OF_BOUNDS: row(14, false, 'refused', 'The step would leave the bounds that it was given.'),
  EXPECTATION_FAILED: row(
    15,
    false,
    'refused',
    'The counter does not have the expected value. Read it and decide anew.',
  ),
  ATOMIC_ABORTED: row(16, false, 'refused', 'Another operation of the atomic batch was refused, so this one was too.'),
  // Exactly once
  PRODUCER_UNKNOWN: row(17, false, 'refused', 'The producer is unknown or has expired. Say HELLO as a new one.'),
  PRODUCER_FENCED: row(18, false, 'refused', 'A newer session opened this producer. Only one may write at a time.'),
  PRODUCERS_FULL: row(19, true, 'refused', 'The table of producers is full. Idle anonymous ones expire after a day.'),
  SEQUENCE_GAP: row(20, true, 'refused', 'An earlier sequence has not arrived. Send from the first unanswered one.'),
  SEQUENCE_CONFLICT: row(21, false, 'refused', 'Another payload was applied under this sequence.'),
  WINDOW_EXCEEDED: row(22, true, 'refused', 'Too many unanswered sequences. Wait for answers before sending more.'),
  ALREADY_APPLIED: row(
    23,
    false,
    'applied',
    'The batch was applied before; its first answer is past the bytes kept. Read the counters for their values.',
  ),
  OPERATION_CONFLICT: row(24, false, 'refused', 'Another operation was applied under this operation id.'),
  OPERATIONS_FULL: row(25, true, 'refused', 'The set of operation ids is full. Retry when the oldest have expired.'),
  // The server
  MEMORY_FULL: row(26, true, 'refused', 'No memory for new names. Existing counters go on. Raise --memory.'),
  STORAGE_FULL: row(27, true, 'refused', 'The disk is full. Free space; the server resumes by itself.'),
  STORAGE_FAILED: row(28, true, 'unknown', 'The storage failed and the server stops. Retry under the same sequence.'),
  OVERLOADED: row(29, true, 'refused', 'The server is at a limit. Back off and retry.'),
  SHUTTING_DOWN: row(30, true, 'refused', 'The server is shutting down. Reconnect and retry.'),
  POSITION_UNAVAILABLE: row(31, true, 'refused', 'The position asked for was not reached in time. Retry.'),
  EPOCH_MISMATCH: row(32, false, 'refused', 'The position or id is of another life of the data directory. Read anew.'),
  INTERNAL: row(33, false, 'unknown', 'A defect of the server. Please report it with its log.'),
  QUOTA_EXCEEDED: row(
    34,
    true,
    'refused',
    'The operations a second that clients may write are used up. Back off, retry.',
  ),
  // Through time
  NOT_TRACKED: row(
    35,
    false,
    'refused',
    "The counter's class does not keep this, or does not know that time. See 'tallystick classes'.",
  ),
  TIME_TOO_OLD: row(36, false, 'refused', "The increment's time is older than its class takes. Raise its lateness."),
  TIME_AHEAD: row(37, true, 'refused', "The increment's time lies ahead of the server's clock. Compare the clocks."),
  // Feeds
  TOO_SLOW: row(
    38,
    true,
    'refused',
    'A feed had more to tell than is kept for one reader, or its reader took nothing for 30 s. Go on from its position, or read faster.',
  ),
  // Unique items
  ITEMS_FULL: row(39, true, 'refused', 'The class keeps no more items within that time.'),
  // The client; these never cross the wire
  TIMEOUT: row(-1, true, 'unknown', 'No answer within the timeout.'),
  CONNECTION_LOST: row(-1, true, 'unknown', 'The connection was lost. Check that the server runs and the address.'),
  CLOSED: row(-1, false, 'refused', 'The client is closed.'),
  ABORTED: row(-1, false, 'unknown', 'The caller aborted the call.'),
  INVALID_ARGUMENT: row(-1, false, 'refused', 'An argument is not usable.'),
  VALUE_UNSAFE: row(-1, false, 'applied', "The value is beyond 2^53-1. Connect with values: 'bigint'."),
  FLUSH_FAILED: row(-1, false, 'unknown', 'Some increments before this flush failed; see `failed`.'),
  // HTTP; these never cross the wire
  ROUTE_UNKNOWN: row(-1, false, 'refused', 'Nothing is there. See /openapi.json.'),
  METHOD_UNKNOWN: row(-1, false, 'refused', 'What is there does not take this method. See Allow.'),
  NOT_ACCEPTABLE: row(-1, false, 'refused', 'The answer has another media type than Accept lets in.'),
  MEDIA_UNSUPPORTED: row(-1, false, 'refused', 'A body is application/json, in UTF-8, not compressed.'),
  BODY_TOO_LARGE: row(-1, false, 'refused', 'A body has at most 1 MiB. Split the batch.'),
  HEADERS_TOO_LARGE: row(-1, false, 'refused', 'The request line and the headers have at most 16 KiB together.'),
  REQUEST_TIMEOUT: row(-1, true, 'refused', 'The request did not come in full in time. Send it again.'),
  HOST_REFUSED: row(-1, false, 'refused', 'The server does not answer to the name in Host. List it in httpHosts.'),
  KEY_IN_PROGRESS: row(-1, true, 'unknown', 'A request with this Idempotency-Key is being answered. Retry.'),
  // The command line; these never cross the wire
  INPUT_FAILED: row(-1, true, 'refused', 'The input cannot be read on. Put it right and run the same command again.'),
  OUTPUT_FAILED: row(-1, false, 'applied', 'The result could not be written out. What was asked for is done.'),
  INPUT_UNUSABLE: row(-1, false, 'applied', 'What the other lines say is done. Put those right and run it again.'),
  INPUT_CHANGED: row(
    -1,
    false,
    'refused',
    'Run the ingest with the file and the options that the producer began with, or name another --producer.',
  ),
  // Starting and stopping; these never cross the wire
  LOG_CORRUPT: row(
    -1,
    false,
    'refused',
    "The log fails its checks. Nothing was changed. Restore a backup of it, or see what 'tallystick repair' can save.",
  ),
  DATA_DAMAGED: row(
    -1,
    false,
    'refused',
    'The data directory is damaged. Nothing was changed. Restore a backup of it, or see what repair can save.',
  ),
  CURSORS_DIFFER: row(
    -1,
    false,
    'refused',
    'A new partition would need two places of one input. Run the ingest of that producer to its end first.',
  ),
  OPERATION_IDS_LIVE: row(
    -1,
    true,
    'refused',
    'Operations could be applied again. Wait until their ids have expired, or give --forget-operation-ids.',
  ),
  BACKUP_INVALID: row(-1, false, 'refused', 'The backup is damaged or incomplete. Use another one.'),
  STATE_DIVERGED: row(
    -1,
    false,
    'unknown',
    'The log gives another state than the server has in memory, and the server stops. Check the memory of this machine.',
  ),
  DIRECTORY_IN_USE: row(-1, true, 'refused', 'Another server has the data directory open.'),
  DIRECTORY_INVALID: row(
    -1,
    false,
    'refused',
    'The data directory was not made by this version of the server. Use the one that made it, or another --data-dir.',
  ),
  CONFIG_INVALID: row(-1, false, 'refused', 'The configuration is not usable.'),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

const CODES_BY_STATUS = new Map<number, ErrorCode>(
  (Object.entries(ERRORS) as [ErrorCode, ErrorRow][])
    .filter(([, { status }]) => status >= 0)
    .map(([code, { status }]) => [status, code]),
);

/** The code of a status byte; INTERNAL for a status of a newer version. */
export function codeOfStatus(status: number): ErrorCode {
  return CODES_BY_STATUS.get(status) ?? 'INTERNAL';
}

/** The one error class: of the server, the SDK and the command line. */
export class TallystickError extends Error {
  override readonly name: string = 'TallystickError';
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly outcome: Outcome;
  /** What was wrong with this call; the message holds it between the code and the table's sentence. */
  readonly detail: string;

  constructor(code: ErrorCode, detail?: string, options: { outcome?: Outcome; cause?: unknown } = {}) {
    const { message, retryable, outcome } = ERRORS[code];
    super(detail ? `${code}: ${detail} ${message}` : `${code}: ${message}`, { cause: options.cause });
    this.code = code;
    this.detail = detail ?? '';
    this.retryable = retryable;
    this.outcome = options.outcome ?? outcome;
  }
}

/** An error as one of the table: what is none of it is a defect. */
export function asTallystickError(error: unknown): TallystickError {
  return error instanceof TallystickError ? error : new TallystickError('INTERNAL', String(error), { cause: error });
}
