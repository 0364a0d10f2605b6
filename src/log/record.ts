import type { ChecksummedBuffer } from './checksum.js';

/**
 * The bytes of the log. All numbers are little-endian.
 *
 * Entry: one change that the kernel of a partition applied. The entries of a partition are numbered 1, 2, 3 … by its
 * sequence, which is not in the entry: it follows from the record.
 *
 * ```
 *  0      1       2          4             8          12            16             24
 *  +------+-------+----------+-------------+----------+-------------+--------------+------- - -
 *  | kind | flags | reserved | body length | producer | incarnation | milliseconds | body
 *  |  u8  |  u8   |  u16 = 0 |     u32     |   u32    |     u32     |     i64      |
 *  +------+-------+----------+-------------+----------+-------------+--------------+------- - -
 * ```
 *
 * Record: entries of one partition, of one group commit. An LMDB overflow run begins with a header of 16 bytes, so
 * that a record of 65,520 bytes fills 16 pages exactly.
 *
 * ```
 *  0       4        8               16               24        28          30       32        34      36        40
 *  +-------+--------+---------------+----------------+---------+-----------+--------+---------+-------+---------+--
 *  | magic | CRC32C | previous hash | first sequence | payload | partition | origin | kernel  | flags | entries |
 *  |  u32  |  u32   |      u64      |      u64       | length  |    u16    |  u16   | version |  u16  |   u32   |
 *  |       |        |               |                |   u32   |           |  = 0   |   u16   |       |         |
 *  +-------+--------+---------------+----------------+---------+-----------+--------+---------+-------+---------+--
 *  40             48
 *  +--------------+------- - -
 *  | group number | payload
 *  |     u64      |
 *  +--------------+------- - -
 * ```
 *
 * - CRC32C covers the bytes from 8 to the end.
 * - Previous hash is XXH64 (seed 0) of the whole previous record of the partition, 0 in its first: the chain.
 * - First sequence is that of the first entry that begins here, or would have been.
 * - Entries counts those that begin here.
 * - An entry's header lies within one record; its body may go on in the next records of the partition, in the same
 *   group.
 */
export const RECORD_BYTES = 65_520;
export const RECORD_HEADER_BYTES = 48;
/** Of those that are written now: with LMDB's header such a record fills 16 pages, and nothing of a 17th. */
export const RECORD_PAYLOAD_BYTES = 65_512 - RECORD_HEADER_BYTES;
export const RECORD_MAGIC = 0x4c_59_4c_54; // "TLYL" in the order of the bytes
export const ENTRY_HEADER_BYTES = 24;

/** The payload begins in the middle of an entry. */
export const CONTINUES = 1;
/** The last entry goes on in the next record of the partition. */
export const CONTINUED = 2;
/** The last record of its group: what follows belongs to the next one. */
export const LAST_OF_GROUP = 4;
const ALL_FLAGS = CONTINUES | CONTINUED | LAST_OF_GROUP;

export interface EntryHeader {
  /** An opcode, or a kind of the kernel's own. */
  readonly kind: number;
  readonly flags: number;
  /** The kernel's handle of the producer and its incarnation; opaque here. */
  readonly producer: number;
  readonly incarnation: number;
  /** Milliseconds since 1970. */
  readonly milliseconds: number;
}

export interface LogEntry extends EntryHeader {
  readonly partition: number;
  readonly sequence: number;
  readonly body: Uint8Array;
}

/** Stored beside the entry of that sequence, by the same transaction. */
export interface AuditItem {
  readonly partition: number;
  readonly sequence: number;
  /** MessagePack. */
  readonly value: Uint8Array;
}

export interface RecordHeader {
  readonly previousHash: bigint;
  readonly firstSequence: number;
  readonly payloadLength: number;
  readonly partition: number;
  readonly kernelVersion: number;
  readonly flags: number;
  readonly entries: number;
  readonly group: number;
}

/**
 * Writes the header of the record at `offset`, whose payload is in place already, with its CRC.
 *
 * @returns XXH64 of the whole record, to which the next one is chained.
 */
