import { closeSync, existsSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { CheckpointStore } from './checkpoint.js';
import { HeadMarkFile } from './head-mark.js';
import { LmdbCheckpoints } from './lmdb-checkpoints.js';
import { LmdbLog, type LmdbLogOptions } from './lmdb-log.js';
import type { HeadMark, Log, LogReader, LogShape } from './log.js';
import { corrupt } from './replay.js';

/** What a lane keeps in its directory: `log.mdb`, `checkpoint.mdb` (each with LMDB's `…-lock`) and `head-mark`. */
export interface LaneStorage {
  readonly log: Log;
  readonly mark: HeadMark;
  readonly checkpoints: CheckpointStore;
}

const logPath = (directory: string) => join(directory, 'log.mdb');
const checkpointPath = (directory: string) => join(directory, 'checkpoint.mdb');
const markPath = (directory: string) => join(directory, 'head-mark');

/**
 * Makes the directory of a lane with an empty log, synced when it resolves. One that was interrupted may be repeated;
 * where a log is there already, nothing is changed.
 *
 * @throws TallystickError LOG_CORRUPT for a log without its mark, or a mark whose log is gone.
 */
export async function createLaneStorage(directory: string, shape: LogShape): Promise<void> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const hasLog = existsSync(logPath(directory));
  if (!existsSync(markPath(directory))) {
    if (hasLog) throw corrupt(`${directory} has a log without its head mark.`);
    HeadMarkFile.create(markPath(directory), shape.partitions);
    syncDirectory(directory);
  }
  if (!hasLog) {
    const mark = HeadMarkFile.open(markPath(directory), shape.partitions, 'r');
    const { group } = mark.read();
    mark.close();
    if (group > 0) throw corrupt(`${directory} has a head mark (group ${group}) without its log.`);
    await new LmdbCheckpoints(checkpointPath(directory), shape).close();
    await new LmdbLog(logPath(directory), shape).close();
  }
  // LMDB syncs what is in its file, not the file's name.
  syncDirectory(directory);
  syncDirectory(dirname(directory));
}

/**
 * Opens what `createLaneStorage` made. Check it in a child process first (check.ts): LMDB can crash on damaged pages.
 *
 * @throws TallystickError LOG_CORRUPT if a part is missing, or the mark is damaged. The log is made last, so the absence of
 * one of the others is damage too.
 */
export function openLaneStorage(directory: string, shape: LogShape, options: LmdbLogOptions = {}): LaneStorage {
  for (const path of [markPath(directory), checkpointPath(directory), logPath(directory)]) {
    if (!existsSync(path)) throw corrupt(`${path} is missing.`);
  }
  const mark = HeadMarkFile.open(markPath(directory), shape.partitions, options.readOnly ? 'r' : 'r+');
  try {
    const { readOnly = false } = options;
    const checkpoints = new LmdbCheckpoints(checkpointPath(directory), shape, { readOnly });
    return { mark, checkpoints, log: new LmdbLog(logPath(directory), shape, options) };
  } catch (error) {
    mark.close();
    throw error;
  }
}

/** To be called when nothing is unanswered. */
export async function closeLaneStorage({ log, mark, checkpoints }: LaneStorage): Promise<void> {
  mark.close();
  await checkpoints.close();
  await log.close();
}

/** Opens the log of a lane for reading beside the thread that writes it. */
export function openLogReader(directory: string, shape: LogShape): LogReader {
  return new LmdbLog(logPath(directory), shape, { readOnly: true });
}

function syncDirectory(directory: string): void {
  const file = openSync(directory, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
