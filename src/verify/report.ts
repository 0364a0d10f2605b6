import { escaped } from '../cli/io.js';
import type { Verification, VerifiedCheckpoint, VerifiedLane, VerifiedSegment } from './verify.js';

/** What verify found, for people and for machines. */

/** For machines. Numbers beyond 2^53 - 1 come as text. */
export function asJson({ epoch, lanes, faults }: Verification): string {
  const report = {
    sound: faults.length === 0,
    epoch,
    lanes: lanes.map(({ lane, mark, segments, partitions, history }) => ({
      lane,
      mark: mark ?? null,
      segments: segments.map(segmentAsJson),
      partitions: partitions.map(partitionAsJson),
      history: history ?? null,
    })),
    faults,
  };
  return `${JSON.stringify(report)}\n`;
}

function segmentAsJson({ file, bytes, firstRecord, findings }: VerifiedSegment) {
  const base = { file, bytes, firstRecord, sound: findings !== undefined };
  if (!findings) return base;
  const { begin, end, entries, auditItems, times } = findings;
  return { ...base, records: end.records - begin.records, entries, auditItems, times: times?.map(textOf) ?? null };
}

function partitionAsJson({ partition, place, pages, milliseconds, fault, replayed }: VerifiedCheckpoint) {
  return {
    partition,
    checkpoint: place ? { sequence: place.sequence, pages, time: textOf(milliseconds) } : null,
    sound: fault === undefined,
    ...(replayed && { replayed: { entries: replayed.entries, stateHash: replayed.stateHash.toString(16) } }),
  };
}

/** For people: a line for each file, and the faults last. */
export function asText(dataDir: string, { epoch, lanes, faults }: Verification): string {
  const head = `${escaped(dataDir)}, epoch ${epoch}, ${counted(lanes.length, 'lane')}`;
  const lines = [head, ...lanes.flatMap(laneLines)];
  if (faults.length === 0) return `${lines.join('\n')}\nsound\n`;
  const found = faults.map(({ file, detail }) => `  ${file}: ${escaped(detail)}`);
  return `${lines.join('\n')}\ndamaged: ${counted(faults.length, 'fault')}\n${found.join('\n')}\n`;
}

function laneLines({ lane, mark, segments, partitions, history }: VerifiedLane): string[] {
  return [
    `lane ${lane}`,
    `  head-mark  ${mark === undefined ? 'DAMAGED' : `group ${grouped(mark)}`}`,
    ...segments.map((segment) => `  ${segment.file}  ${segmentText(segment)}`),
    ...partitions.map((partition) => `  partition ${partition.partition}  ${partitionText(partition)}`),
    `  history.mdb  ${history ? `${megabytes(history.bytes)}, ${counted(history.rows, 'row')}` : 'DAMAGED'}`,
  ];
}

function segmentText({ bytes, findings }: VerifiedSegment): string {
  if (!findings) return 'DAMAGED';
  const { begin, end, entries, auditItems, times } = findings;
  const span = times ? `, ${times.map(textOf).join(' to ')}` : '';
  const counts = [
    counted(end.records - begin.records, 'record'),
    counted(entries, 'entry'),
    counted(auditItems, 'audit item'),
  ];
  return `${megabytes(bytes)}, ${counts.join(', ')}${span}`;
}

function partitionText({ place, pages, milliseconds, fault, replayed }: VerifiedCheckpoint): string {
  const checkpoint = place
    ? `checkpoint at sequence ${grouped(place.sequence)}, ${counted(pages, 'page')}, ${textOf(milliseconds)}`
    : 'no checkpoint';
  const replay = replayed ? `; replayed ${counted(replayed.entries, 'entry')}` : '';
  return fault === undefined ? `${checkpoint}${replay}` : 'DAMAGED checkpoint';
}

const PLURALS: Readonly<Record<string, string>> = { entry: 'entries' };

function counted(count: number, what: string): string {
  return `${grouped(count)} ${count === 1 ? what : (PLURALS[what] ?? `${what}s`)}`;
}

const grouped = (count: number): string => count.toLocaleString('en-US');
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
const textOf = (milliseconds: number): string => new Date(milliseconds).toISOString();
