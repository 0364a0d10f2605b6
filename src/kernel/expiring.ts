import { decodeKey, EXTENSION, findStage, HAS_EXPIRY, RECORD_BYTES, SLOT, STATUS } from './batch';
import { classAt, existsAt, slotAddress, trackAt, writeValue } from './cells';
import { dayEnd, keepsOf, lifeOf, noteStrict, ROLLOVER } from './classes';
import { keepsDirty, noteSlot } from './dirty';
import { expiryPart } from './event-time';
import {
  dropExpiry,
  expiryOf,
  firstDue,
  firstRolls,
  hasEnd,
  hasExpiriesRoom,
  hasExpiryRoom,
  isDue,
  rolloverOf,
  setExpiry,
} from './expiry';
import {
  ABSENT,
  ANSWER,
  BAD_REQUEST,
  H_TIME,
  MAX_TIME,
  MEMORY_FULL,
  NAME_INVALID,
  NOT_TRACKED,
  OK,
  REGISTER_NEXT,
  SCRATCH,
} from './layout';
import { deleteName } from './names';
import { seenSet } from './sets';
import { isWatched, touch } from './touched';
import { dropIfIdle, openTrack } from './tracks';
import { dropUniques } from './uniques';
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
  if (p >= end || load<u32>(SCRATCH + EXTENSION) || !isExpiry(p) || load<u32>(REGISTER_NEXT) !== end)
    return BAD_REQUEST;
  readExpiry(p);
  return findStage(SCRATCH, SCRATCH + RECORD_BYTES);
}

/** Whether `mode u8 | time varint` is one; where it ends goes to REGISTER_NEXT. */
export function isExpiry(start: u32): bool {
  const mode = <u32>load<u8>(start);
  const time = readVarint64(start + 1);
  if (!load<u32>(REGISTER_NEXT) || time > <u64>MAX_TIME) return false;
  return mode & ~IF_NONE ? (mode & ~IF_NONE) <= RELATIVE : !mode && !time;
}

function readExpiry(start: u32): void {
  store<u32>(MODE, <u32>load<u8>(start));
  store<i64>(TIME, <i64>readVarint64(start + 1));
}

/** Applies a checked EXPIRE; the length of the answer, `status u8 | expiry varint`, in which 0 is never. */
export function applyExpire(): u32 {
  const slot = load<u32>(SCRATCH + SLOT);
  let status = load<u32>(SCRATCH + STATUS);
  if (!status) status = existsAt(slotAddress(slot - 1)) ? expireOrEnd(slot - 1) : ABSENT;
  store<u8>(ANSWER, <u8>status);
  const isLeft = slot !== 0 && trackAt(slotAddress(slot - 1)) !== 0;
  return writeVarint(ANSWER + 1, isLeft ? <u64>expiryOf(slot - 1) : 0) - ANSWER;
}

/** A time that is past ends the counter at once. One of a class whose counters begin anew with the day has no end. */
function expireOrEnd(slot: u32): u32 {
  const known = classAt(slotAddress(slot));
  if (keepsOf(known) & ROLLOVER) return NOT_TRACKED;
  noteStrict(known);
  const keeps = load<u32>(MODE) === NEVER || (load<u32>(MODE) & IF_NONE && expiryOf(slot));
  if (keeps || timeToSet() > load<i64>(H_TIME)) return expire(slot) ? OK : MEMORY_FULL;
  deleteName(slot);
  return OK;
}

/** The time at which the MODE and the TIME at hand let a counter expire. */
function timeToSet(): i64 {
  const time = load<i64>(TIME);
  return min<i64>(load<u32>(MODE) & RELATIVE ? load<i64>(H_TIME) + time : time, MAX_TIME);
}

/** Does what MODE and TIME say; false, and nothing changed, without memory. */
function expire(slot: u32): bool {
  const mode = load<u32>(MODE);
  if (mode === NEVER) {
    const track = trackAt(slotAddress(slot));
    if (!track) return true;
    dropExpiry(track);
    dropIfIdle(track);
    return true;
  }
  const present = expiryOf(slot);
  return (mode & IF_NONE && present) || placeAt(slot, timeToSet(), false);
}

