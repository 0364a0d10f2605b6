import {
  classOfRecord,
  decodeBatch,
  decodeKey,
  EXTENSION,
  findStage,
  HASH,
  KEY,
  KEY_LENGTH,
  KEYS,
  RECORD_BYTES,
  SLOT,
  STATUS,
} from './batch';
import { classAt, existsAt, generationAt, slotAddress, valueAt, writeValue } from './cells';
import { noteStrict } from './classes';
import { nowMinute } from './event-time';
import { hasClassRoom, noteChange } from './expiring';
import {
  ABSENT,
  ANSWER,
  BAD_REQUEST,
  EXPECTATION_FAILED,
  ID_UNKNOWN,
  MAX_REASON,
  MEMORY_FULL,
  NAME_INVALID,
  OK,
  REGISTER_EFFECT,
  REGISTER_NEXT,
  SCRATCH,
  UNCHANGED,
} from './layout';
import { addName, deleteName, findName, hasNameRoom, isUtf8 } from './names';
import { prefixOf } from './prefixes';
import { trackChange } from './tracking';
import { readVarint, readZigzag, TOO_LONG, VALUE_MASK, writeVarint, writeZigzag } from './varint';

/** GET, OPEN, SET and DELETE: each has its check, which changes nothing, and its application. */

/** Reads the counters of a decoded GET; the length of the answer. */
export function readValues(count: u32): u32 {
  let p = writeVarint(ANSWER, count);
  const end = SCRATCH + count * RECORD_BYTES;
  for (let record = SCRATCH; record < end; record += RECORD_BYTES) {
    const slot = load<u32>(record + SLOT);
    const cell = slot ? slotAddress(slot - 1) : 0;
    const exists = cell !== 0 && existsAt(cell);
    const status = load<u32>(record + STATUS);
    store<u8>(p++, <u8>(exists ? OK : status === OK ? ABSENT : status));
    if (exists) p = writeZigzag(p, valueAt(cell));
  }
  return p - ANSWER;
}

/** OK, UNCHANGED if every name of an OPEN has a slot already or can get none, or the status that refuses it. */
export function checkOpen(start: u32, end: u32): u32 {
  const status = decodeBatch(start, end, KEYS);
  if (status) return status;
  const last = SCRATCH + load<u32>(REGISTER_NEXT) * RECORD_BYTES;
  let fresh = false;
  for (let record = SCRATCH; record < last; record += RECORD_BYTES) {
    if (!load<u32>(record + KEY_LENGTH)) return BAD_REQUEST;
    if (!load<u32>(record + SLOT) && hasNameRoom(load<u32>(record + KEY), load<u32>(record + KEY_LENGTH))) fresh = true;
  }
  return fresh ? OK : UNCHANGED;
}

/** Gives slots to the names of a decoded OPEN that have none; the length of the answer. */
export function applyOpen(count: u32): u32 {
  let p = writeVarint(ANSWER, count);
  const end = SCRATCH + count * RECORD_BYTES;
  for (let record = SCRATCH; record < end; record += RECORD_BYTES) {
    const slot = openName(record);
    store<u8>(p++, <u8>(slot ? OK : MEMORY_FULL));
    if (!slot) continue;
    p = writeVarint(p, slot - 1);
    p = writeVarint(p, generationAt(slotAddress(slot - 1)));
  }
  return p - ANSWER;
}

/** The slot + 1 of the name of a record, taken if need be; 0 without memory. */
function openName(record: u32): u32 {
  let slot = load<u32>(record + SLOT);
  if (slot) return slot;
  const hash = load<u64>(record + HASH);
  const name = load<u32>(record + KEY);
  const length = load<u32>(record + KEY_LENGTH);
  slot = findName(hash, name, length); // an item before it may have added the name
  if (slot) return slot;
  return hasNameRoom(name, length) ? addName(hash, name, length, prefixOf(name, length)) + 1 : 0;
}

