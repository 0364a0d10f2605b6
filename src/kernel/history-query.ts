import { classOfRecord, KEY_LENGTH, SLOT } from './batch';
import { existsAt, generationAt, slotAddress, trackAt, valueAt } from './cells';
import { HISTORY, historySince, keepsOf, numberOf } from './classes';
import { clearEmitted } from './emitted';
import { ANSWER, BAD_REQUEST, ID_UNKNOWN, NOT_TRACKED, OK, SCRATCH } from './layout';
import { emitOpenHour } from './rings';
import { formOf, SPARSE } from './tracks';

/**
 * What the history of a counter is read with: whose it is, and its value. What its history lacks, as its hour is not over, is emitted as if it
 * were (emitted.ts).
 *
 *   0               4                  8           16               18          19         20
 *   | u32 slot + 1, | u32 first minute | i64 value | u16 generation | u8 whether  | u8 number |
 *   | 0 = none      | that is known    |           |                | it exists   | of class  |
 */
const SINCE: u32 = 4;
const VALUE: u32 = 8;
const GENERATION: u32 = 16;
const EXISTS: u32 = 18;
const CLASS: u32 = 19;
export const HISTORY_ANSWER_BYTES: u32 = 20;

/** OK, with the answer for the one decoded key; the status that refuses it. */
export function answerHistory(count: u32): u32 {
  clearEmitted();
  if (count !== 1) return BAD_REQUEST;
  const slot = load<u32>(SCRATCH + SLOT);
  const length = load<u32>(SCRATCH + KEY_LENGTH);
  if (!slot && !length) return ID_UNKNOWN;
  const cell = slot ? slotAddress(slot - 1) : 0;
  const known = classOfRecord(SCRATCH, slot);
  if (!(keepsOf(known) & HISTORY)) return NOT_TRACKED;
  memory.fill(ANSWER, 0, HISTORY_ANSWER_BYTES);
  store<u32>(ANSWER + SINCE, historySince(known));
  store<u8>(ANSWER + CLASS, <u8>numberOf(known));
  if (!slot) return OK;
  store<u32>(ANSWER, slot);
  store<u16>(ANSWER + GENERATION, <u16>generationAt(cell));
  store<u8>(ANSWER + EXISTS, existsAt(cell) ? 1 : 0);
  store<i64>(ANSWER + VALUE, valueAt(cell));
  const track = trackAt(cell);
  if (track && formOf(track) >= SPARSE) emitOpenHour(track);
  return OK;
}
