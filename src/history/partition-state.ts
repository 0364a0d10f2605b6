import { TallystickError } from '../errors.js';
import { ChecksummedBuffer } from '../log/checksum.js';
import type { HistoryPlace } from './bucket.js';

/**
 * How far the history of a partition is. Each transaction changes it, in the same transaction.
 *
 * ```
 *  0        4        6       8           16         24      32
 *  +--------+--------+-------+-----------+----------+-------+
 *  | CRC32C | format | items | watermark | revision | since |    little-endian, under the partition's number, u16 big-endian
 *  |  u32   |  u16   |  u16  |    u64    |   u64    |  u64  |
 *  +--------+--------+-------+-----------+----------+-------+
 * ```
 *
 * CRC32C covers the key and the bytes from 4 to the end.
 */
const STATE_BYTES = 32;
const FORMAT = 1;
const KEY_BYTES = 2;

/** The key and all but the CRC of the state at hand. */
const buffer = new ChecksummedBuffer(KEY_BYTES + STATE_BYTES - 4);
const { bytes, view } = buffer;

/** What the partition emitted up to this place is in, and nothing after it. */
export interface PartitionState extends HistoryPlace {
  /** Counts what replaced or removed rows. What was computed at another one is not written. */
  readonly revision: number;
  /** The first instant of which everything is in, in milliseconds since 1970: of a restored directory, not 0. */
  readonly since: number;
}

export function partitionKey(partition: number): Buffer {
  const key = Buffer.alloc(KEY_BYTES);
  key.writeUInt16BE(partition);
  return key;
}

export function encodeState(partition: number, { watermark, items, revision, since }: PartitionState): Uint8Array {
  bytes.set(partitionKey(partition));
  view.setUint16(KEY_BYTES, FORMAT, true);
  view.setUint16(KEY_BYTES + 2, items, true);
  view.setBigUint64(KEY_BYTES + 4, BigInt(watermark), true);
  view.setBigUint64(KEY_BYTES + 12, BigInt(revision), true);
  view.setBigUint64(KEY_BYTES + 20, BigInt(since), true);
  const stored = new Uint8Array(STATE_BYTES);
  stored.set(bytes.subarray(KEY_BYTES), 4);
  new DataView(stored.buffer).setUint32(0, buffer.crc32c(0, bytes.length), true);
  return stored;
}

/**
 * @param stored undefined where nothing was ever written of the partition
 * @throws TallystickError DATA_DAMAGED; DIRECTORY_INVALID for another format
 */
export function decodeState(partition: number, stored: Uint8Array | undefined): PartitionState {
  if (!stored) return { watermark: 0, items: 0, revision: 0, since: 0 };
  bytes.set(partitionKey(partition));
  const whole = stored.length === STATE_BYTES;
  if (whole) bytes.set(stored.subarray(4), KEY_BYTES);
  const given = whole ? new DataView(stored.buffer, stored.byteOffset).getUint32(0, true) : 0;
  if (!whole || buffer.crc32c(0, bytes.length) !== given) {
    throw new TallystickError('DATA_DAMAGED', `How far the history of partition ${partition} is can't be read.`);
  }
  const format = view.getUint16(KEY_BYTES, true);
  if (format !== FORMAT) {
    throw new TallystickError('DIRECTORY_INVALID', `The history has format ${format}; this server has ${FORMAT}.`);
  }
  return {
    watermark: Number(view.getBigUint64(KEY_BYTES + 4, true)),
    items: view.getUint16(KEY_BYTES + 2, true),
    revision: Number(view.getBigUint64(KEY_BYTES + 12, true)),
    since: Number(view.getBigUint64(KEY_BYTES + 20, true)),
  };
}
