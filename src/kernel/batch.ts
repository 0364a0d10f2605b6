import { classAt, firstNeeded, nameAt, slotAddress, slotOfId } from './cells';
import { classOf } from './classes';
import { isExpiry } from './expiring';
import { itemHash, sipHash } from './hash';
import { bucketOf, candidate, overflowOf } from './index';
import {
  ABSENT,
  BAD_REQUEST,
  H_SLOTS,
  H_TRACKS,
  ID_UNKNOWN,
  MAX_NAME,
  MAX_OPERATIONS,
  MAX_TIME,
  NAME_INDEX,
  NAME_INVALID,
  OK,
  PREFETCH,
  REGISTER_NEXT,
  REGISTER_OPERATION_IDS,
  SCRATCH,
  STAGE,
  TOO_MANY_OPERATIONS,
} from './layout';
import { checkNewName, findName, nameEquals, willNeedName } from './names';
import { prefetch, willNeed } from './prefetch';
import { willNeedTrack } from './tracks';
import { readVarint, readVarint64, readZigzag, TOO_LONG, VALUE_MASK } from './varint';

/**
 * Decoding a batch and finding its counters, before anything changes. Each operation becomes a record in SCRATCH:
 *
 *   0               8            16        20        24           28             32            36
 *   | u64 hash,     | i64 delta  | u32     | u32     | u32 slot+1 | u32 extension | u32 status | u32 generation,
 *   | later value   |            | key     | length  | 0 = absent | 0 = plain     |            | later undo marks
 *
 * By name, key and length are the address and length of its bytes; by id, the slot and 0.
 *
 * Operations go through in stages of 64: hash all, then load all buckets, then all slots, then all tracks, then all names, and only then compare. The loads
 * of one stage do not depend on each other, so the cache misses of 64 operations overlap (prefetch.ts).
 */
export const RECORD_BYTES: u32 = 40;
export const HASH: u32 = 0;
export const VALUE: u32 = 0;
export const DELTA: u32 = 8;
export const KEY: u32 = 16;
export const KEY_LENGTH: u32 = 20;
export const SLOT: u32 = 24;
export const EXTENSION: u32 = 28;
export const STATUS: u32 = 32;
export const GENERATION: u32 = 36;
export const MARKS: u32 = 36;

// While the stages run
const BUCKET: u32 = 24;
const CANDIDATE: u32 = 36;
const CANDIDATE_NAME: u32 = 32;

/** Fields of an extended operation */
export const HAS_MIN: u32 = 1;
export const HAS_MAX: u32 = 2;
export const HAS_ID: u32 = 4;
export const HAS_TIME: u32 = 8;
export const HAS_EXPIRY: u32 = 16;
const ALL_FIELDS: u32 = 31;
export const OPERATION_ID_BYTES: u32 = 16;

/** The class of the name of a record, whose slot + 1 is 0 where it has none. */
export function classOfRecord(record: u32, slot: u32): u32 {
  return slot ? classAt(slotAddress(slot - 1)) : classOf(load<u32>(record + KEY), load<u32>(record + KEY_LENGTH));
}

/** What the items of a request are besides their keys. */
export const KEYS: u32 = 0;
export const OPERATIONS: u32 = 1;
export const ITEMS: u32 = 2;
export const COUNTED_ITEMS: u32 = 3;

/**
 * Decodes `count | items` up to `end` into SCRATCH and finds the slots: OK, or the status that refuses the whole request. The
 * count goes to REGISTER_NEXT.
 */
export function decodeBatch(start: u32, end: u32, shape: u32): u32 {
  const packed = readVarint(start);
  if (packed === TOO_LONG) return BAD_REQUEST;
  const count = packed & VALUE_MASK;
  let p = start + <u32>(packed >> 56);
  if (p > end) return BAD_REQUEST;
  if (count > <u64>MAX_OPERATIONS) return TOO_MANY_OPERATIONS;
  let record = SCRATCH;
  store<u32>(REGISTER_OPERATION_IDS, 0);
  const hasItems = shape === ITEMS || shape === COUNTED_ITEMS;
  const mayExtend = shape === OPERATIONS || shape === COUNTED_ITEMS;
  for (let left = <u32>count; left; ) {
    const stage = min<u32>(left, STAGE);
    const stageEnd = record + stage * RECORD_BYTES;
    let names: u32 = 0;
    for (let r = record; r < stageEnd; r += RECORD_BYTES) {
      p = hasItems ? decodeItem(p, end, r) : decodeKey(p, end, r);
      if (p > 1 && shape === OPERATIONS) p = decodeDelta(p, r);
      if (p > 1 && shape === COUNTED_ITEMS && load<u32>(r + EXTENSION)) p = decodeCounting(p, r);
      if (p <= 1) return p ? NAME_INVALID : BAD_REQUEST;
      if (p > end || (!mayExtend && load<u32>(r + EXTENSION))) return BAD_REQUEST;
      names |= load<u32>(r + KEY_LENGTH);
    }
    if (names) {
      const status = findStage(record, stageEnd);
      if (status) return status;
    } else {
      findIds(record, stageEnd);
    }
    record = stageEnd;
    left -= stage;
  }
  if (p !== end) return BAD_REQUEST;
  store<u32>(REGISTER_NEXT, <u32>count);
  return OK;
}

