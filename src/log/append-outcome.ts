import { statfsSync } from 'node:fs';
import { TallystickError } from '../errors.js';
import type { AppendOutcome } from './log.js';

/** Whether there is room for what is written, and what is said of it where it was not. */

/** What a commit may write beside its values: the paths of LMDB's trees that it touches, twice over. */
const TREE_BYTES = 1_048_576;

/** Whether fewer than so many bytes, beside what a commit writes for its trees, are free where `directory` lies. */
export function lacksRoom(directory: string, bytes: number): boolean {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize < bytes + TREE_BYTES;
}

export function notWritten(cause: unknown): AppendOutcome {
  return { kind: 'not-written', error: new TallystickError('STORAGE_FULL', undefined, { cause }) };
}

/** @param what failed, as the beginning of a sentence */
export function unknown(what: string, cause: unknown): AppendOutcome {
  const detail = `${what}: ${cause instanceof Error ? cause.message : cause}.`;
  return { kind: 'unknown', error: new TallystickError('STORAGE_FAILED', detail, { cause }) };
}