// A decoded SET or DELETE, in the registers behind those of the sequence
const SET_VALUE: u32 = 96;
const EXPECTED: u32 = 104;

/** OK or the status that refuses a SET. */
export function checkSet(start: u32, end: u32): u32 {
  return checkReasoned(start, end, true);
}

/** OK or the status that refuses a DELETE. */
export function checkDelete(start: u32, end: u32): u32 {
  return checkReasoned(start, end, false);
}

/** `key | [value] | [expect] | reason` */
function checkReasoned(start: u32, end: u32, hasValue: bool): u32 {
  let p = decodeKey(start, end, SCRATCH);
  if (p <= 1) return p ? NAME_INVALID : BAD_REQUEST;
  if (hasValue) {
    store<i64>(SET_VALUE, readZigzag(p));
    p = load<u32>(REGISTER_NEXT);
    if (!p) return BAD_REQUEST;
  }
  if (load<u32>(SCRATCH + EXTENSION)) {
    store<i64>(EXPECTED, readZigzag(p));
    p = load<u32>(REGISTER_NEXT);
    if (!p) return BAD_REQUEST;
  }
  const reason = readVarint(p);
  if (reason === TOO_LONG) return BAD_REQUEST;
  const length = reason & VALUE_MASK;
  p += <u32>(reason >> 56);
  if (length < 1 || length > <u64>MAX_REASON || p + <u32>length !== end || !isUtf8(p, end)) return BAD_REQUEST;
  return findStage(SCRATCH, SCRATCH + RECORD_BYTES);
}

/** What a checked SET or DELETE finds: OK, ABSENT where the name is unknown, or why nothing is changed. */
function statusOf(previous: i64): u32 {
  const status = load<u32>(SCRATCH + STATUS);
  if (status === ID_UNKNOWN || !load<u32>(SCRATCH + EXTENSION)) return status;
  return load<i64>(EXPECTED) === previous ? status : EXPECTATION_FAILED;
}

/** Sets the counter of a checked SET; the length of the answer. The delta that it caused goes to REGISTER_EFFECT. */
export function applySet(): u32 {
  const slot = load<u32>(SCRATCH + SLOT);
  const previous = slot ? valueAt(slotAddress(slot - 1)) : 0;
  const value = load<i64>(SET_VALUE);
  let status = statusOf(previous);
  if (status === ABSENT)
    status = hasNameRoom(load<u32>(SCRATCH + KEY), load<u32>(SCRATCH + KEY_LENGTH)) ? OK : MEMORY_FULL;
  if (!status && !hasClassRoom(slot, classOfRecord(SCRATCH, slot))) status = MEMORY_FULL;
  if (!status) {
    const slot = openName(SCRATCH) - 1;
    store<u32>(SCRATCH + SLOT, slot + 1);
    writeValue(slotAddress(slot), value);
    trackChange(slot, value - previous, nowMinute(), nowMinute(), 0);
    noteChange(slot, classAt(slotAddress(slot)));
  }
  return answerChange(status, previous, status ? 0 : value - previous);
}

/**
 * Deletes the counter of a checked DELETE; the length of the answer. A name that was only opened goes too, but there was no counter:
 * the status is ABSENT. The delta that it caused goes to REGISTER_EFFECT.
 */
export function applyDelete(): u32 {
  const slot = load<u32>(SCRATCH + SLOT);
  const cell = slot ? slotAddress(slot - 1) : 0;
  const previous = cell ? valueAt(cell) : 0;
  let status = statusOf(previous);
  if (!status) {
    if (!existsAt(cell)) status = ABSENT;
    noteStrict(classAt(cell));
    deleteName(slot - 1);
  }
  return answerChange(status, previous, status ? 0 : -previous);
}

function answerChange(status: u32, previous: i64, effect: i64): u32 {
  store<i64>(REGISTER_EFFECT, effect);
  store<u8>(ANSWER, <u8>status);
  return writeZigzag(ANSWER + 1, previous) - ANSWER;
}