export function sealRecord(buffer: ChecksummedBuffer, offset: number, header: RecordHeader): bigint {
  const { view } = buffer;
  const length = RECORD_HEADER_BYTES + header.payloadLength;
  view.setUint32(offset, RECORD_MAGIC, true);
  view.setBigUint64(offset + 8, header.previousHash, true);
  view.setBigUint64(offset + 16, BigInt(header.firstSequence), true);
  view.setUint32(offset + 24, header.payloadLength, true);
  view.setUint16(offset + 28, header.partition, true);
  view.setUint16(offset + 30, 0, true);
  view.setUint16(offset + 32, header.kernelVersion, true);
  view.setUint16(offset + 34, header.flags, true);
  view.setUint32(offset + 36, header.entries, true);
  view.setBigUint64(offset + 40, BigInt(header.group), true);
  view.setUint32(offset + 4, buffer.crc32c(offset + 8, length - 8), true);
  return buffer.xxh64(offset, length);
}

/** Reads the header of a record that `verifyRecord` has passed. */
export function readRecordHeader(view: DataView, offset: number): RecordHeader {
  return {
    previousHash: view.getBigUint64(offset + 8, true),
    firstSequence: Number(view.getBigUint64(offset + 16, true)),
    payloadLength: view.getUint32(offset + 24, true),
    partition: view.getUint16(offset + 28, true),
    kernelVersion: view.getUint16(offset + 32, true),
    flags: view.getUint16(offset + 34, true),
    entries: view.getUint32(offset + 36, true),
    group: Number(view.getBigUint64(offset + 40, true)),
  };
}

/**
 * Checks what a record says about itself: magic, lengths, CRC, origin, flags. Its place in the log is checked by
 * Replay.
 *
 * @returns what failed, as the end of a sentence; undefined for a sound record.
 */
export function verifyRecord(buffer: ChecksummedBuffer, offset: number, length: number): string | undefined {
  if (length <= RECORD_HEADER_BYTES || length > RECORD_BYTES) return `it has ${length} bytes`;
  const { view } = buffer;
  if (view.getUint32(offset, true) !== RECORD_MAGIC) return 'its magic number is wrong';
  const payloadLength = view.getUint32(offset + 24, true);
  if (payloadLength !== length - RECORD_HEADER_BYTES) {
    return `its payload length is ${payloadLength}, but ${length - RECORD_HEADER_BYTES} bytes are there`;
  }
  if (view.getUint32(offset + 4, true) !== buffer.crc32c(offset + 8, length - 8)) return 'its CRC32C differs';
  if (view.getUint16(offset + 30, true) !== 0) return 'its origin is not 0';
  if ((view.getUint16(offset + 34, true) & ~ALL_FLAGS) !== 0) return 'it has unknown flags';
  return undefined;
}

export function writeEntryHeader(view: DataView, offset: number, header: EntryHeader, bodyLength: number): void {
  const { kind, flags, producer, incarnation, milliseconds } = header;
  view.setUint8(offset, kind);
  view.setUint8(offset + 1, flags);
  view.setUint16(offset + 2, 0, true);
  view.setUint32(offset + 4, bodyLength, true);
  view.setUint32(offset + 8, producer, true);
  view.setUint32(offset + 12, incarnation, true);
  // A bigint would cost as much as all the rest
  view.setUint32(offset + 16, milliseconds >>> 0, true);
  view.setInt32(offset + 20, Math.floor(milliseconds / 2 ** 32), true);
}

/** Reads an entry's header; the reserved bytes must be 0, else undefined. */
export function readEntryHeader(view: DataView, offset: number): (EntryHeader & { bodyLength: number }) | undefined {
  if (view.getUint16(offset + 2, true) !== 0) return undefined;
  return {
    kind: view.getUint8(offset),
    flags: view.getUint8(offset + 1),
    bodyLength: view.getUint32(offset + 4, true),
    producer: view.getUint32(offset + 8, true),
    incarnation: view.getUint32(offset + 12, true),
    milliseconds: Number(view.getBigInt64(offset + 16, true)),
  };
}
