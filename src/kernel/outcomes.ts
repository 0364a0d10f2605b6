import { RECORD_BYTES, STATUS } from './batch';
import { ANSWER, H_APPLIED, H_REFUSED, REGISTER_OPERATIONS, SCRATCH } from './layout';
import { writeVarint } from './varint';

/** What SEE and ONCE tell of their operations, whose records in SCRATCH have a status. */

/** Counts operations that were applied, and lets the host ask for their slots. */
export function noteOperations(count: u32, refused: u32): void {
  store<u32>(REGISTER_OPERATIONS, count);
  store<u64>(H_APPLIED, load<u64>(H_APPLIED) + (count - refused));
  store<u64>(H_REFUSED, load<u64>(H_REFUSED) + refused);
}

/** Writes `refused | refused × (index, status)` to ANSWER: where it ends. */
export function writeRefused(end: u32, refused: u32): u32 {
  let p = writeVarint(ANSWER, refused);
  for (let record = SCRATCH; refused && record < end; record += RECORD_BYTES) {
    const status = load<u32>(record + STATUS);
    if (!status) continue;
    p = writeVarint(p, (record - SCRATCH) / RECORD_BYTES);
    store<u8>(p++, <u8>status);
  }
  return p;
}

/** Writes so many bits of a word of each record, the first in the lowest bits of a byte, zeros behind the last: where they end. */
export function writeBits(p: u32, end: u32, word: u32, width: u32): u32 {
  let bits: u32 = 0;
  let shift: u32 = 0;
  for (let record = SCRATCH; record < end; record += RECORD_BYTES) {
    bits |= load<u32>(record + word) << shift;
    shift = (shift + width) & 7;
    if (shift && record + RECORD_BYTES < end) continue;
    store<u8>(p++, <u8>bits);
    bits = 0;
  }
  return p;
}
