import { FileSegment } from './file-segment.js';
import { LmdbSegment } from './lmdb-segment.js';
import type { LogPlace, LogShape } from './log.js';
import { corrupt } from './replay.js';
import type { Segment, SegmentOptions } from './segment.js';
import type { LogKind, SegmentFile } from './segment-files.js';

/** Makes an empty segment. */
export function createSegment(kind: LogKind, directory: string, begin: LogPlace): Promise<SegmentFile> {
  return kind === 'lmdb' ? LmdbSegment.create(directory, begin) : FileSegment.create(directory, begin);
}

/** @throws TallystickError LOG_CORRUPT if it is not there, or does not begin as its name and the lane's shape say. */
export async function openSegment(file: SegmentFile, shape: LogShape, options: SegmentOptions = {}): Promise<Segment> {
  const segment =
    file.kind === 'lmdb' ? await LmdbSegment.open(file.path, options) : await FileSegment.open(file.path, options);
  const { heads, records } = segment.begin;
  const fault =
    (records + 1 !== file.firstRecord && `begins with record ${records + 1}`) ||
    ((heads.size !== shape.partitions.length || !shape.partitions.every((partition) => heads.has(partition))) &&
      `is of partitions ${[...heads.keys()]} instead of ${shape.partitions}`);
  if (!fault) return segment;
  await segment.close();
  throw corrupt(`${file.path} ${fault}.`);
}
