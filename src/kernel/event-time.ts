import { HAS_ID, HAS_MAX, HAS_MIN, HAS_TIME, OPERATION_ID_BYTES } from './batch';
import { keepsOf, LATE_IN_TOTAL, latenessOf, WINDOWS } from './classes';
import { H_TIME, MAX_TIME, OK, REGISTER_NEXT, TIME_AHEAD, TIME_TOO_OLD } from './layout';
import { readVarint64 } from './varint';

/** Minutes since 1970, of the server's clock and of an increment that brings a time of its own. */

/** How far the time of an increment may lie ahead of the server's. */
const AHEAD: i64 = 60000;
const NO_TIME: i64 = -1;

export function minuteOf(milliseconds: i64): u32 {
  return <u32>(bounded(milliseconds) / 60000);
}

function bounded(milliseconds: i64): i64 {
  return min<i64>(max<i64>(milliseconds, 0), MAX_TIME);
}

/** The second since 1970 to which the change of an operation belongs: of the time that it brings, else of the body at hand. `extension` may be 0. */
export function secondOf(extension: u32): i64 {
  const time = extension ? timeOf(extension) : NO_TIME;
  return bounded(time < 0 ? load<i64>(H_TIME) : time) / 1000;
}

/** The minute of the body at hand. */
export function nowMinute(): u32 {
  return minuteOf(load<i64>(H_TIME));
}

/** The time that an extended operation brings; negative without one. */
export function timeOf(extension: u32): i64 {
  return <u32>load<u8>(extension) & HAS_TIME ? <i64>readVarint64(behindId(extension)) : NO_TIME;
}

/** Where an extended operation says when its counter expires, if it does. */
export function expiryPart(extension: u32): u32 {
  const p = behindId(extension);
  if (!(<u32>load<u8>(extension) & HAS_TIME)) return p;
  readVarint64(p);
  return load<u32>(REGISTER_NEXT);
}

/** Where an extended operation goes on behind its bounds and its id. */
function behindId(extension: u32): u32 {
  const fields = <u32>load<u8>(extension);
  let p = extension + 1;
  for (let bounds = popcnt<u32>(fields & (HAS_MIN | HAS_MAX)); bounds; bounds--) {
    readVarint64(p);
    p = load<u32>(REGISTER_NEXT);
  }
  return fields & HAS_ID ? p + OPERATION_ID_BYTES : p;
}

/** OK, or why a class refuses the time of an extended operation. */
export function checkTime(known: u32, extension: u32): u32 {
  const time = timeOf(extension);
  if (time < 0 || !(keepsOf(known) & WINDOWS)) return OK;
  if (time - load<i64>(H_TIME) > AHEAD) return TIME_AHEAD;
  return isTooOld(known, time) && !(keepsOf(known) & LATE_IN_TOTAL) ? TIME_TOO_OLD : OK;
}

function isTooOld(known: u32, time: i64): bool {
  const lateness = latenessOf(known);
  return lateness >= 0 && load<i64>(H_TIME) - time > lateness;
}

/** The minute to which the change of an extended operation belongs, of a counter of this class, plus one; 0 where it is too old to have one. */
export function minuteOfExtension(known: u32, extension: u32): u32 {
  const time = timeOf(extension);
  if (time < 0) return nowMinute() + 1;
  return isTooOld(known, time) ? 0 : minuteOf(time) + 1;
}
