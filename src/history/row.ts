import { TallystickError } from '../errors.js';
import { ChecksummedBuffer } from '../log/checksum.js';
import type { Resolution } from '../series/bucket.js';
import { type Sums, UNITS } from './bucket.js';
import { keyBytes, MINUTE_KEY_BYTES } from './key.js';

/**
 * The value of a row: the sums of its 60 minutes, 24 hours or 64 days.
 *
 * ```
 *  0        4
 *  +--------+-------+-------------------+-------+------- - -
 *  | CRC32C | token | differences       | token |
 *  |  u32   |  u8   | zigzag varint × n |  u8   |
 *  +--------+-------+-------------------+-------+------- - -
 *
 *  token:  bits 0-5  n - 1
 *          bits 6-7  0  n units without a change
 *                    1  n units, each as the difference from the unit before it (from 0 for the first)
 *                    2  n units as large as the one before
 * ```
 *
 * - CRC32C (RFC 3720, little-endian) covers the row's key and the tokens, so that a value under another key is damage too.
 * - After the last token nothing happened. A sum of 0 is not nothing: half of such an hour may be +1, and the other half -1.
 * - Sums go beyond 64 bits: a value stays within them, but +1 in one hour and -1 in another, 2^63 times, do not. 128 bits
 *   are never left: that would take 2^64 steps of the whole range.
 * - A minute costs about a byte where counts are small, an hour with the same count in each minute seven bytes.
 */
const CRC_BYTES = 4;
const NOTHING = 0;
const DIFFERENCES = 1;
const SAME = 2;
/** Among differences a shorter run of the same costs less than what its token and the next one take. */
const SHORTEST_RUN = 3;
/** Of a zigzag difference of two 128-bit sums. */
const MAX_VARINT_BYTES = 19;
const MAX_VALUE_BYTES = CRC_BYTES + 64 * (1 + MAX_VARINT_BYTES);
const SUM_LIMIT = 1n << 127n;

/** Encodes and decodes the rows of one thread. */
export class RowCodec {
  readonly #buffer = new ChecksummedBuffer(MINUTE_KEY_BYTES + MAX_VALUE_BYTES);

  /**
   * @param sums as many as the resolution has units in a row
   * @returns undefined where nothing happened at all
   * @throws TallystickError INTERNAL for a sum beyond 128 bits
   */
  encode(resolution: Resolution, key: Uint8Array, sums: Sums): Uint8Array | undefined {
    if (sums.length !== UNITS[resolution]) throw new RangeError(`${sums.length} sums in a row by ${resolution}.`);
    const { bytes, view } = this.#buffer;
    const start = key.length;
    const end = encodeUnits(bytes, start + CRC_BYTES, sums);
    if (end === start + CRC_BYTES) return undefined;
    view.setUint32(start, this.#crc(key, start, end), true);
    return bytes.slice(start, end);
  }

  /** @throws TallystickError DATA_DAMAGED */
  decode(resolution: Resolution, key: Uint8Array, stored: Uint8Array): (bigint | undefined)[] {
    const sums: (bigint | undefined)[] = [];
    this.#read(resolution, key, stored, (sum, count) => {
      for (let unit = 0; unit < count; unit++) sums.push(sum);
    });
    while (sums.length < UNITS[resolution]) sums.push(undefined);
    return sums;
  }

  /** What all units come to. @throws TallystickError DATA_DAMAGED */
  sum(resolution: Resolution, key: Uint8Array, stored: Uint8Array): bigint {
    let total = 0n;
    this.#read(resolution, key, stored, (sum, count) => {
      if (sum !== undefined) total += count === 1 ? sum : sum * BigInt(count);
    });
    return total;
  }

  /** Checks a row and visits its runs of units. */
  #read(resolution: Resolution, key: Uint8Array, stored: Uint8Array, visit: Visit): void {
    if (key.length !== keyBytes(resolution)) throw damaged(resolution, key, `its key has ${key.length} bytes`);
    const { length } = stored;
    if (length <= CRC_BYTES || length > MAX_VALUE_BYTES) throw damaged(resolution, key, `it has ${length} bytes`);
    const { bytes, view } = this.#buffer;
    const start = key.length;
    const end = start + length;
    bytes.set(stored, start);
    const crc = view.getUint32(start, true);
    if (crc !== this.#crc(key, start, end)) throw damaged(resolution, key, 'its CRC32C differs');
    if (!visitUnits(bytes.subarray(start + CRC_BYTES, end), UNITS[resolution], visit))
      throw damaged(resolution, key, 'it says what no row can say');
  }

  /** Of the key and what lies from `start` to `end` behind the CRC, whose place it overwrites with the key's last bytes. */
  #crc(key: Uint8Array, start: number, end: number): number {
    const from = start + CRC_BYTES - key.length;
    this.#buffer.bytes.set(key, from);
    return this.#buffer.crc32c(from, end - from);
  }
}

