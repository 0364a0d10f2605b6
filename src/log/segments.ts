import type { LogPlace, PartitionPlace, SealedGroup } from './log.js';

/**
 * The rules of a log in segments, whatever they are kept in.
 *
 * A lane's log is a row of segments. A group lies whole in one of them. Each states the place before its first record, so
 * that it verifies alone, and two neighbours must agree. Records are appended to the newest one; the oldest ones are
 * dropped when recovery does not need them and the retention does not keep them.
 */

export const DEFAULT_SEGMENT_BYTES = 64 * 1_048_576;

/** How much of what recovery does not need is kept. */
export interface Retention {
  /** Of all segments of the lane. */
  readonly bytes: number;
  /** Since a segment was written last. */
  readonly milliseconds: number;
}

export interface KeptSegment {
  readonly firstRecord: number;
  readonly bytes: number;
  /** When it was written last, in milliseconds since 1970. */
  readonly written: number;
}

/** Whether the next group goes into a new segment. */
export function isFull(begin: LogPlace, end: LogPlace, segmentBytes: number): boolean {
  return end.records > begin.records && end.bytes - begin.bytes >= segmentBytes;
}

/** Whether a group begins where the log ends. */
export function continues(end: LogPlace, { group, firstRecord }: SealedGroup): boolean {
  return group === end.group + 1 && firstRecord === end.records + 1;
}

/**
 * How many of the oldest segments are dropped: those that lie wholly before `released`, as long as all that is kept is
 * too much or the oldest is too old. Never the newest.
 *
 * @param segments oldest first
 * @param now in milliseconds since 1970
 */
export function droppable(
  segments: readonly KeptSegment[],
  released: number,
  retention: Retention,
  now: number,
): number {
  let bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
  for (const [index, segment] of segments.entries()) {
    const next = segments[index + 1];
    const isKept = bytes <= retention.bytes && now - segment.written <= retention.milliseconds;
    if (!next || next.firstRecord > released + 1 || isKept) return index;
    bytes -= segment.bytes;
  }
  return 0;
}

/**
 * The segment in which a replay from these checkpoints begins: the newest that begins at or before each of them, else
 * the oldest, from which the replay then says what is missing. Older ones are not looked at.
 *
 * @param beginOf where the segment of an index begins; 0 is the oldest
 */
export async function startOf(
  segments: number,
  beginOf: (index: number) => Promise<LogPlace>,
  from: ReadonlyMap<number, PartitionPlace> | undefined,
): Promise<number> {
  if (!from) return 0;
  for (let index = segments - 1; index > 0; index--) {
    const { heads } = await beginOf(index);
    if ([...heads].every(([partition, { sequence }]) => sequence <= (from.get(partition)?.sequence ?? 0))) return index;
  }
  return 0;
}
