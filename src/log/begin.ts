import { ChecksummedBuffer } from './checksum.js';
import type { ChainHead, LogPlace } from './log.js';

/**
 * The place before the first record of a segment, as the segment states it.
 *
 * ```
 *  0       4        8       16        24      32      36         40
 *  +-------+--------+-------+---------+-------+-------+----------+--------------------------------------------- - -
 *  | magic | CRC32C | group | records | bytes | heads | reserved | heads x ( partition u16, sequence u64, hash u64 )
 *  |  u32  |  u32   |  u64  |   u64   |  u64  |  u32  | u32 = 0  |
 *  +-------+--------+-------+---------+-------+-------+----------+--------------------------------------------- - -
 * ```
 *
 * All little-endian; CRC32C covers the bytes from 8 to the end.
 */
const MAGIC = 0x53_59_4c_54; // "TLYS" in the order of the bytes
const HEADER_BYTES = 40;
const HEAD_BYTES = 18;
const MAXIMUM_BYTES = HEADER_BYTES + 65_536 * HEAD_BYTES;

export function encodeBegin({ group, records, bytes, heads }: LogPlace): Uint8Array {
  const buffer = new ChecksummedBuffer(HEADER_BYTES + heads.size * HEAD_BYTES);
  const { view } = buffer;
  view.setUint32(0, MAGIC, true);
  view.setBigUint64(8, BigInt(group), true);
  view.setBigUint64(16, BigInt(records), true);
  view.setBigUint64(24, BigInt(bytes), true);
  view.setUint32(32, heads.size, true);
  view.setUint32(36, 0, true);
  let offset = HEADER_BYTES;
  for (const [partition, { sequence, hash }] of heads) {
    view.setUint16(offset, partition, true);
    view.setBigUint64(offset + 2, BigInt(sequence), true);
    view.setBigUint64(offset + 10, hash, true);
    offset += HEAD_BYTES;
  }
  view.setUint32(4, buffer.crc32c(8, offset - 8), true);
  return buffer.bytes.slice();
}

/** @returns undefined if the bytes are not those of a whole place. */
export function decodeBegin(bytes: Uint8Array): LogPlace | undefined {
  const { length } = bytes;
  if (length < HEADER_BYTES || length > MAXIMUM_BYTES) return undefined;
  const buffer = new ChecksummedBuffer(length);
  buffer.bytes.set(bytes);
  const { view } = buffer;
  const count = view.getUint32(32, true);
  if (view.getUint32(0, true) !== MAGIC || length !== HEADER_BYTES + count * HEAD_BYTES) return undefined;
  if (view.getUint32(4, true) !== buffer.crc32c(8, length - 8)) return undefined;
  const heads = new Map<number, ChainHead>();
  for (let offset = HEADER_BYTES; offset < length; offset += HEAD_BYTES) {
    const sequence = Number(view.getBigUint64(offset + 2, true));
    heads.set(view.getUint16(offset, true), { sequence, hash: view.getBigUint64(offset + 10, true) });
  }
  return {
    group: Number(view.getBigUint64(8, true)),
    records: Number(view.getBigUint64(16, true)),
    bytes: Number(view.getBigUint64(24, true)),
    heads,
  };
}
