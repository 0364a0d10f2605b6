import { DELTA, EXTENSION, findIds, GENERATION, KEY, KEY_LENGTH, RECORD_BYTES, SLOT, STATUS } from './batch';
import { generationAt, slotAddress } from './cells';
import {
  BAD_REQUEST,
  H_SLOTS,
  MAX_OPERATIONS,
  OK,
  RECEIVE,
  REGISTER_LOGGED,
  REGISTER_NEXT,
  REGISTER_OPERATION_IDS,
  REGISTER_PAYLOAD,
  REGISTER_STEPS,
  SCRATCH,
  STAGE,
} from './layout';
import { findSteps, STEP_BYTES, STEP_CELL, STEP_DELTA, STEP_GENERATION, STEP_SLOT } from './steps';
import { readVarint, readZigzag, TOO_LONG, VALUE_MASK, writeVarint, writeZigzag, zigzagOf } from './varint';

/**
 * How the log has an ADD whose operations all step counters that are there, by deltas alone. The kernel has looked their names up; a replay need not
 * do that again, and the log need not have them. A body of the kind STEPS takes the place of the one that came:
 *
 *   ADD    [ sequence | unanswered | cursor ]                count | operations, by name or id
 *   STEPS  [ sequence | unanswered | cursor | u64 payload ]  count | steps
 *   step   varint: slot << 2 | whether there is a generation << 1 | whether there is a delta
 *          [ varint generation, where it is not 0 ]  [ zigzag delta, where it is not 1 ]
 *
 * The prefix is there where the body is sequenced; `payload` is the hash by which a repeat of what was sent is known (sequence.ts). Applied to the
 * same state, both leave the same memory and the same answer.
 */
export const PAYLOAD_BYTES: u32 = 8;
const HAS_GENERATION: u32 = 2;
const HAS_DELTA: u32 = 1;
/** The heads of those before it have 28 bits. */
const SHORT_SLOTS: u32 = 67108864;

/**
 * Writes a checked ADD as a STEPS over it, where that is shorter; its length, from RECEIVE on, goes to REGISTER_LOGGED. Where a record still needs
 * the bytes of the body, a new name or an extension, the body stays as it is.
 *
 * @param body where the two differ: behind the prefix
 */
export function writeLogged(body: u32, end: u32, sequenced: bool): void {
  const count = load<u32>(REGISTER_NEXT);
  const isSteps = load<u32>(REGISTER_STEPS) !== 0;
  if (!isSteps && !areSteps(count)) return;
  let p = body;
  if (sequenced) {
    store<u64>(p, load<u64>(REGISTER_PAYLOAD));
    p += PAYLOAD_BYTES;
  }
  p = writeVarint(p, count);
  if (isSteps) {
    const records = SCRATCH + count * STEP_BYTES;
    for (let record = SCRATCH; record < records; record += STEP_BYTES) {
      const generation = generationAt(load<u32>(record + STEP_CELL));
      p = writeStep(p, load<u32>(record + STEP_SLOT) - 1, generation, load<i64>(record + STEP_DELTA));
    }
  } else {
    const records = SCRATCH + count * RECORD_BYTES;
    for (let record = SCRATCH; record < records; record += RECORD_BYTES) {
      const slot = load<u32>(record + SLOT) - 1;
      p = writeStep(p, slot, generationAt(slotAddress(slot)), load<i64>(record + DELTA));
    }
  }
  if (p < end) store<u32>(REGISTER_LOGGED, p - RECEIVE);
}

/** Whether all records are of known counters and deltas alone. */
function areSteps(count: u32): bool {
  const records = SCRATCH + count * RECORD_BYTES;
  for (let record = SCRATCH; record < records; record += RECORD_BYTES) {
    if (!load<u32>(record + SLOT) || load<u32>(record + EXTENSION)) return false;
  }
  return true;
}

function writeStep(p: u32, slot: u32, generation: u32, delta: i64): u32 {
  const hasDelta = <u32>(delta !== 1);
  const zigzag = zigzagOf(delta);
  if (generation || zigzag >= 0x80 || slot >= SHORT_SLOTS) return writeLongStep(p, slot, generation, delta);
  // Most steps: a head of up to four bytes, and one of the delta or none. Which of them it is is not foreseeable, so nothing
  // depends on it but how far to go on; what is written beyond that the next step writes over.
  const head = (slot << 2) | (hasDelta * HAS_DELTA);
  const more = ((31 - clz<u32>(head | 1)) * 37) >> 8; // bytes behind the first: by seven bits
  const bits = (head & 0x7f) | ((head & 0x3f80) << 1) | ((head & 0x1fc000) << 2) | ((head & 0xfe00000) << 3);
  store<u32>(p, bits | (0x808080 & ((1 << (more << 3)) - 1)));
  store<u8>(p + more + 1, <u8>zigzag);
  return p + more + 1 + hasDelta;
}