/**
 * Decodes a key into a record: where it ends, 0 if it is malformed, 1 if the name's length is out of bounds. Only the head is held
 * against `end`: what lies behind it is of an older body and must not decide between the two.
 */
export function decodeKey(start: u32, end: u32, record: u32): u32 {
  // Varints of up to three bytes, as most heads are, and of one byte, as most generations are, are read in line.
  const word = load<u32>(start);
  let head: u32 = word & 0x7f;
  let p = start + 1;
  if (word & 0x80) {
    head |= (word & 0x7f00) >> 1;
    p++;
    if (word & 0x8000) {
      head |= (word & 0x7f0000) >> 2;
      p++;
      if (word & 0x800000) {
        const packed = readVarint(start);
        if (packed === TOO_LONG || (packed & VALUE_MASK) >> 34) return 0;
        p = start + <u32>(packed >> 56);
        return p > end ? 0 : decodeHead(<u32>((packed & VALUE_MASK) >> 2), <u32>packed & 3, p, record);
      }
    }
  }
  return p > end ? 0 : decodeHead(head >> 2, head & 3, p, record);
}

/** Decodes what follows the head of a key. */
// @inline
function decodeHead(value: u32, bits: u32, start: u32, record: u32): u32 {
  store<u32>(record + EXTENSION, bits >> 1);
  store<u32>(record + STATUS, OK);
  if (bits & 1) {
    let p = start + 1;
    let generation = <u32>load<u8>(start);
    if (generation >= 0x80) {
      const packed = readVarint(start);
      if (packed === TOO_LONG || (packed & VALUE_MASK) >> 32) return 0;
      generation = <u32>packed;
      p = start + <u32>(packed >> 56);
    }
    store<u32>(record + KEY, value);
    store<u32>(record + KEY_LENGTH, 0);
    store<u32>(record + GENERATION, generation);
    return p;
  }
  if (value === 0 || value > MAX_NAME) return 1;
  store<u64>(record + HASH, sipHash(start, value));
  store<u32>(record + KEY, start);
  store<u32>(record + KEY_LENGTH, value);
  return start + value;
}

/**
 * Decodes `key | item length | item` into a record: where it ends, 0 if it is malformed, 1 if a length is out of bounds. A key of one zero is
 * that of the item before it.
 */
function decodeItem(start: u32, end: u32, record: u32): u32 {
  let p = start + 1;
  if (start < end && !load<u8>(start) && record > SCRATCH) {
    memory.copy(record, record - RECORD_BYTES, RECORD_BYTES);
    store<u32>(record + STATUS, OK);
  } else {
    p = decodeKey(start, end, record);
    if (p <= 1 || p >= end) return p === 1 ? 1 : 0;
  }
  const packed = readVarint(p);
  if (packed === TOO_LONG) return 0;
  const length = packed & VALUE_MASK;
  p += <u32>(packed >> 56);
  if (p > end) return 0;
  if (length < 1 || length > <u64>MAX_NAME) return 1;
  if (p + <u32>length > end) return 0;
  store<u64>(record + DELTA, itemHash(p, <u32>length));
  return p + <u32>length;
}

/** Decodes `delta zigzag | within varint`, which follow an item of a key that is extended: where they end, 0 if they are malformed. */
function decodeCounting(start: u32, record: u32): u32 {
  store<u32>(record + EXTENSION, start);
  readZigzag(start);
  const p = load<u32>(REGISTER_NEXT);
  if (!p || readVarint64(p) > <u64>MAX_TIME) return 0;
  return load<u32>(REGISTER_NEXT);
}

/** Decodes what follows the key of an operation; 0 if it is malformed. */
// @inline
function decodeDelta(start: u32, record: u32): u32 {
  let p = start;
  const byte = <i64>load<u8>(p);
  if (byte < 0x80) {
    store<i64>(record + DELTA, (byte >> 1) ^ -(byte & 1));
    p++;
  } else {
    store<i64>(record + DELTA, readZigzag(p));
    p = load<u32>(REGISTER_NEXT);
  }
  return p && load<u32>(record + EXTENSION) ? decodeExtension(p, record) : p;
}

function decodeExtension(start: u32, record: u32): u32 {
  const fields = <u32>load<u8>(start);
  if (fields > ALL_FIELDS) return 0;
  store<u32>(record + EXTENSION, start);
  let p = start + 1;
  for (let bounds = popcnt<u32>(fields & (HAS_MIN | HAS_MAX)); bounds; bounds--) {
    readZigzag(p);
    p = load<u32>(REGISTER_NEXT);
    if (!p) return 0;
  }
  if (fields & HAS_ID) {
    store<u32>(REGISTER_OPERATION_IDS, load<u32>(REGISTER_OPERATION_IDS) + 1);
    p += OPERATION_ID_BYTES;
  }
  if (fields & HAS_TIME) {
    if (readVarint64(p) > <u64>MAX_TIME) return 0;
    p = load<u32>(REGISTER_NEXT);
    if (!p) return 0;
  }
  if (!(fields & HAS_EXPIRY)) return p;
  return isExpiry(p) ? load<u32>(REGISTER_NEXT) : 0;
}

