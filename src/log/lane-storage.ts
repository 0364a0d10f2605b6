import { closeSync, existsSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { HeadMarkFile } from './head-mark.js';
import { LmdbLog, type LmdbLogOptions } from './lmdb-log.js';
import type { HeadMark, Log, LogReader, LogShape } from './log.js';
import { corrupt } from './replay.js';

/** What a lane keeps in its directory: `log.mdb` (with LMDB's `log.mdb-lock`) and `head-mark`. */
export interface LaneStorage {
  readonly log: Log;
  readonly mark: HeadMark;
}

const logPath = (directory: string) => join(directory, 'log.mdb');
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
    await new LmdbLog(logPath(directory), shape).close();
  }
  // LMDB syncs what is in its file, not the file's name.
  syncDirectory(directory);
  syncDirectory(dirname(directory));
}

/**
 * Opens what `createLaneStorage` made. Check it in a child process first (check.ts): LMDB can crash on damaged pages.
 *
 * @throws TallystickError LOG_CORRUPT if the log or its mark is missing, or the mark is damaged. The mark is made
 * before the log, so its absence is damage too.
 */
export function openLaneStorage(directory: string, shape: LogShape, options: LmdbLogOptions = {}): LaneStorage {
  for (const path of [markPath(directory), logPath(directory)]) {
    if (!existsSync(path)) throw corrupt(`${path} is missing.`);
  }
  const mark = HeadMarkFile.open(markPath(directory), shape.partitions, options.readOnly ? 'r' : 'r+');
  try {
    return { mark, log: new LmdbLog(logPath(directory), shape, options) };
  } catch (error) {
    mark.close();
    throw error;
  }
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