export function damaged(what: string, key: Uint8Array, fault: string): TallystickError {
  return new TallystickError(
    'DATA_DAMAGED',
    `The history's row by ${what} ${Buffer.from(key).toString('hex')}: ${fault}.`,
  );
}

function encodeUnits(bytes: Uint8Array, start: number, sums: Sums): number {
  let units = sums.length;
  while (units > 0 && sums[units - 1] === undefined) units--;
  let end = start;
  let before = 0n;
  for (let unit = 0; unit < units; ) {
    const first = unit;
    const kind = sums[unit] === undefined ? NOTHING : sums[unit] === before ? SAME : DIFFERENCES;
    const token = end++;
    if (kind === DIFFERENCES) {
      for (let sum = sums[unit]; sum !== undefined && runOf(sums, unit, before) < SHORTEST_RUN; sum = sums[unit]) {
        end = writeDifference(bytes, end, sum, before);
        before = sum;
        unit++;
      }
    } else {
      unit += runOf(sums, unit, sums[unit]);
    }
    bytes[token] = (kind << 6) | (unit - first - 1);
  }
  return end;
}

/** How many units from there on are like that. */
function runOf(sums: Sums, from: number, sum: bigint | undefined): number {
  let end = from;
  while (end < sums.length && sums[end] === sum) end++;
  return end - from;
}

function writeDifference(bytes: Uint8Array, at: number, sum: bigint, before: bigint): number {
  if (sum >= SUM_LIMIT || sum < -SUM_LIMIT)
    throw new TallystickError('INTERNAL', 'A sum of history is beyond 128 bits.');
  const difference = sum - before;
  let end = at;
  // A bigint is slow, and nearly all differences are small.
  if (difference >= -0x4000_0000n && difference < 0x4000_0000n) {
    const small = Number(difference);
    let rest = ((small << 1) ^ (small >> 31)) >>> 0;
    for (; rest > 0x7f; rest >>>= 7) bytes[end++] = (rest & 0x7f) | 0x80;
    bytes[end++] = rest;
    return end;
  }
  let rest = difference >= 0n ? difference << 1n : (-difference << 1n) - 1n;
  for (; rest > 0x7fn; rest >>= 7n) bytes[end++] = Number(rest & 0x7fn) | 0x80;
  bytes[end++] = Number(rest);
  return end;
}

/** Takes so many units with the same sum, or with none, one run after the other. */
type Visit = (sum: bigint | undefined, count: number) => void;

/** False for bytes that `encodeUnits` does not write. Units after the last run are not visited. */
function visitUnits(bytes: Uint8Array, units: number, visit: Visit): boolean {
  let before = 0n;
  let visited = 0;
  for (let at = 0; at < bytes.length; ) {
    const token = bytes[at++] as number;
    const count = (token & 0x3f) + 1;
    const kind = token >> 6;
    visited += count;
    if (kind > SAME || visited > units) return false;
    if (kind !== DIFFERENCES) {
      visit(kind === NOTHING ? undefined : before, count);
      continue;
    }
    for (let unit = 0; unit < count; unit++) {
      const end = varintEnd(bytes, at);
      if (end === 0) return false;
      before += readDifference(bytes, at, end);
      visit(before, 1);
      at = end;
    }
  }
  return true;
}

/** 0 where none ends within its length. */
function varintEnd(bytes: Uint8Array, start: number): number {
  const limit = Math.min(bytes.length, start + MAX_VARINT_BYTES);
  for (let at = start; at < limit; at++) if ((bytes[at] as number) < 0x80) return at + 1;
  return 0;
}

function readDifference(bytes: Uint8Array, start: number, end: number): bigint {
  if (end - start <= 4) {
    let small = 0;
    for (let at = end - 1; at >= start; at--) small = (small << 7) | ((bytes[at] as number) & 0x7f);
    return BigInt((small >>> 1) ^ -(small & 1));
  }
  let doubled = 0n;
  for (let at = end - 1; at >= start; at--) doubled = (doubled << 7n) | BigInt((bytes[at] as number) & 0x7f);
  return (doubled >> 1n) ^ -(doubled & 1n);
}
