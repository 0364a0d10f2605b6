import type { SealedGroup } from '../../src/log/log.js';
import {
  CONTINUES,
  ENTRY_HEADER_BYTES,
  type LogEntry,
  RECORD_HEADER_BYTES,
  readEntryHeader,
  readRecordHeader,
} from '../../src/log/record.js';

/** The entries of a group as a lane hands it to its log, read in the most naive way. */
export function entriesOf({ records }: SealedGroup): LogEntry[] {
  const payloads = new Map<number, { first: number; pieces: Uint8Array[] }>();
  for (const record of records) {
    const view = new DataView(record.buffer, record.byteOffset, record.length);
    const { partition, firstSequence, flags } = readRecordHeader(view, 0);
    const payload = record.subarray(RECORD_HEADER_BYTES);
    const known = payloads.get(partition);
    if (known) known.pieces.push(payload);
    else if (flags & CONTINUES) throw new Error('A group begins in the middle of an entry.');
    else payloads.set(partition, { first: firstSequence, pieces: [payload] });
  }
  return [...payloads].flatMap(([partition, { first, pieces }]) => entriesIn(partition, first, Buffer.concat(pieces)));
}

function entriesIn(partition: number, first: number, payload: Uint8Array): LogEntry[] {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const entries: LogEntry[] = [];
  for (let offset = 0; offset < payload.length; ) {
    const header = readEntryHeader(view, offset);
    if (!header) throw new Error('The reserved bytes of an entry are not 0.');
    const end = offset + ENTRY_HEADER_BYTES + header.bodyLength;
    const body = payload.slice(offset + ENTRY_HEADER_BYTES, end);
    entries.push({ ...header, partition, sequence: first + entries.length, body });
    offset = end;
  }
  return entries;
}
