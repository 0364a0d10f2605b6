import {
  classOfRecord,
  DELTA,
  EXTENSION,
  HAS_EXPIRY,
  HAS_ID,
  HAS_MAX,
  HAS_MIN,
  HAS_TIME,
  HASH,
  KEY,
  KEY_LENGTH,
  MARKS,
  RECORD_BYTES,
  SLOT,
  STATUS,
  VALUE,
} from './batch';
import { classAt, existsAt, overflows, restoreValue, slotAddress, valueAt, writeValue } from './cells';
import { classOf, dayBegin, keepsOf, ROLLOVER } from './classes';
import { checkTime, expiryPart, nowMinute, timeOf } from './event-time';
import { expireStepped } from './expiring';
import { hasExpiriesRoom } from './expiry';
import { sipHash, xxh64 } from './hash';
import { bucketOf, overflowOf } from './index';
import {
  ABSENT,
  ANSWER,
  ATOMIC,
  ATOMIC_ABORTED,
  H_APPLIED,
  H_REFUSED,
  ID_UNKNOWN,
  MEMORY_FULL,
  NAME_INDEX,
  NOT_TRACKED,
  OK,
  OPERATION_CONFLICT,
  OPERATIONS_FULL,
  OUT_OF_BOUNDS,
  OVERFLOW,
  PREFETCH,
  REGISTER_LOADED,
  REGISTER_NEXT,
  REGISTER_OPERATION_IDS,
  REGISTER_OPERATIONS,
  REGISTERS,
  SCRATCH,
  STAGE,
  VALUES,
} from './layout';
import { addName, findName, hasNameRoom, leftFor, nameHash, unaddName } from './names';
import {
  EXPIRE_STEP,
  expireOperations,
  findOperation,
  forgetAfter,
  hasOperationRoom,
  newestOperation,
  operationPayload,
  operationStatus,
  operationValue,
  rememberOperation,
} from './operations';
import { prefetch, willNeed } from './prefetch';
import { prefixOf } from './prefixes';
import { CHANGED, trackRecord } from './tracking';
import { readVarint64, readZigzag, writeVarint, writeZigzag } from './varint';

/** What has to be undone of an operation of an atomic batch, besides CHANGED. */
const EXISTED: u32 = 2;
const NEW_NAME: u32 = 4;
/** It belongs to a day that is over: the value stayed. */
const OTHER_DAY: u32 = 8;
/** Above them: what the new name took of what deleted ones had left. */
const LEFT_SHIFT: u32 = 4;

/** Where the payload of an operation with an id is laid out to be hashed: six words. */
const PAYLOAD: u32 = REGISTERS + 256;
const PAYLOAD_BYTES: u32 = 48;
/** With the time at which its counter expires. */
const EXPIRY_PAYLOAD_BYTES: u32 = 64;

/** Applies the decoded operations in SCRATCH and writes the answer; its length. */
export function applyAdd(count: u32, flags: u32): u32 {
  const atomic = (flags & ATOMIC) !== 0;
  const end = SCRATCH + count * RECORD_BYTES;
  store<u32>(REGISTER_OPERATIONS, count);
  store<u32>(REGISTER_LOADED, SCRATCH);
  expireOperations(EXPIRE_STEP + 2 * load<u32>(REGISTER_OPERATION_IDS));
  const newest = newestOperation();
  const isQuick = !(flags & (ATOMIC | VALUES));
  const now = nowMinute();
  let refused: u32 = 0;
  for (let record = SCRATCH; record < end; record += RECORD_BYTES) {
    if (isQuick && stepQuickly(record, now)) continue;
    store<u32>(record + MARKS, 0);
    const status = load<u32>(record + EXTENSION) ? applyExtended(record, atomic) : applyPlain(record, atomic);
    store<u32>(record + STATUS, status);
    if (status === OK) {
      if (!atomic) trackRecord(record, now);
      continue;
    }
    refused++;
    if (!atomic) continue;
    undo(record, newest);
    abort(record, end);
    refused = count;
    break;
  }
  if (atomic && !refused) {
    const failed = unexpirable(end);
    if (failed) {
      store<u32>(failed + STATUS, MEMORY_FULL);
      undo(end, newest);
      abort(failed, end);
      refused = count;
    } else {
      // Nothing can be undone any more.
      for (let record = SCRATCH; record < end; record += RECORD_BYTES) {
        if (load<u32>(record + MARKS) & CHANGED && !expireStepped(record)) unreachable();
        trackRecord(record, now);
      }
    }
  }
  store<u64>(H_APPLIED, load<u64>(H_APPLIED) + (count - refused));
  store<u64>(H_REFUSED, load<u64>(H_REFUSED) + refused);
  return writeAnswer(end, refused, (flags & VALUES) !== 0);
}