/** The same where all records are by id. */
export function findIds(from: u32, to: u32): void {
  const slots = load<u32>(H_SLOTS);
  let p = PREFETCH;
  for (let r = from; r < to; r += RECORD_BYTES) {
    const slot = load<u32>(r + KEY);
    if (slot < slots) p = willNeed(p, firstNeeded(slotAddress(slot)));
  }
  prefetch(p);
  for (let r = from; r < to; r += RECORD_BYTES) {
    const slot = slotOfId(load<u32>(r + KEY), load<u32>(r + GENERATION));
    store<u32>(r + SLOT, slot);
    if (!slot) store<u32>(r + STATUS, ID_UNKNOWN);
  }
  if (!load<u32>(H_TRACKS)) return;
  p = PREFETCH;
  for (let r = from; r < to; r += RECORD_BYTES) {
    const slot = load<u32>(r + SLOT);
    if (slot) p = willNeedTrack(p, slotAddress(slot - 1));
  }
  prefetch(p);
}

/** Finds the slots of the records of a stage: OK, or the status that refuses the request. */
export function findStage(from: u32, to: u32): u32 {
  const slots = load<u32>(H_SLOTS);
  let p = PREFETCH;
  for (let r = from; r < to; r += RECORD_BYTES) {
    if (!load<u32>(r + KEY_LENGTH)) continue;
    const bucket = bucketOf(NAME_INDEX, load<u64>(r + HASH));
    store<u32>(r + BUCKET, bucket);
    p = willNeed(p, bucket);
  }
  prefetch(p);
  p = PREFETCH;
  let overflows: u32 = 0;
  for (let r = from; r < to; r += RECORD_BYTES) {
    if (load<u32>(r + KEY_LENGTH)) {
      const bucket = load<u32>(r + BUCKET);
      const item = bucket ? candidate(bucket, load<u64>(r + HASH)) : 0;
      store<u32>(r + CANDIDATE, item);
      if (item) {
        p = willNeed(p, firstNeeded(slotAddress(item - 1)));
      } else {
        const overflow = bucket ? overflowOf(bucket) : 0;
        store<u32>(r + BUCKET, overflow);
        overflows |= overflow;
        p = willNeed(p, overflow);
      }
    } else if (load<u32>(r + KEY) < slots) {
      p = willNeed(p, firstNeeded(slotAddress(load<u32>(r + KEY))));
    }
  }
  prefetch(p);
  if (overflows) {
    p = PREFETCH;
    for (let r = from; r < to; r += RECORD_BYTES) {
      if (!load<u32>(r + KEY_LENGTH) || load<u32>(r + CANDIDATE) || !load<u32>(r + BUCKET)) continue;
      const item = candidate(load<u32>(r + BUCKET), load<u64>(r + HASH));
      store<u32>(r + CANDIDATE, item);
      if (item) p = willNeed(p, firstNeeded(slotAddress(item - 1)));
    }
    prefetch(p);
  }
  if (load<u32>(H_TRACKS)) {
    p = PREFETCH;
    for (let r = from; r < to; r += RECORD_BYTES) {
      const item = load<u32>(r + KEY_LENGTH) ? load<u32>(r + CANDIDATE) : 0;
      if (item) p = willNeedTrack(p, slotAddress(item - 1));
    }
    prefetch(p);
  }
  p = PREFETCH;
  for (let r = from; r < to; r += RECORD_BYTES) {
    const length = load<u32>(r + KEY_LENGTH);
    if (!length) continue;
    const item = load<u32>(r + CANDIDATE);
    const name = item ? nameAt(slotAddress(item - 1)) : 0;
    store<u32>(r + CANDIDATE_NAME, name);
    p = willNeedName(p, name, length);
  }
  prefetch(p);
  for (let r = from; r < to; r += RECORD_BYTES) {
    const status = settle(r);
    if (status) return status;
  }
  return OK;
}

/** Settles the slot of one record: OK, or why the whole request must be refused. */
// @inline
function settle(record: u32): u32 {
  const length = load<u32>(record + KEY_LENGTH);
  const key = load<u32>(record + KEY);
  if (!length) {
    const slot = slotOfId(key, load<u32>(record + GENERATION));
    store<u32>(record + SLOT, slot);
    if (!slot) store<u32>(record + STATUS, ID_UNKNOWN);
    return OK;
  }
  const hash = load<u64>(record + HASH);
  const name = load<u32>(record + CANDIDATE_NAME);
  let slot = load<u32>(record + CANDIDATE);
  store<u32>(record + STATUS, OK);
  if (!name || !nameEquals(name, key, length)) slot = findName(hash, key, length);
  store<u32>(record + SLOT, slot);
  if (slot) return OK;
  store<u32>(record + STATUS, ABSENT);
  return checkNewName(key, length);
}
