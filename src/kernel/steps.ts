import { cellOfNeeded, existingGeneration, firstNeeded, overflows, slotAddress } from './cells';
import {
  ANSWER,
  H_APPLIED,
  H_REFUSED,
  H_SLOTS,
  LOGGED_STEPS,
  MAX_OPERATIONS,
  OVERFLOW,
  PREFETCH,
  REGISTER_LOGGED_STEPS,
  REGISTER_NEXT,
  REGISTER_OPERATIONS,
  SCRATCH,
  STAGE,
  VALUES,
} from './layout';
import { HAS_DELTA, writeLongStep } from './logged-step';
import { EXPIRE_STEP, expireOperations } from './operations';
import { ADDRESS, prefetch, willNeed } from './prefetch';
import { joinSevens, readVarint, readZigzag, TOO_LONG, VALUE_MASK, writeVarint, writeZigzag } from './varint';

/**
 * Batches in which every operation steps an existing counter, by id, by a delta alone: what a client sends that knows its counters.
 * Nothing of such a batch can be refused but a step that overflows, so a short record is enough. Each operation becomes one in SCRATCH:
 *
 *   0                4              8              16
 *   | u32 generation | u32 slot + 1 | i64 delta,   |
 *   | later the cell |              | later the    |
 *   | 0 = overflow   |              | value        |
 *
 * Whatever is not of this kind is left to batch.ts, which says what is wrong with it. The memory and the answer are the same either way.
 */
export const STEP_BYTES: u32 = 16;
export const STEP_SLOT: u32 = 4;
export const STEP_GENERATION: u32 = 0;
export const STEP_DELTA: u32 = 8;
export const STEP_CELL: u32 = 0;
const VALUE: u32 = 8;
const ZIGZAG_OF_ONE: i64 = 2;

/**
 * Decodes `count | operations` up to `end` into SCRATCH: whether all are of this kind. The count goes to REGISTER_NEXT, and the operations as the
 * log has them (logged.ts) to LOGGED_STEPS: they are the same bytes but for the lowest bits of a head, and what goes without saying.
 */
export function decodeSteps(start: u32, end: u32): bool {
  const packed = readVarint(start);
  if (packed === TOO_LONG) return false;
  const count = packed & VALUE_MASK;
  if (count > <u64>MAX_OPERATIONS) return false;
  const slots = load<u32>(H_SLOTS);
  let p = start + <u32>(packed >> 56);
  let logged = LOGGED_STEPS;
  let record = SCRATCH;
  for (let left = <u32>count; left; ) {
    const stage = min<u32>(left, STAGE);
    const stageEnd = record + stage * STEP_BYTES;
    let noted = PREFETCH;
    for (let r = record; r < stageEnd; r += STEP_BYTES) {
      if (p >= end) return false;
      // Head, generation and delta are six bytes at most here. Of most counters the head has three: taken for granted, the next operation
      // is begun before this one's length is known.
      const word = load<u64>(p);
      let headBits: u64 = 24;
      if ((<u32>word & 0x808080) !== 0x8080) {
        const ends = ~(<u32>word) & 0x80808080;
        if (!ends) return false;
        headBits = <u64>(ctz<u32>(ends) + 1);
      }
      const bits = <u32>(word & (((<u64>1) << headBits) - 1));
      const head = joinSevens(bits);
      const rest = word >> headBits;
      const generation = <u32>rest & 0xff;
      if ((head & 3) !== 1 || generation >= 0x80 || head >> 2 >= slots) return false;
      store<u32>(r + STEP_GENERATION, generation);
      store<u32>(r + STEP_SLOT, (head >> 2) + 1);
      noted = willNeed(noted, firstNeeded(slotAddress(head >> 2)));
      p += <u32>(headBits >> 3) + 1;
      const zigzag = <i64>(rest >> 8) & 0xff;
      if (zigzag >= 0x80 || generation) {
        store<i64>(r + STEP_DELTA, readZigzag(p));
        p = load<u32>(REGISTER_NEXT);
        if (!p) return false;
        logged = writeLongStep(logged, head >> 2, generation, load<i64>(r + STEP_DELTA));
        continue;
      }
      p++;
      store<i64>(r + STEP_DELTA, (zigzag >> 1) ^ -(zigzag & 1));
      const hasDelta = <u32>(zigzag !== ZIGZAG_OF_ONE);
      store<u32>(logged, (bits & ~3) | (hasDelta * HAS_DELTA));
      logged += <u32>(headBits >> 3);
      store<u8>(logged, <u8>zigzag); // what comes next is written over it where it is not needed
      logged += hasDelta;
    }
    if (!findSteps(record, noted)) return false;
    record = stageEnd;
    left -= stage;
  }
  store<u32>(REGISTER_LOGGED_STEPS, logged - LOGGED_STEPS);
  store<u32>(REGISTER_NEXT, <u32>count);
  return p === end;
}

/** Finds the cells of a stage of records, whose first needed words have been noted in PREFETCH up to `noted`: whether all of their counters exist. */
// @inline
export function findSteps(from: u32, noted: u32): bool {
  prefetch(noted);
  let record = from;
  for (let p = PREFETCH; p < noted; p += ADDRESS) {
    const cell = cellOfNeeded(load<u32>(p));
    if (existingGeneration(cell) !== load<u32>(record + STEP_GENERATION)) return false;
    store<u32>(record + STEP_CELL, cell);
    record += STEP_BYTES;
  }
  return true;
}

/** Applies the decoded steps and writes the answer; its length. */
export function applySteps(count: u32, flags: u32): u32 {
  const end = SCRATCH + count * STEP_BYTES;
  expireOperations(EXPIRE_STEP);
  let refused: u32 = 0;
  for (let record = SCRATCH; record < end; record += STEP_BYTES) {
    const cell = load<u32>(record + STEP_CELL);
    const delta = load<i64>(record + STEP_DELTA);
    const value = load<i64>(cell);
    if (overflows(value, delta)) {
      store<u32>(record + STEP_CELL, 0);
      store<i64>(record + VALUE, value);
      refused++;
      continue;
    }
    store<i64>(cell, value + delta);
    store<i64>(record + VALUE, value + delta);
  }
  store<u32>(REGISTER_OPERATIONS, count);
  store<u64>(H_APPLIED, load<u64>(H_APPLIED) + (count - refused));
  store<u64>(H_REFUSED, load<u64>(H_REFUSED) + refused);
  return writeAnswer(end, refused, (flags & VALUES) !== 0);
}

function writeAnswer(end: u32, refused: u32, values: bool): u32 {
  let p = writeVarint(ANSWER, refused);
  for (let record = SCRATCH; refused; record += STEP_BYTES) {
    if (load<u32>(record + STEP_CELL)) continue;
    p = writeVarint(p, (record - SCRATCH) / STEP_BYTES);
    store<u8>(p++, <u8>OVERFLOW);
    refused--;
  }
  if (values) {
    for (let record = SCRATCH; record < end; record += STEP_BYTES) p = writeZigzag(p, load<i64>(record + VALUE));
  }
  return p - ANSWER;
}