/**
 * Steps a known counter by a delta alone where nobody asks for the value, and nothing will be undone: whether it did. It leaves
 * the record, whose status is OK, as it is.
 */
// @inline
function stepQuickly(record: u32, now: u32): bool {
  const slot = load<u32>(record + SLOT);
  if (!slot || load<u32>(record + EXTENSION)) return false;
  const cell = slotAddress(slot - 1);
  const known = classAt(cell);
  if (known && keepsOf(known) & ROLLOVER) return false;
  const value = valueAt(cell);
  const delta = load<i64>(record + DELTA);
  if (overflows(value, delta)) return false;
  writeValue(cell, value + delta);
  if (known) trackRecord(record, now);
  return true;
}

/** Steps a counter by a delta alone. Leaves the value in the record. */
function applyPlain(record: u32, atomic: bool): u32 {
  const slot = slotOf(record);
  const status = slot
    ? step(record, slot, i64.MIN_VALUE, i64.MAX_VALUE)
    : stepAbsent(record, i64.MIN_VALUE, i64.MAX_VALUE);
  return status || atomic ? status : timeStepped(record);
}

/** Gives the counter of a record that was stepped its time; without memory the step is taken back. */
function timeStepped(record: u32): u32 {
  if (expireStepped(record)) return OK;
  store<i64>(record + VALUE, load<i64>(record + VALUE) - deltaOf(record));
  takeBack(record);
  return MEMORY_FULL;
}

/** What the step of a record changed the value by. */
function deltaOf(record: u32): i64 {
  return load<u32>(record + MARKS) & OTHER_DAY ? 0 : load<i64>(record + DELTA);
}

/** The slot + 1 of a record; a name may have been added by an operation before it in the same batch. */
function slotOf(record: u32): u32 {
  if (!isAbsent(record)) return load<u32>(record + SLOT);
  if (record >= load<u32>(REGISTER_LOADED)) loadBuckets(record);
  return findName(load<u64>(record + HASH), load<u32>(record + KEY), load<u32>(record + KEY_LENGTH));
}

/** Loads the buckets of the names of a stage that are new: since the batch was decoded, those of thousands of others were (prefetch.ts). */
function loadBuckets(from: u32): void {
  const end = SCRATCH + load<u32>(REGISTER_OPERATIONS) * RECORD_BYTES;
  const to = min<u32>(end, from + STAGE * RECORD_BYTES);
  store<u32>(REGISTER_LOADED, to);
  let p = PREFETCH;
  for (let record = from; record < to; record += RECORD_BYTES) {
    if (isAbsent(record)) p = willNeed(p, bucketOf(NAME_INDEX, load<u64>(record + HASH)));
  }
  prefetch(p);
  p = PREFETCH;
  for (let record = from; record < to; record += RECORD_BYTES) {
    const bucket = isAbsent(record) ? bucketOf(NAME_INDEX, load<u64>(record + HASH)) : 0;
    if (bucket) p = willNeed(p, overflowOf(bucket));
  }
  prefetch(p);
}

// @inline
function isAbsent(record: u32): bool {
  return !load<u32>(record + SLOT) && load<u32>(record + STATUS) === ABSENT;
}

function step(record: u32, slot: u32, low: i64, high: i64): u32 {
  const cell = slotAddress(slot - 1);
  const value = valueAt(cell);
  const otherDay = isOfOtherDay(record, classAt(cell));
  const delta = otherDay ? 0 : load<i64>(record + DELTA);
  const status = check(value, delta, low, high);
  if (status) {
    store<i64>(record + VALUE, value);
    return status;
  }
  const next = value + delta;
  store<u32>(record + SLOT, slot);
  store<u32>(record + MARKS, CHANGED | (existsAt(cell) ? EXISTED : 0) | (otherDay ? OTHER_DAY : 0));
  store<i64>(record + VALUE, next);
  writeValue(cell, next);
  return OK;
}

