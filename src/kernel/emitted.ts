import { generationAt, hasEmitted, markEmitted, slotAddress } from './cells';
import { EMITTED, HEADER, MAX_OPERATIONS, REGISTER_EMITTED } from './layout';
import { writeZigzag } from './varint';

/**
 * What a call has for the history, for the host to keep: rows, which say what the minutes of an hour have changed a counter by, and which counters
 * are gone, by rows without minutes. Rows of one hour add up, so that one may come before the hour is over, or after it. All this is output, as
 * the answer is: replay gives the same at the same sequences again.
 *
 *   0          4                6                  8              12
 *   | u32 slot | u16 generation | u16 bytes in all | u32 hour     | (u8 minute of the hour, zigzag delta) …
 *   |          |                |                  | since 1970   |
 */
const GENERATION: u32 = 4;
const BYTES: u32 = 6;
const HOUR: u32 = 8;
const MINUTES: u32 = 12;

const MINUTES_OF_HOUR: u32 = 60;
/** The longest row of a whole hour, and of one minute. */
const LONGEST: u32 = MINUTES + MINUTES_OF_HOUR * 11;
const SHORT: u32 = 24;
/**
 * Behind here an hour's row has only its sum, in the last minute: 10,000 operations that all close an hour of 60 minutes with more than 31 bits each
 * would not fit otherwise. Three short rows an operation always do.
 */
const DETAILED: u32 = HEADER - MAX_OPERATIONS * 3 * SHORT - LONGEST;

/** Begins the rows of a call. */
export function clearEmitted(): void {
  store<u32>(REGISTER_EMITTED, 0);
}

/** Whether another row may have all its minutes. */
export function hasDetailRoom(): bool {
  return EMITTED + load<u32>(REGISTER_EMITTED) <= DETAILED;
}

/** Begins a row: where its minutes go. */
export function beginRow(slot: u32, hour: u32): u32 {
  const row = EMITTED + load<u32>(REGISTER_EMITTED);
  store<u32>(row, slot);
  store<u16>(row + GENERATION, <u16>generationAt(slotAddress(slot)));
  store<u32>(row + HOUR, hour);
  return row + MINUTES;
}

/** Adds a minute, counted from 1970, to the row at hand: where the next one goes. */
export function addMinute(p: u32, minute: u32, delta: i64): u32 {
  store<u8>(p, <u8>(minute % MINUTES_OF_HOUR));
  return writeZigzag(p + 1, delta);
}

/** Ends the row at hand; one without minutes is none. */
export function endRow(end: u32): void {
  const bytes = load<u32>(REGISTER_EMITTED);
  const row = EMITTED + bytes;
  if (end === row + MINUTES) return;
  store<u16>(row + BYTES, <u16>(end - row));
  store<u32>(REGISTER_EMITTED, bytes + (end - row));
}

/** Says that a counter is gone of which there may be rows. */
export function emitGone(slot: u32): void {
  if (!hasEmitted(slotAddress(slot))) return;
  const row = beginRow(slot, 0) - MINUTES;
  store<u16>(row + BYTES, <u16>MINUTES);
  store<u32>(REGISTER_EMITTED, load<u32>(REGISTER_EMITTED) + MINUTES);
}

/** Emits a row of one minute. */
export function emitMinute(slot: u32, minute: u32, delta: i64): void {
  if (!delta) return;
  endRow(addMinute(beginRow(slot, minute / MINUTES_OF_HOUR), minute, delta));
  markEmitted(slotAddress(slot));
}
