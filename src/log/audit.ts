import { TallystickError } from '../errors.js';
import type { ChecksummedBuffer } from './checksum.js';
import type { AuditItem } from './record.js';

/**
 * An audit item in storage. The key is big-endian, so that items lie in the order of partition and sequence.
 *
 * ```
 *  key                       value
 *  0           2          10  0        4
 *  +-----------+----------+   +--------+------- - -
 *  | partition | sequence |   | CRC32C | MessagePack
 *  |  u16 BE   |  u64 BE  |   | u32 LE |
 *  +-----------+----------+   +--------+------- - -
 * ```
 *
 * CRC32C covers the key and the MessagePack.
 */
export const AUDIT_KEY_BYTES = 10;
const CRC_BYTES = 4;
/** The most MessagePack bytes of one item. */
export const AUDIT_VALUE_BYTES = 4_096;
/** The length of the buffer that the functions below compute in. */
export const AUDIT_SCRATCH_BYTES = AUDIT_KEY_BYTES + AUDIT_VALUE_BYTES;

export function encodeAuditItem(scratch: ChecksummedBuffer, item: AuditItem): { key: Uint8Array; value: Uint8Array } {
  const key = Buffer.alloc(AUDIT_KEY_BYTES);
  key.writeUInt16BE(item.partition, 0);
  key.writeBigUInt64BE(BigInt(item.sequence), 2);
  const value = Buffer.alloc(CRC_BYTES + item.value.length);
  value.writeUInt32LE(checksum(scratch, key, item.value), 0);
  value.set(item.value, CRC_BYTES);
  return { key, value };
}

/** @throws TallystickError LOG_CORRUPT for an item that fails its checksum. */
export function decodeAuditItem(scratch: ChecksummedBuffer, key: Uint8Array, stored: Uint8Array): AuditItem {
  const keyBytes = Buffer.from(key);
  const storedBytes = Buffer.from(stored);
  const value = storedBytes.subarray(CRC_BYTES);
  if (
    keyBytes.length !== AUDIT_KEY_BYTES ||
    storedBytes.length < CRC_BYTES ||
    value.length > AUDIT_VALUE_BYTES ||
    storedBytes.readUInt32LE(0) !== checksum(scratch, keyBytes, value)
  ) {
    throw new TallystickError('LOG_CORRUPT', `The audit item ${keyBytes.toString('hex')} fails its checksum.`);
  }
  return { partition: keyBytes.readUInt16BE(0), sequence: Number(keyBytes.readBigUInt64BE(2)), value };
}

function checksum(scratch: ChecksummedBuffer, key: Uint8Array, value: Uint8Array): number {
  scratch.bytes.set(key, 0);
  scratch.bytes.set(value, key.length);
  return scratch.crc32c(0, key.length + value.length);
}