/** A refused step of an absent counter leaves no name behind. */
function stepAbsent(record: u32, low: i64, high: i64): u32 {
  const hash = load<u64>(record + HASH);
  let status = load<u32>(record + STATUS); // ID_UNKNOWN, or ABSENT of a name
  const name = load<u32>(record + KEY);
  const length = load<u32>(record + KEY_LENGTH);
  if (status !== ID_UNKNOWN) {
    const otherDay = load<u32>(record + EXTENSION) && isOfOtherDay(record, classOf(name, length));
    status = check(0, otherDay ? 0 : load<i64>(record + DELTA), low, high);
  }
  if (!status && !hasNameRoom(name, length)) status = MEMORY_FULL;
  if (status) {
    store<i64>(record + VALUE, 0);
    return status;
  }
  const prefix = prefixOf(name, length);
  const left = leftFor(length, prefix);
  const slot = addName(hash, name, length, prefix);
  step(record, slot + 1, low, high);
  store<u32>(record + MARKS, load<u32>(record + MARKS) | NEW_NAME | (left << LEFT_SHIFT));
  return OK;
}

function check(value: i64, delta: i64, low: i64, high: i64): u32 {
  const next = value + delta;
  if (overflows(value, delta)) return OVERFLOW;
  return next < low || next > high ? OUT_OF_BOUNDS : OK;
}

/** The first operation of an atomic batch that brings a time at which its counter expires, where there is no memory for all of them; else 0. */
function unexpirable(end: u32): u32 {
  let first: u32 = 0;
  let count: u32 = 0;
  for (let record = SCRATCH; record < end; record += RECORD_BYTES) {
    if (!(load<u32>(record + MARKS) & CHANGED)) continue;
    const known = classAt(slotAddress(load<u32>(record + SLOT) - 1));
    const extension = load<u32>(record + EXTENSION);
    const isTimed = extension !== 0 && (<u32>load<u8>(extension) & HAS_EXPIRY) !== 0;
    if (!isTimed && !(known && keepsOf(known) & ROLLOVER)) continue;
    if (!first) first = record;
    count++;
  }
  return count && !hasExpiriesRoom(count) ? first : 0;
}

/** Steps a counter within bounds, and once for each operation id. */
function applyExtended(record: u32, atomic: bool): u32 {
  let p = load<u32>(record + EXTENSION);
  const fields = <u32>load<u8>(p++);
  let low = i64.MIN_VALUE;
  let high = i64.MAX_VALUE;
  if (fields & HAS_MIN) {
    low = readZigzag(p);
    p = load<u32>(REGISTER_NEXT);
  }
  if (fields & HAS_MAX) {
    high = readZigzag(p);
    p = load<u32>(REGISTER_NEXT);
  }
  const slot = slotOf(record);
  if (!(fields & HAS_ID)) return stepTimed(record, slot, low, high, atomic);
  if (!slot && load<u32>(record + STATUS) === ID_UNKNOWN) return stepAbsent(record, low, high);
  const payload = payloadHash(record, slot, fields, low, high);
  const known = findOperation(p);
  if (known && operationPayload(known) === payload) {
    store<i64>(record + VALUE, operationValue(known));
    return operationStatus(known);
  }
  if (known || !hasOperationRoom()) {
    store<i64>(record + VALUE, slot ? valueAt(slotAddress(slot - 1)) : 0);
    return known ? OPERATION_CONFLICT : OPERATIONS_FULL;
  }
  const status = stepTimed(record, slot, low, high, atomic);
  if (status !== MEMORY_FULL) rememberOperation(p, payload, status, load<i64>(record + VALUE));
  return status;
}

/**
 * Steps a counter, which may be absent, unless its class refuses the time that the operation brings, and lets it expire as that says; not
 * yet in an atomic batch.
 */