function writeLongStep(start: u32, slot: u32, generation: u32, delta: i64): u32 {
  let p = writeVarint(start, ((<u64>slot) << 2) | (generation ? HAS_GENERATION : 0) | (delta === 1 ? 0 : HAS_DELTA));
  if (generation) p = writeVarint(p, generation);
  return delta === 1 ? p : writeZigzag(p, delta);
}

/** Decodes `count | steps` up to `end` into SCRATCH, as the records of steps.ts or of batch.ts, and finds their counters: OK, or BAD_REQUEST. */
export function decodeLogged(start: u32, end: u32, atomic: bool): u32 {
  let count = decodeAll(start, end);
  if (count < 0) return BAD_REQUEST;
  store<u32>(REGISTER_OPERATION_IDS, 0);
  const isSteps = !atomic && findAll(count);
  store<u32>(REGISTER_STEPS, isSteps ? 1 : 0);
  if (!isSteps) {
    // What was found has taken the place of what was decoded.
    count = decodeAll(start, end);
    widen(count);
  }
  store<u32>(REGISTER_NEXT, count);
  return OK;
}

/** Decodes the steps into records of steps.ts: how many, -1 where they are malformed. */
function decodeAll(start: u32, end: u32): i32 {
  const packed = readVarint(start);
  if (packed === TOO_LONG || (packed & VALUE_MASK) > <u64>MAX_OPERATIONS) return -1;
  const count = <u32>(packed & VALUE_MASK);
  let p = start + <u32>(packed >> 56);
  const records = SCRATCH + count * STEP_BYTES;
  for (let record = SCRATCH; record < records; record += STEP_BYTES) {
    p = p < end ? decodeStep(p, record) : 0;
    if (!p) return -1;
  }
  return p === end ? <i32>count : -1;
}

/** Decodes a step into a record: where it ends; 0 if it is malformed, or no slot has its number. */
function decodeStep(start: u32, record: u32): u32 {
  const word = load<u32>(start);
  const ends = ~word & 0x80808080;
  if (!ends) return 0;
  const bits = word & (ends ^ (ends - 1));
  const head = (bits & 0x7f) | ((bits & 0x7f00) >> 1) | ((bits & 0x7f0000) >> 2) | ((bits & 0x7f000000) >> 3);
  if (head >> 2 >= load<u32>(H_SLOTS)) return 0;
  store<u32>(record + STEP_SLOT, (head >> 2) + 1);
  store<u32>(record + STEP_GENERATION, 0);
  store<i64>(record + STEP_DELTA, 1);
  let p = start + ((ctz<u32>(ends) + 1) >> 3);
  if (head & HAS_GENERATION) {
    const packed = readVarint(p);
    if (packed === TOO_LONG || (packed & VALUE_MASK) >> 32) return 0;
    store<u32>(record + STEP_GENERATION, <u32>packed);
    p += <u32>(packed >> 56);
  }
  if (!(head & HAS_DELTA)) return p;
  store<i64>(record + STEP_DELTA, readZigzag(p));
  return load<u32>(REGISTER_NEXT);
}

/** Finds the cells of the records: whether all are of counters that have values alone. */
function findAll(count: u32): bool {
  const end = SCRATCH + count * STEP_BYTES;
  for (let stage = SCRATCH; stage < end; stage += STAGE * STEP_BYTES) {
    if (!findSteps(stage, min<u32>(end, stage + STAGE * STEP_BYTES))) return false;
  }
  return true;
}

/** Makes the records those of batch.ts, and finds their counters. The wider ones take the place of those behind them, so the last comes first. */
function widen(count: u32): void {
  for (let index = count; index > 0; index--) {
    const step = SCRATCH + (index - 1) * STEP_BYTES;
    const record = SCRATCH + (index - 1) * RECORD_BYTES;
    const slot = load<u32>(step + STEP_SLOT) - 1;
    const generation = load<u32>(step + STEP_GENERATION);
    store<i64>(record + DELTA, load<i64>(step + STEP_DELTA));
    store<u32>(record + KEY, slot);
    store<u32>(record + KEY_LENGTH, 0);
    store<u32>(record + EXTENSION, 0);
    store<u32>(record + STATUS, OK);
    store<u32>(record + GENERATION, generation);
  }
  const end = SCRATCH + count * RECORD_BYTES;
  for (let stage = SCRATCH; stage < end; stage += STAGE * RECORD_BYTES) {
    findIds(stage, min<u32>(end, stage + STAGE * RECORD_BYTES));
  }
}
