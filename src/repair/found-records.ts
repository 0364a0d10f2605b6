import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { ChecksummedBuffer } from '../log/checksum.js';
import {
  CONTINUED,
  CONTINUES,
  RECORD_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  readEntryHeader,
  readRecordHeader,
  verifyRecord,
} from '../log/record.js';

/**
 * The records of a file that may be damaged, found by their magic number, wherever LMDB has them and whether or not its trees lead
 * there: a record lies in one piece, and its CRC32C says whether it is whole.
 */

export interface FoundRecord {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
  /** XXH64 of the record, to which the next one of its partition is chained; and of the one before it. */
  readonly hash: bigint;
  readonly previousHash: bigint;
  readonly firstSequence: number;
  /** Those that begin here. */
  readonly entries: number;
  /** Whether the last of them goes on in the next record. */
  readonly isContinued: boolean;
  /** Whether it begins in the middle of an entry. */
  readonly continues: boolean;
  /** Of the first entry that begins at its start, in milliseconds since 1970; 0 where none does. */
  readonly milliseconds: number;
}

const MAGIC = Buffer.alloc(4);
MAGIC.writeUInt32LE(RECORD_MAGIC);
/** What is searched at a time; a record that reaches beyond it is met by the next one, which begins a record earlier. */
const WINDOW_BYTES = 8 * 1_048_576;

/**
 * Hands out the whole records of a file in the order in which they lie there, with their partitions. The same record may
 * come more than once: LMDB copies what it changes.
 *
 * @returns the bytes of the file
 * @throws errors of the system
 */
export function findRecords(
  path: string,
  kernelVersion: number,
  visit: (partition: number, record: FoundRecord) => void,
): number {
  const file = openSync(path, 'r');
  try {
    const window = Buffer.alloc(WINDOW_BYTES + RECORD_BYTES);
    const buffer = new ChecksummedBuffer(RECORD_BYTES);
    const { size } = fstatSync(file);
    let next = 0; // where the last record ended: what looks like one within it is not
    for (let start = 0; start < size; start += WINDOW_BYTES) {
      const bytes = window.subarray(0, readSync(file, window, 0, window.length, start));
      for (let at = bytes.indexOf(MAGIC, Math.max(0, next - start)); at >= 0; at = bytes.indexOf(MAGIC, at)) {
        if (at >= WINDOW_BYTES) break;
        const found = recordAt(buffer, bytes, at);
        if (found && found.kernelVersion === kernelVersion) {
          visit(found.partition, { ...found.record, path, offset: start + at });
          at += found.record.length;
          next = start + at;
        } else {
          at += 1;
        }
      }
    }
    return size;
  } finally {
    closeSync(file);
  }
}

function recordAt(buffer: ChecksummedBuffer, bytes: Buffer, at: number) {
  if (bytes.length - at <= RECORD_HEADER_BYTES) return undefined;
  const length = RECORD_HEADER_BYTES + bytes.readUInt32LE(at + 24);
  if (length > RECORD_BYTES || at + length > bytes.length) return undefined;
  buffer.bytes.set(bytes.subarray(at, at + length));
  if (verifyRecord(buffer, 0, length)) return undefined;
  const { partition, kernelVersion, flags, entries, firstSequence, previousHash } = readRecordHeader(buffer.view, 0);
  const continues = (flags & CONTINUES) !== 0;
  const entry = continues || entries === 0 ? undefined : readEntryHeader(buffer.view, RECORD_HEADER_BYTES);
  const record = {
    length,
    hash: buffer.xxh64(0, length),
    previousHash,
    firstSequence,
    entries,
    isContinued: (flags & CONTINUED) !== 0,
    continues,
    milliseconds: entry?.milliseconds ?? 0,
  };
  return { partition, kernelVersion, record };
}