function stepTimed(record: u32, slot: u32, low: i64, high: i64, atomic: bool): u32 {
  const extension = load<u32>(record + EXTENSION);
  if (load<u8>(extension) & (HAS_TIME | HAS_EXPIRY) && (slot || load<u32>(record + STATUS) !== ID_UNKNOWN)) {
    const known = classOfRecord(record, slot);
    const hasNoEnd = (load<u8>(extension) & HAS_EXPIRY) !== 0 && (keepsOf(known) & ROLLOVER) !== 0;
    const status = hasNoEnd ? NOT_TRACKED : checkTime(known, extension);
    if (status) {
      store<i64>(record + VALUE, slot ? valueAt(slotAddress(slot - 1)) : 0);
      return status;
    }
  }
  const status = slot ? step(record, slot, low, high) : stepAbsent(record, low, high);
  return status || atomic ? status : timeStepped(record);
}

/** Whether an operation brings a time before the present day of a class whose counters begin at 0 with each: it counts in that day's history. */
function isOfOtherDay(record: u32, known: u32): bool {
  const extension = load<u32>(record + EXTENSION);
  if (!extension || !known || !(keepsOf(known) & ROLLOVER)) return false;
  const time = timeOf(extension);
  return time >= 0 && time < dayBegin(known);
}

/** What makes two operations under one id the same: the counter, however it was addressed, the delta, the bounds and the times. */
function payloadHash(record: u32, slot: u32, fields: u32, low: i64, high: i64): u64 {
  store<u64>(PAYLOAD, slot ? nameHash(slot - 1) : load<u64>(record + HASH));
  store<i64>(PAYLOAD + 8, load<i64>(record + DELTA));
  store<i64>(PAYLOAD + 16, low);
  store<i64>(PAYLOAD + 24, high);
  store<u64>(PAYLOAD + 32, fields);
  const extension = load<u32>(record + EXTENSION);
  store<i64>(PAYLOAD + 40, timeOf(extension));
  if (!(fields & HAS_EXPIRY)) return xxh64(PAYLOAD, PAYLOAD_BYTES, 0);
  const expiry = expiryPart(extension);
  store<u64>(PAYLOAD + 48, load<u8>(expiry));
  store<u64>(PAYLOAD + 56, readVarint64(expiry + 1));
  return xxh64(PAYLOAD, EXPIRY_PAYLOAD_BYTES, 0);
}

/** Takes back the operations before `failed`, the last one first. */
function undo(failed: u32, newest: u32): void {
  forgetAfter(newest);
  for (let record = failed - RECORD_BYTES; record >= SCRATCH; record -= RECORD_BYTES) {
    if (load<u32>(record + MARKS) & CHANGED) takeBack(record);
  }
}

/** Takes back the step of a record. */
function takeBack(record: u32): void {
  const marks = load<u32>(record + MARKS);
  const slot = load<u32>(record + SLOT) - 1;
  const cell = slotAddress(slot);
  restoreValue(cell, valueAt(cell) - deltaOf(record), (marks & EXISTED) !== 0);
  if (!(marks & NEW_NAME)) return;
  unaddName(sipHash(load<u32>(record + KEY), load<u32>(record + KEY_LENGTH)), slot, marks >> LEFT_SHIFT);
}

/** Gives every operation its status and the value as it stands after the undoing. */
function abort(failed: u32, end: u32): void {
  for (let record = SCRATCH; record < end; record += RECORD_BYTES) {
    if (record !== failed) store<u32>(record + STATUS, ATOMIC_ABORTED);
    const slot = load<u32>(record + SLOT);
    const cell = slot ? slotAddress(slot - 1) : 0;
    // a new name's slot is free again, and its value a link
    store<i64>(record + VALUE, cell && existsAt(cell) ? valueAt(cell) : 0);
  }
}

function writeAnswer(end: u32, refused: u32, values: bool): u32 {
  let p = writeVarint(ANSWER, refused);
  if (refused) {
    let index: u32 = 0;
    for (let record = SCRATCH; record < end; record += RECORD_BYTES) {
      const status = load<u32>(record + STATUS);
      if (status) {
        p = writeVarint(p, index);
        store<u8>(p++, <u8>status);
      }
      index++;
    }
  }
  if (values) {
    for (let record = SCRATCH; record < end; record += RECORD_BYTES) p = writeZigzag(p, load<i64>(record + VALUE));
  }
  return p - ANSWER;
}
