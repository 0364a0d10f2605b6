import { RESOLUTIONS, type Resolution } from '../series/bucket.js';
import type { CounterKey } from './bucket.js';
import { keyBytes, partsOf } from './key.js';
import type { RowCodec } from './row.js';
import type { Put, StoredRow } from './tables.js';

/**
 * Rows in a row, and counters that are gone, as a backup has them; all numbers little-endian.
 *
 * ```
 *  rows                                                        counters that are gone
 *  +------------+----------------------+--------------+------+---------+   +----------+----------------+------
 *  | resolution | key: 20 bytes, of    | length of the| value|  the    |   | slot u32 | generation u16 |  …
 *  |  u8: 0-2   | hours and days 12    | value u16    |      |  next … |   |          |                |
 *  +------------+----------------------+--------------+------+---------+   +----------+----------------+------
 * ```
 *
 * Keys and values are those of key.ts and row.ts; each value has a CRC32C that covers its key too.
 */
const HEAD_BYTES = 3;
const GONE_BYTES = 6;

export type GoneCounter = Omit<CounterKey, 'partition'>;

/** Bytes that a row takes. */
export const rowBytes = ({ key, value }: StoredRow): number => HEAD_BYTES + key.length + value.length;

export function encodeRows(rows: readonly Put[]): Uint8Array {
  const bytes = Buffer.alloc(rows.reduce((sum, row) => sum + rowBytes(row), 0));
  let at = 0;
  for (const { resolution, key, value } of rows) {
    at = bytes.writeUInt8(RESOLUTIONS.indexOf(resolution), at);
    bytes.set(key, at);
    at = bytes.writeUInt16LE(value.length, at + key.length);
    bytes.set(value, at);
    at += value.length;
  }
  return bytes;
}

/** Undefined for bytes that `encodeRows` does not write. @throws TallystickError DATA_DAMAGED for a row that fails its checks */
export function decodeRows(stored: Uint8Array, partition: number, codec: RowCodec): Put[] | undefined {
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.length);
  const rows: Put[] = [];
  for (let at = 0; at < bytes.length; ) {
    const resolution: Resolution | undefined = RESOLUTIONS[bytes.readUInt8(at)];
    if (!resolution) return undefined;
    const keyEnd = at + 1 + keyBytes(resolution);
    if (keyEnd + 2 > bytes.length) return undefined;
    const key = bytes.subarray(at + 1, keyEnd);
    const end = keyEnd + 2 + bytes.readUInt16LE(keyEnd);
    if (end > bytes.length || partsOf(key).partition !== partition) return undefined;
    const value = bytes.subarray(keyEnd + 2, end);
    codec.decode(resolution, key, value);
    rows.push({ resolution, key, value });
    at = end;
  }
  return rows;
}

export function encodeGone(counters: readonly GoneCounter[]): Uint8Array {
  const bytes = Buffer.alloc(counters.length * GONE_BYTES);
  let at = 0;
  for (const { slot, generation } of counters) at = bytes.writeUInt16LE(generation, bytes.writeUInt32LE(slot, at));
  return bytes;
}

/** Undefined for bytes that `encodeGone` does not write. */
export function decodeGone(stored: Uint8Array): GoneCounter[] | undefined {
  if (stored.length % GONE_BYTES !== 0) return undefined;
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.length);
  return Array.from({ length: bytes.length / GONE_BYTES }, (_, i) => ({
    slot: bytes.readUInt32LE(i * GONE_BYTES),
    generation: bytes.readUInt16LE(i * GONE_BYTES + 4),
  }));
}
