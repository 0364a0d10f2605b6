import type { Resolution } from '../series/bucket.js';
import { type CounterKey, type HistoryPlace, type HistoryRow, placeOf } from './bucket.js';

/**
 * The keys of history, all numbers big-endian, so that their bytes sort as they do.
 *
 * ```
 *  0           2    6      10           12      18      20
 *  +-----------+----+------+------------+-------+-------+
 *  | partition | at | slot | generation | as of | index |    as of, index: minutes alone
 *  |    u16    | u32| u32  |    u16     |  u48  |  u16  |
 *  +-----------+----+------+------------+-------+-------+
 * ```
 *
 * `at` numbers the spans of a resolution since 1970: hours that hold minutes, days that hold hours, blocks of 64 days. The
 * span comes before the counter, because an hour closes for all counters at once: their rows are written side by side, and
 * taken away side by side. With the counter first each row would dirty a page of its own. Measured with 40,000 counters
 * and 48 hours in transactions of 2,000 rows of 20 bytes: 161,000 rows a second against 39,000, 1.4 KB written a row against
 * 32 KB; reading the 48 hours of a counter takes 0.42 ms against 0.08 ms.
 */
export const KEY_BYTES = 12;
export const MINUTE_KEY_BYTES = 20;
const AS_OF_BYTES = 6;

/** The first key of a counter in a span: that of its row, or of its first one of minutes. */
export function keyOf({ partition, slot, generation }: CounterKey, at: number): Buffer {
  return writeKey(Buffer.alloc(KEY_BYTES), partition, at, slot, generation);
}

/** The key of a row of minutes, of which none has its own twice: it names the place in the log from which the row comes. */
export function minuteKeyOf(
  partition: number,
  { slot, generation, hour, asOf, index }: Omit<HistoryRow, 'minutes'>,
): Buffer {
  const key = writeKey(Buffer.alloc(MINUTE_KEY_BYTES), partition, hour, slot, generation);
  key.writeUIntBE(asOf, KEY_BYTES, AS_OF_BYTES);
  key.writeUInt16BE(index, KEY_BYTES + AS_OF_BYTES);
  return key;
}

function writeKey(key: Buffer, partition: number, at: number, slot: number, generation: number): Buffer {
  key.writeUInt16BE(partition, 0);
  key.writeUInt32BE(at, 2);
  key.writeUInt32BE(slot, 6);
  key.writeUInt16BE(generation, 10);
  return key;
}

/** Where the row of a key of minutes stands in what its partition emits. */
export function minutePlaceOf(key: Uint8Array): HistoryPlace {
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.length);
  const asOf = bytes.readUIntBE(KEY_BYTES, AS_OF_BYTES);
  return placeOf({ asOf, index: bytes.readUInt16BE(KEY_BYTES + AS_OF_BYTES) });
}

const MAX_U32 = 0xffff_ffff;

/** The first key of a span, or of the slots from `slot` in it. Beyond the last number: the end of what is before. */
export function spanStart(partition: number, at: number, slot = 0): Buffer {
  if (partition > 0xffff) return Buffer.alloc(MINUTE_KEY_BYTES + 1, 0xff);
  if (at > MAX_U32) return spanStart(partition + 1, 0);
  if (slot > MAX_U32) return spanStart(partition, at + 1);
  const key = Buffer.alloc(10);
  key.writeUInt16BE(partition, 0);
  key.writeUInt32BE(at, 2);
  key.writeUInt32BE(slot, 6);
  return key;
}

/** The smallest key that is greater. */
export const after = (key: Uint8Array): Buffer => Buffer.concat([key, Buffer.alloc(1)]);

export interface KeyParts extends CounterKey {
  readonly at: number;
}

export function partsOf(key: Uint8Array): KeyParts {
  const view = new DataView(key.buffer, key.byteOffset, key.length);
  return {
    partition: view.getUint16(0),
    at: view.getUint32(2),
    slot: view.getUint32(6),
    generation: view.getUint16(10),
  };
}

export const isOf = ({ partition, slot, generation }: CounterKey, other: CounterKey): boolean =>
  partition === other.partition && slot === other.slot && generation === other.generation;

export const keyBytes = (resolution: Resolution): number => (resolution === 'minute' ? MINUTE_KEY_BYTES : KEY_BYTES);
