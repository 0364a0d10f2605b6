import { decodeKey, EXTENSION, findStage, RECORD_BYTES, SLOT, STATUS } from './batch';
import { existsAt, slotAddress, trackAt } from './cells';
import { dropExpiry, expiryOf, firstDue, hasExpiryRoom, isDue, setExpiry } from './expiry';
import {
  ABSENT,
  ANSWER,
  BAD_REQUEST,
  H_TIME,
  MAX_TIME,
  MEMORY_FULL,
  NAME_INVALID,
  OK,
  REGISTER_NEXT,
  SCRATCH,
} from './layout';
import { deleteName } from './names';
import { dropIfIdle, openTrack } from './tracks';
import { readVarint64, writeVarint } from './varint';

/**
 * EXPIRE, `key | mode u8 | time varint`, and what becomes of counters whose time has come. No body but a tick is applied while one is past its
 * time, so that none meets it: the host lets ticks come first, and they are in the log.
 */
const NEVER: u32 = 0;
const RELATIVE: u32 = 2;
const IF_NONE: u32 = 4;
/** A tick ends so many counters that are past their time. */
const TICK_EXPIRIES: u32 = 4096;

// The checked EXPIRE, in the registers behind those of a MERGE
const MODE: u32 = 160; // u32
const TIME: u32 = 168; // i64

/** OK or the status that refuses an EXPIRE. */
export function checkExpire(start: u32, end: u32): u32 {
  const p = decodeKey(start, end, SCRATCH);
  if (p <= 1) return p ? NAME_INVALID : BAD_REQUEST;
  if (p >= end || load<u32>(SCRATCH + EXTENSION)) return BAD_REQUEST;
  const mode = <u32>load<u8>(p);
  const time = readVarint64(p + 1);
  if (load<u32>(REGISTER_NEXT) !== end || time > <u64>MAX_TIME) return BAD_REQUEST;
  if ((mode & ~IF_NONE) > RELATIVE || (mode & ~IF_NONE ? 0 : mode | <u32>(time !== 0))) return BAD_REQUEST;
  store<u32>(MODE, mode);
  store<i64>(TIME, <i64>time);
  return findStage(SCRATCH, SCRATCH + RECORD_BYTES);
}

/** Applies a checked EXPIRE; the length of the answer, `status u8 | expiry varint`, in which 0 is never. */
export function applyExpire(): u32 {
  const slot = load<u32>(SCRATCH + SLOT);
  let status = load<u32>(SCRATCH + STATUS);
  if (!status) status = existsAt(slotAddress(slot - 1)) ? expire(slot - 1) : ABSENT;
  store<u8>(ANSWER, <u8>status);
  const isLeft = slot !== 0 && trackAt(slotAddress(slot - 1)) !== 0;
  return writeVarint(ANSWER + 1, isLeft ? <u64>expiryOf(slot - 1) : 0) - ANSWER;
}

/** A time that is past ends the counter at once. */
function expire(slot: u32): u32 {
  const mode = load<u32>(MODE);
  const present = expiryOf(slot);
  if (mode === NEVER) {
    const track = trackAt(slotAddress(slot));
    if (!track) return OK;
    dropExpiry(track);
    dropIfIdle(track);
    return OK;
  }
  if (mode & IF_NONE && present) return OK;
  const now = load<i64>(H_TIME);
  const time = min<i64>(mode & RELATIVE ? now + load<i64>(TIME) : load<i64>(TIME), MAX_TIME);
  if (time <= now) {
    deleteName(slot);
    return OK;
  }
  if (!present && !hasExpiryRoom()) return MEMORY_FULL;
  const track = openTrack(slot);
  if (!track) return MEMORY_FULL;
  if (!present && !hasExpiryRoom()) {
    dropIfIdle(track); // its block took the last page
    return MEMORY_FULL;
  }
  setExpiry(track, slot, time);
  return OK;
}

/** Ends counters that are past their time, as DELETE does, the earliest first. */
export function expireCounters(): void {
  const now = load<i64>(H_TIME);
  for (let i: u32 = 0; i < TICK_EXPIRIES && isDue(now); i++) deleteName(firstDue());
}
