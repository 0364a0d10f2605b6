import { type ErrorCode, TallystickError } from '../errors.js';
import { escaped, type Output } from './io.js';

export const EXIT_OK = 0;
/** The same command may succeed later, or may not. */
export const EXIT_FAILED = 1;
/** The command or its configuration is wrong. */
export const EXIT_USAGE = 2;
/** The data are damaged or of another version: a person has to look before the command is run again. */
export const EXIT_DATA = 3;

const STATUS_OF: ReadonlyMap<ErrorCode, number> = new Map([
  ['INVALID_ARGUMENT', EXIT_USAGE],
  ['CONFIG_INVALID', EXIT_USAGE],
  ['LOG_CORRUPT', EXIT_DATA],
  ['BACKUP_INVALID', EXIT_DATA],
  ['DIRECTORY_INVALID', EXIT_DATA],
]);

/** An error, with what to do about it, and its exit status, where only the command knows. */
export class Failure extends Error {
  readonly advice: string;
  readonly status: number | undefined;

  constructor(error: unknown, advice: string, status?: number) {
    super(advice, { cause: error });
    this.advice = advice;
    this.status = status;
  }
}

/** Prints `code: message` and what to do next, and gives the exit status. */
export function reportFailure(thrown: unknown, command: string, stderr: Output): number {
  const error = thrown instanceof Failure ? thrown.cause : thrown;
  const status = (thrown instanceof Failure && thrown.status) || statusOf(error);
  const known = thrown instanceof Failure ? thrown.advice : '';
  const advice = status === EXIT_USAGE && known === '' ? `See 'tallystick ${command} --help'.` : known;
  stderr.write(`${messageOf(error)}\n${advice === '' ? '' : `${escaped(advice)}\n`}`);
  return status;
}

/** The exit status of an error, where the command does not say another one. */
export function statusOf(error: unknown): number {
  return (error instanceof TallystickError && STATUS_OF.get(error.code)) || EXIT_FAILED;
}

function messageOf(error: unknown): string {
  if (error instanceof TallystickError) return escaped(error.message);
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `INTERNAL: a defect of the command line, please report it: ${stack}`;
}
