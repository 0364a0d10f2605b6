import { crc32 } from 'node:zlib';
import { AUDIT_KEY_BYTES } from './audit.js';

/**
 * The bytes of a segment that is a plain file (file-segment.ts). All numbers are little-endian; what is checked here is whether
 * a group was written whole. Records and audit items have their own checksums besides (record.ts, audit.ts).
 *
 * The file is a row of blocks of 512 bytes, the smallest sector that a device writes whole. The header and each frame begin with a
 * block, and what is left of the last block of each is 0. So no write touches a block of an earlier frame.
 *
 * Header:
 *
 * ```
 *  0       4       8      16             20
 *  +-------+-------+------+--------------+-------- - -
 *  | magic | CRC32 | salt | begin length | begin (begin.ts)
 *  |  u32  |  u32  | u64  |     u32      |
 *  +-------+-------+------+--------------+-------- - -
 * ```
 *
 * Its CRC32 covers the bytes from 8 to 20. The salt is random. Whatever a client writes, it can't make its own bytes look like a frame.
 *
 * Frame, one for each group:
 *
 * ```
 *  0       4       8      16             24        28      32     36       40        44         48
 *  +-------+-------+------+--------------+---------+-------+------+--------+---------+----------+------- - -
 *  | magic | CRC32 | salt | first record | records | audit | head | bodies | CRC32   | reserved | lengths of the records, u32 each
 *  |  u32  | u32   | u64  | u48, u16 = 0 |   u32   | items | bytes| bytes  | of the  | u32 = 0  | audit items
 *  |       |       |      |              |         |  u32  | u32  |  u32   | bodies  |          | bodies: the records
 *  +-------+-------+------+--------------+---------+-------+------+--------+---------+----------+------- - -
 *
 *  audit item   0              2     12
 *               +--------------+-----+------- - -
 *               | value length | key | value      (audit.ts)
 *               |     u16      |     |
 *               +--------------+-----+------- - -
 * ```
 *
 * The head is what stands before the bodies; its CRC32 covers the bytes of it from 8 on. CRC32 is that of IEEE 802.3.
 */
export const BLOCK_BYTES = 512;
/** The part of the header, and of a frame, whose length is fixed. */
export const FILE_HEADER_BYTES = 20;
export const FRAME_HEADER_BYTES = 48;
const FILE_MAGIC = 0x46_53_4c_54; // "TLSF" in the order of the bytes
const FRAME_MAGIC = 0x52_46_4c_54; // "TLFR"
const ITEM_HEADER_BYTES = 2 + AUDIT_KEY_BYTES;

export interface StoredItem {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** What the fixed part of a frame says of the rest. */
export interface FrameHeader {
  readonly firstRecord: number;
  readonly records: number;
  readonly items: number;
  readonly headBytes: number;
  readonly bodyBytes: number;
  readonly bodyCrc: number;
}

export function blocksOf(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}

/** The header of a file, to the end of its last block. */
export function encodeFileHeader(salt: bigint, begin: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(blocksOf(FILE_HEADER_BYTES + begin.length));
  bytes.writeUInt32LE(FILE_MAGIC, 0);
  bytes.writeBigUInt64LE(salt, 8);
  bytes.writeUInt32LE(begin.length, 16);
  bytes.writeUInt32LE(crc32(bytes.subarray(8, FILE_HEADER_BYTES)), 4);
  bytes.set(begin, FILE_HEADER_BYTES);
  return bytes;
}

/** @returns undefined where that is no header; `beginBytes` may be more than the file has. */
export function decodeFileHeader(bytes: Buffer): { readonly salt: bigint; readonly beginBytes: number } | undefined {
  if (bytes.length < FILE_HEADER_BYTES || bytes.readUInt32LE(0) !== FILE_MAGIC) return undefined;
  if (bytes.readUInt32LE(4) !== crc32(bytes.subarray(8, FILE_HEADER_BYTES))) return undefined;
  return { salt: bytes.readBigUInt64LE(8), beginBytes: bytes.readUInt32LE(16) };
}

/** The head of a frame; the records follow it. */
export function encodeFrameHead(
  salt: bigint,
  firstRecord: number,
  records: readonly Uint8Array[],
  items: readonly StoredItem[],
): Uint8Array {
  const itemBytes = items.reduce((sum, { value }) => sum + ITEM_HEADER_BYTES + value.length, 0);
  const head = Buffer.alloc(FRAME_HEADER_BYTES + 4 * records.length + itemBytes);
  head.writeUInt32LE(FRAME_MAGIC, 0);
  head.writeBigUInt64LE(salt, 8);
  head.writeUIntLE(firstRecord, 16, 6);
  head.writeUInt32LE(records.length, 24);
  head.writeUInt32LE(items.length, 28);
  head.writeUInt32LE(head.length, 32);
  let bodyBytes = 0;
  let bodyCrc = 0;
  let offset = FRAME_HEADER_BYTES;
  for (const record of records) {
    offset = head.writeUInt32LE(record.length, offset);
    bodyBytes += record.length;
    bodyCrc = crc32(record, bodyCrc);
  }
  head.writeUInt32LE(bodyBytes, 36);
  head.writeUInt32LE(bodyCrc, 40);
  for (const { key, value } of items) {
    offset = head.writeUInt16LE(value.length, offset);
    head.set(key, offset);
    head.set(value, offset + AUDIT_KEY_BYTES);
    offset += AUDIT_KEY_BYTES + value.length;
  }
  head.writeUInt32LE(crc32(head.subarray(8)), 4);
  return head;
}

/** @returns undefined where no frame of a file with that salt can be; its lengths may be more than the file has. */
export function decodeFrameHeader(bytes: Buffer, salt: bigint): FrameHeader | undefined {
  if (bytes.length < FRAME_HEADER_BYTES || bytes.readUInt32LE(0) !== FRAME_MAGIC) return undefined;
  if (bytes.readBigUInt64LE(8) !== salt) return undefined;
  return {
    firstRecord: bytes.readUIntLE(16, 6),
    records: bytes.readUInt32LE(24),
    items: bytes.readUInt32LE(28),
    headBytes: bytes.readUInt32LE(32),
    bodyBytes: bytes.readUInt32LE(36),
    bodyCrc: bytes.readUInt32LE(40),
  };
}

/** Whether that is the whole head of a frame. */
export function isWholeHead(head: Buffer): boolean {
  return head.readUInt32LE(4) === crc32(head.subarray(8)) && head.readUInt32LE(44) === 0;
}

/** The lengths of the records, from a whole head. */
export function recordLengths(head: Buffer, { records }: FrameHeader): number[] {
  return Array.from({ length: records }, (_, index) => head.readUInt32LE(FRAME_HEADER_BYTES + 4 * index));
}

/** Where the audit items stand in a whole head: their keys, and from where to where their values go. */
export function itemsOf(head: Buffer, { records, items }: FrameHeader) {
  let offset = FRAME_HEADER_BYTES + 4 * records;
  return Array.from({ length: items }, () => {
    const key = head.subarray(offset + 2, offset + ITEM_HEADER_BYTES);
    const start = offset + ITEM_HEADER_BYTES;
    offset = start + head.readUInt16LE(offset);
    return { key, start, end: offset };
  });
}