/** Lets a counter expire, or roll over, at a time; false, and nothing changed, without memory. */
function placeAt(slot: u32, time: i64, rolls: bool): bool {
  const present = hasEnd(slot);
  if (!present && !hasExpiryRoom()) return false;
  const track = openTrack(slot);
  if (!track) return false;
  if (!present && !hasExpiryRoom()) {
    dropIfIdle(track); // its block took the last page
    return false;
  }
  setExpiry(track, slot, time, rolls);
  return true;
}

/**
 * Lets the counter of a record of an ADD, which was stepped, expire as the operation says, if it does; a time that is past, before the
 * next body; or roll over with the day, as its class says. False, and nothing changed, without memory.
 */
export function expireStepped(record: u32): bool {
  const slot = load<u32>(record + SLOT) - 1;
  const known = classAt(slotAddress(slot));
  if (keepsOf(known) & ROLLOVER) return rollWithDay(slot, known);
  const extension = load<u32>(record + EXTENSION);
  if (!extension || !(<u32>load<u8>(extension) & HAS_EXPIRY)) return true;
  readExpiry(expiryPart(extension));
  return expire(slot);
}

/** What every change of a counter brings with it besides a value: its time, by its class, and that the host is told of a strict one. */
export function noteChange(slot: u32, known: u32): void {
  noteStrict(known);
  expireByClass(slot, known);
}

/**
 * Gives a counter that was changed the time of its class, if that has one: with a time to live where the counter has none, and not without
 * memory; with days always, for which hasClassRoom() was asked.
 */
function expireByClass(slot: u32, known: u32): void {
  if (keepsOf(known) & ROLLOVER) {
    if (!rollWithDay(slot, known)) unreachable();
    return;
  }
  const life = lifeOf(known);
  if (life && !expiryOf(slot)) placeAt(slot, min<i64>(load<i64>(H_TIME) + life, MAX_TIME), false);
}

/** Whether a counter of a class, whose slot + 1 is 0 while it has none, can be given the time that the class wants. */
export function hasClassRoom(slot: u32, known: u32): bool {
  return !(keepsOf(known) & ROLLOVER) || (slot !== 0 && hasEnd(slot - 1)) || hasExpiriesRoom(1);
}

/** Lets a counter begin at 0 with the next day of its class; false, and nothing changed, without memory. */
export function rollWithDay(slot: u32, known: u32): bool {
  const end = dayEnd(known);
  return rolloverOf(slot) === end || placeAt(slot, end, true);
}

/** A counter whose class has no days any more rolls over no more. */
export function stopRolling(slot: u32): void {
  if (!rolloverOf(slot)) return;
  const track = trackAt(slotAddress(slot));
  dropExpiry(track);
  dropIfIdle(track);
}

/**
 * A new day: the counter goes on from 0, and what it has seen was seen yesterday. Items by hour and day, and those that count once, have times of their
 * own and stay. It has a place again when it is changed.
 */
function rollOver(slot: u32): void {
  const address = slotAddress(slot);
  const track = trackAt(address);
  if (isWatched()) touch(slot + 1, 0);
  if (keepsDirty()) noteSlot(slot);
  writeValue(address, 0);
  dropUniques(seenSet(track));
  dropExpiry(track);
  dropIfIdle(track);
}

/** Reads when the counters of a decoded EXPIRY expire; the length of the answer. */
export function readExpiries(count: u32): u32 {
  let p = writeVarint(ANSWER, count);
  const end = SCRATCH + count * RECORD_BYTES;
  for (let record = SCRATCH; record < end; record += RECORD_BYTES) {
    const slot = load<u32>(record + SLOT);
    const exists = slot !== 0 && existsAt(slotAddress(slot - 1));
    const status = load<u32>(record + STATUS);
    store<u8>(p++, <u8>(exists ? OK : status === OK ? ABSENT : status));
    if (exists) p = writeVarint(p, <u64>expiryOf(slot - 1));
  }
  return p - ANSWER;
}

/** Ends counters that are past their time, as DELETE does, and rolls others over, the earliest first. */
export function expireCounters(): void {
  const now = load<i64>(H_TIME);
  for (let i: u32 = 0; i < TICK_EXPIRIES && isDue(now); i++) {
    if (firstRolls()) rollOver(firstDue());
    else deleteName(firstDue());
  }
}
