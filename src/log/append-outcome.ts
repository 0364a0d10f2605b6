import { statfsSync } from 'node:fs';
import { TallystickError } from '../errors.js';
import type { AppendOutcome } from './log.js';

/** Whether there is room for what is written, and what is said of it where it was not. */

/** What a commit may write beside its values: the paths of LMDB's trees that it touches, twice over. */
const TREE_BYTES = 1_048_576;

/** Errors of LMDB and the system that say "no room" (LMDB's own codes are negative, Node's are texts). */
const NO_ROOM: ReadonlySet<unknown> = new Set([28, 'ENOSPC', 122, 'EDQUOT', -30_792 /* MDB_MAP_FULL */]);
/** What LMDB makes of a short write, and so of most full disks; but of a broken device too. */
const EIO: ReadonlySet<unknown> = new Set([5, 'EIO']);

/** Whether fewer than so many bytes, beside what a commit writes for its trees, are free where `directory` lies. */
export function lacksRoom(directory: string, bytes: number): boolean {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize < bytes + TREE_BYTES;
}

/** @param lacks whether room is lacking now: it decides what an EIO was */
export function saysNoRoom(error: unknown, lacks: () => boolean): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return EIO.has(code) ? lacks() : NO_ROOM.has(code);
}

export function notWritten(cause: unknown): AppendOutcome {
  return { kind: 'not-written', error: new TallystickError('STORAGE_FULL', undefined, { cause }) };
}

/** @param what failed, as the beginning of a sentence */
export function unknown(what: string, cause: unknown): AppendOutcome {
  const detail = `${what}: ${cause instanceof Error ? cause.message : cause}.`;
  return { kind: 'unknown', error: new TallystickError('STORAGE_FAILED', detail, { cause }) };
}
