import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { CheckpointReader, CheckpointStore } from './checkpoint.js';
import { HeadMarkFile } from './head-mark.js';
import { LmdbCheckpointReader, LmdbCheckpoints } from './lmdb-checkpoints.js';
import { LmdbFile } from './lmdb-file.js';
import type { HeadMark, Log, LogPlace, LogReader, LogShape } from './log.js';
import { corrupt, firstPlace } from './replay.js';
import { flush, type LogKind, segmentsIn } from './segment-files.js';
import { createSegment } from './segment-kinds.js';
import { SegmentedLog, type SegmentedLogOptions } from './segmented-log.js';
import { SegmentedLogReader } from './segmented-log-reader.js';

/**
 * What a lane keeps in its directory: the segments of its log, `checkpoint.mdb` with LMDB's `…-lock`, `head-mark`; and `history.mdb`, which is
 * src/history's.
 */
export interface LaneStorage {
  readonly log: Log;
  readonly mark: HeadMark;
  /** They are written by another thread (`openCheckpoints`). */
  readonly checkpoints: CheckpointReader;
}

export const checkpointPath = (directory: string) => join(directory, 'checkpoint.mdb');
export const historyPath = (directory: string) => join(directory, 'history.mdb');
export const markPath = (directory: string) => join(directory, 'head-mark');

/**
 * Makes the directory of a lane with an empty log, synced when it resolves. One that was interrupted may be repeated;
 * where a log is there already, nothing is changed.
 *
 * @param options.kind what its first segment is kept in
 * @param options.begin where the log begins: for a directory that begins with checkpoints of that place
 * @throws TallystickError LOG_CORRUPT for a log without its mark, or a mark whose log is gone.
 */
export async function createLaneStorage(
  directory: string,
  shape: LogShape,
  { kind = 'lmdb', begin = firstPlace(shape) }: { readonly kind?: LogKind; readonly begin?: LogPlace } = {},
): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const hasLog = segmentsIn(directory).length > 0;
  if (!existsSync(markPath(directory))) {
    if (hasLog) throw corrupt(`${directory} has a log without its head mark.`);
    HeadMarkFile.create(markPath(directory), shape.partitions);
    await flush(directory, 'r');
  }
  if (!hasLog) {
    const mark = HeadMarkFile.open(markPath(directory), shape.partitions, 'r');
    const { group } = mark.read();
    mark.close();
    if (group > 0) throw corrupt(`${directory} has a head mark (group ${group}) without its log.`);
    await new LmdbCheckpoints(checkpointPath(directory), shape).close();
    await createSegment(kind, directory, begin);
  }
  // LMDB syncs what is in its file, not the file's name.
  await flush(directory, 'r');
  await flush(dirname(directory), 'r');
}

/**
 * Opens what `createLaneStorage` made. What is to be written is verified before LMDB sees it: it trusts its pages, can crash on damaged
 * ones, and writes over what is in use where its list of free pages is damaged, which nobody who reads would notice.
 *
 * @throws TallystickError LOG_CORRUPT if a part is missing, or the mark is damaged. The log is made last, so the absence of
 * one of the others is damage too.
 */
export async function openLaneStorage(
  directory: string,
  shape: LogShape,
  options: SegmentedLogOptions = {},
): Promise<LaneStorage> {
  for (const path of [markPath(directory), checkpointPath(directory)]) {
    if (!existsSync(path)) throw corrupt(`${path} is missing.`);
  }
  const { readOnly = false } = options;
  if (!readOnly) for (const path of writtenFiles(directory)) LmdbFile.check(path);
  const mark = HeadMarkFile.open(markPath(directory), shape.partitions, readOnly ? 'r' : 'r+');
  let checkpoints: CheckpointReader | undefined;
  try {
    checkpoints = new LmdbCheckpointReader(checkpointPath(directory), shape);
    return { mark, checkpoints, log: await SegmentedLog.open(directory, shape, options) };
  } catch (error) {
    mark.close();
    await checkpoints?.close();
    throw error;
  }
}

/** The checkpoints of a lane alone, to be written, in a directory that is made if it is not there. */
export async function openCheckpoints(directory: string, shape: LogShape): Promise<CheckpointStore> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return new LmdbCheckpoints(checkpointPath(directory), shape);
}

/** The LMDB files that a lane writes to; the older segments it only reads. */
function writtenFiles(directory: string): string[] {
  const newest = segmentsIn(directory).at(-1);
  const paths = [checkpointPath(directory), historyPath(directory), ...(newest?.kind === 'lmdb' ? [newest.path] : [])];
  return paths.filter((path) => existsSync(path));
}

/** To be called when nothing is unanswered. */
export async function closeLaneStorage({ log, mark, checkpoints }: LaneStorage): Promise<void> {
  mark.close();
  await checkpoints.close();
  await log.close();
}

/** Opens the log of a lane for reading beside the thread that writes it. */
export function openLogReader(directory: string, shape: LogShape): LogReader {
  return new SegmentedLogReader(directory, shape);
}
