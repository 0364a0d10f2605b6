import { existingGeneration, generationAt, overflows, slotAddress } from './cells';
import {
  ANSWER,
  H_APPLIED,
  H_REFUSED,
  H_SLOTS,
  MAX_OPERATIONS,
  OVERFLOW,
  REGISTER_NEXT,
  REGISTER_OPERATIONS,
  REGISTER_SINK,
  SCRATCH,
  STAGE,
  VALUES,
} from './layout';
import { EXPIRE_STEP, expireOperations } from './operations';
import { readVarint, readZigzag, TOO_LONG, VALUE_MASK, writeVarint, writeZigzag } from './varint';

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

/** Decodes `count | operations` up to `end` into SCRATCH: whether all are of this kind. The count goes to REGISTER_NEXT. */
export function decodeSteps(start: u32, end: u32): bool {
  const packed = readVarint(start);
  if (packed === TOO_LONG) return false;
  const count = packed & VALUE_MASK;
  if (count > <u64>MAX_OPERATIONS) return false;
  let p = start + <u32>(packed >> 56);
  let record = SCRATCH;
  for (let left = <u32>count; left; ) {
    const stage = min<u32>(left, STAGE);
    const stageEnd = record + stage * STEP_BYTES;
    for (let r = record; r < stageEnd; r += STEP_BYTES) {
      p = p < end ? decodeStep(p, r) : 0;
      if (!p) return false;
    }
    if (!findSteps(record, stageEnd)) return false;
    record = stageEnd;
    left -= stage;
  }
  store<u32>(REGISTER_NEXT, <u32>count);
  return p === end;
}

/** Decodes an operation into a record: where it ends; 0 if it is not of this kind. */
function decodeStep(start: u32, record: u32): u32 {
  // Head, generation and delta are six bytes at most here. Of most counters the head has three: taken for granted, the next operation
  // is begun before this one's length is known.
  const word = load<u64>(start);
  let headBits: u64 = 24;
  if ((<u32>word & 0x808080) !== 0x8080) {
    const ends = ~(<u32>word) & 0x80808080;
    if (!ends) return 0;
    headBits = <u64>(ctz<u32>(ends) + 1);
  }
  const bits = <u32>(word & (((<u64>1) << headBits) - 1));
  const head = (bits & 0x7f) | ((bits & 0x7f00) >> 1) | ((bits & 0x7f0000) >> 2) | ((bits & 0x7f000000) >> 3);
  const rest = word >> headBits;
  const slot = head >> 2;
  const generation = <u32>rest & 0xff;
  if ((head & 3) !== 1 || generation >= 0x80 || slot >= load<u32>(H_SLOTS)) return 0;
  store<u32>(record + STEP_GENERATION, generation);
  store<u32>(record + STEP_SLOT, slot + 1);
  const p = start + <u32>(headBits >> 3) + 1;
  const delta = <i64>(rest >> 8) & 0xff;
  if (delta < 0x80) {
    store<i64>(record + STEP_DELTA, (delta >> 1) ^ -(delta & 1));
    return p + 1;
  }
  store<i64>(record + STEP_DELTA, readZigzag(p));
  return load<u32>(REGISTER_NEXT);
}

/** Finds the cells of a stage of records: whether all of their counters exist. */
export function findSteps(from: u32, to: u32): bool {
  // Touched in a loop of their own, as in batch.ts: the cache misses of a stage overlap.
  let sink: u32 = 0;
  for (let r = from; r < to; r += STEP_BYTES) sink += generationAt(slotAddress(load<u32>(r + STEP_SLOT) - 1));
  store<u32>(REGISTER_SINK, sink);
  for (let r = from; r < to; r += STEP_BYTES) {
    const cell = slotAddress(load<u32>(r + STEP_SLOT) - 1);
    if (existingGeneration(cell) !== load<u32>(r + STEP_GENERATION)) return false;
    store<u32>(r + STEP_CELL, cell);
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
