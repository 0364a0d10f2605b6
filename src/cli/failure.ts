import { TallystickError } from '../errors.js';
import { escaped, type Output } from './io.js';

export const EXIT_OK = 0;
export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;

/** An error, with what to do about it where only the command knows. */
export class Failure extends Error {
  readonly advice: string;

  constructor(error: unknown, advice: string) {
    super(advice, { cause: error });
    this.advice = advice;
  }
}

/** Prints `code: message` and what to do next, and gives the exit status. */
export function reportFailure(thrown: unknown, command: string, stderr: Output): number {
  const error = thrown instanceof Failure ? thrown.cause : thrown;
  const usage = error instanceof TallystickError && USAGE.has(error.code);
  const known = thrown instanceof Failure ? thrown.advice : '';
  const advice = usage && known === '' ? `See 'tallystick ${command} --help'.` : known;
  stderr.write(`${messageOf(error)}\n${advice === '' ? '' : `${escaped(advice)}\n`}`);
  return usage ? EXIT_USAGE : EXIT_FAILED;
}

const USAGE = new Set(['INVALID_ARGUMENT', 'CONFIG_INVALID']);

function messageOf(error: unknown): string {
  if (error instanceof TallystickError) return escaped(error.message);
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `INTERNAL: a defect of the command line, please report it: ${stack}`;
}
