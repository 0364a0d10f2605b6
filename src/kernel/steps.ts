import { existing, overflows, slotAddress, stateAt } from './cells';
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
  REGISTER_SINK,
  SCRATCH,
  SLOT_DIRECTORY,
  VALUES,
} from './layout';
import { HAS_GENERATION, writeLongStep } from './logged-step';
import { EXPIRE_STEP, expireOperations } from './operations';
import { joinSevens, readVarint, readZigzag, sevensOf, TOO_LONG, VALUE_MASK, writeVarint, writeZigzag } from './varint';

/**
 * Batches in which every operation steps an existing counter, by id, by a delta alone: what a client sends that knows its counters.
 * Nothing of such a batch can be refused but a step that overflows, so a short record is enough. Each operation becomes one in SCRATCH:
 *
 *   0                    4               8              16
 *   | u32 cell,          | u32 head, as  | i64 delta,   |
 *   | later 0 = overflow | it came       | later the    |
 *   |                    |               | value        |
 *
 * Operations go through in stages: decode all, then load the slots of all in a loop that does nothing else (prefetch.ts), then hold all against what
 * their ids say of them. Whatever is not of this kind is left to batch.ts, which says what is wrong with it. The memory and the answer are the same either way.
 */
export const STEP_BYTES: u32 = 16;
export const STEP_CELL: u32 = 0;
/** Of a step that the log has, until its cell is known. */
export const STEP_GENERATION: u32 = 0;
export const STEP_HEAD: u32 = 4;
export const STEP_DELTA: u32 = 8;
const VALUE: u32 = 8;

/** Steps of a stage. While it lasts, PREFETCH has a word for each of them: what stateAt() must say of its slot. */
export const STEP_STAGE: u32 = 128;
const EXPECTED_BYTES: u32 = 4;

/** Short operations, of six bytes at most, that are decoded after one look at where varints end. */
const BLOCK: u32 = 8;
/** Set in the bytes of a generation and of a delta, where that is not 0 or this not the last one of its varint. */
const NOT_SHORT: u32 = 0x80ff;
const ZIGZAG_OF_ONE: u32 = 2;
/** The bytes of generation 0 and of that. */
const BY_ONE: u32 = ZIGZAG_OF_ONE << 8;

/** Where PREFETCH has it is: a stage begins with a record whose number is a multiple of its length. */
function expectedOf(record: u32): u32 {
  return PREFETCH + ((record / STEP_BYTES) % STEP_STAGE) * EXPECTED_BYTES;
}

/** The slot of a decoded step. */
export function slotOfStep(record: u32): u32 {
  return joinSevens(load<u32>(record, STEP_HEAD)) >> 2;
}

/**
 * Decodes `count | operations` up to `end` into SCRATCH: whether all are of this kind. The count goes to REGISTER_NEXT, and the operations as the
 * log has them (logged.ts) to LOGGED_STEPS: they are the same bytes but for the lowest bits of a head, and what goes without saying.
 */
export function decodeSteps(start: u32, end: u32): bool {
  const packed = readVarint(start);
  if (packed === TOO_LONG) return false;
  const count = packed & VALUE_MASK;
  if (count > <u64>MAX_OPERATIONS) return false;
  store<u32>(REGISTER_NEXT, start + <u32>(packed >> 56));
  store<u32>(REGISTER_LOGGED_STEPS, LOGGED_STEPS);
  let record = SCRATCH;
  for (let left = <u32>count; left; ) {
    const stage = min<u32>(left, STEP_STAGE);
    const stageEnd = record + stage * STEP_BYTES;
    expectFirstGenerations();
    let r = decodeShortSteps(record, stageEnd);
    while (r < stageEnd) {
      if (!decodeLongStep(r)) return false;
      r = decodeShortSteps(r + STEP_BYTES, stageEnd);
    }
    if (load<u32>(REGISTER_NEXT) > end || !areThere(record, stageEnd)) return false;
    record = stageEnd;
    left -= stage;
  }
  const isAll = load<u32>(REGISTER_NEXT) === end;
  store<u32>(REGISTER_LOGGED_STEPS, load<u32>(REGISTER_LOGGED_STEPS) - LOGGED_STEPS);
  store<u32>(REGISTER_NEXT, <u32>count);
  return isAll;
}

/** Expects every counter of a stage in its slot's first generation. */
function expectFirstGenerations(): void {
  const expected = i32x4.splat(existing(0));
  for (let p = PREFETCH; p < PREFETCH + STEP_STAGE * EXPECTED_BYTES; p += 64) {
    v128.store(p, expected);
    v128.store(p, expected, 16);
    v128.store(p, expected, 32);
    v128.store(p, expected, 48);
  }
}

/**
 * Decodes operations from REGISTER_NEXT on into the records from `from` to `to`, up to the first one that is not as most are: a generation of one
 * byte and a delta of up to four. The record of that one, or `to`. What it begins to write of a record is written again by who decodes it.
 *
 * Nothing is called in here, and lengths are not branched on: half of a million ids have a head of three bytes and half of four, which no processor foresees.
 */
function decodeShortSteps(from: u32, to: u32): u32 {
  const slots = sevensOf(load<u32>(H_SLOTS) << 2) >> 2;
  let p = load<u32>(REGISTER_NEXT);
  let logged = load<u32>(REGISTER_LOGGED_STEPS);
  let ends: u64 = 0;
  let block = from;
  let r = from;
  while (r < to) {
    if (r === block) {
      ends = endsOf(p);
      block += BLOCK * STEP_BYTES;
    }
    const more = <u32>ctz<u64>(ends); // bytes of the head behind the first
    const word = load<u32>(p);
    const stop = ~word & 0x80808080;
    const head = word & (stop ^ (stop - 1));
    store<u32>(r, head, STEP_HEAD);
    // The slot in sevens. The lowest bits, which say that this is an id and no more than a delta comes, go to the top: one comparison holds both.
    const slot = rotr<u32>(head & 0xff7f7f7f, 2) ^ 0x40000000;
    if (slot >= slots) break;
    const segment = slot >> 14; // seven bits, a gap, and seven; slotAddress() is the same of a plain number
    const cell = ((slot & 0x1fff) + (slot & 0x1f)) << 3; // of 4,096: the first five bits, and seven behind a gap
    store<u32>(r, load<u32>((segment + (segment & 0x7f)) << 1, SLOT_DIRECTORY) + cell, STEP_CELL);
    p += more;
    const rest = <u32>load<u16>(p, 1);
    if (!(rest & NOT_SHORT)) {
      store<i64>(r, <i64>(<i32>((rest >> 9) ^ -((rest >> 8) & 1))), STEP_DELTA);
      const isOne = <u32>(rest === BY_ONE);
      store<u32>(logged, head ^ isOne); // HAS_DELTA, or not
      store<u8>(logged + more, <u8>(rest >> 8), 1); // what comes next is written over it where it is not needed
      logged += more + 2 - isOne;
      ends = (ends >> more) >> 3;
      p += 3;
    } else {
      const generation = rest & 0xff;
      const tail = load<u32>(p, 2);
      const last = ~tail & 0x80808080 & -(~tail & 0x80808080);
      const delta = tail & (last | (last - 1));
      // A varint that is longer than it need be is written anew for the log.
      if (generation >= 0x80 || !last || delta < last >> 7 || !(head >> (more << 3))) {
        p -= more;
        break;
      }
      const zigzag = joinSevens(delta);
      store<i64>(r, <i64>(<i32>((zigzag >> 1) ^ -(zigzag & 1))), STEP_DELTA);
      store<u32>(expectedOf(r), existing(generation));
      const bytes = (ctz<u32>(last) + 1) >> 3;
      const isOne = <u32>(delta === ZIGZAG_OF_ONE);
      const isLater = <u32>(generation !== 0);
      store<u32>(logged, (head ^ isOne) | (isLater * HAS_GENERATION));
      logged += more + 1;
      store<u8>(logged, <u8>generation);
      logged += isLater;
      store<u32>(logged, delta);
      logged += isOne ? 0 : bytes;
      p += bytes + 2;
      block = r + STEP_BYTES; // the next one may end beyond what has been looked at
    }
    r += STEP_BYTES;
  }
  store<u32>(REGISTER_NEXT, p);
  store<u32>(REGISTER_LOGGED_STEPS, logged);
  return r;
}

/** Where varints end in the 48 bytes from `p` on, a bit for each; above them stand ones. */
// @inline
function endsOf(p: u32): u64 {
  const first = <u32>i8x16.bitmask(v128.load(p)) | ((<u32>i8x16.bitmask(v128.load(p, 16))) << 16);
  return ~(((<u64>(<u32>i8x16.bitmask(v128.load(p, 32)))) << 32) | <u64>first);
}

/** Decodes any operation of this kind at REGISTER_NEXT, and says what its slot must be: whether it is one. */
function decodeLongStep(record: u32): bool {
  const p = load<u32>(REGISTER_NEXT);
  const word = load<u64>(p);
  const stop = ~(<u32>word) & 0x80808080;
  if (!stop) return false;
  const bits = ctz<u32>(stop) + 1;
  const generation = <u32>(word >> bits) & 0xff;
  store<u32>(record, <u32>word & (stop ^ (stop - 1)), STEP_HEAD);
  const slot = slotOfStep(record);
  if ((<u32>word & 3) !== 1 || generation >= 0x80 || slot >= load<u32>(H_SLOTS)) return false;
  const delta = readZigzag(p + (bits >> 3) + 1);
  if (!load<u32>(REGISTER_NEXT)) return false;
  store<i64>(record, delta, STEP_DELTA);
  expectCell(record, slot, generation);
  store<u32>(REGISTER_LOGGED_STEPS, writeLongStep(load<u32>(REGISTER_LOGGED_STEPS), slot, generation, delta));
  return true;
}

/** Gives a record its cell, and says what its slot must be. */
export function expectCell(record: u32, slot: u32, generation: u32): void {
  store<u32>(record, slotAddress(slot), STEP_CELL);
  store<u32>(expectedOf(record), existing(generation));
}

/** Whether the slots of a stage of records are what is expected of them: then all of their counters exist, and have values alone. */
export function areThere(from: u32, to: u32): bool {
  touchCells(from, to);
  let differs: u32 = 0;
  let p = PREFETCH;
  let r = from;
  for (; r + 4 * STEP_BYTES <= to; r += 4 * STEP_BYTES) {
    differs |= stateAt(load<u32>(r)) ^ load<u32>(p);
    differs |= stateAt(load<u32>(r, STEP_BYTES)) ^ load<u32>(p, EXPECTED_BYTES);
    differs |= stateAt(load<u32>(r, 2 * STEP_BYTES)) ^ load<u32>(p, 2 * EXPECTED_BYTES);
    differs |= stateAt(load<u32>(r, 3 * STEP_BYTES)) ^ load<u32>(p, 3 * EXPECTED_BYTES);
    p += 4 * EXPECTED_BYTES;
  }
  for (; r < to; r += STEP_BYTES) {
    differs |= stateAt(load<u32>(r)) ^ load<u32>(p);
    p += EXPECTED_BYTES;
  }
  return !differs;
}

/** Loads a word of each cell, eight at a time: what is left over is too little to wait for it at once. */
// @inline
function touchCells(from: u32, to: u32): void {
  let sink: u32 = 0;
  for (let r = from; r + 8 * STEP_BYTES <= to; r += 8 * STEP_BYTES) {
    sink += stateAt(load<u32>(r));
    sink += stateAt(load<u32>(r, STEP_BYTES));
    sink += stateAt(load<u32>(r, 2 * STEP_BYTES));
    sink += stateAt(load<u32>(r, 3 * STEP_BYTES));
    sink += stateAt(load<u32>(r, 4 * STEP_BYTES));
    sink += stateAt(load<u32>(r, 5 * STEP_BYTES));
    sink += stateAt(load<u32>(r, 6 * STEP_BYTES));
    sink += stateAt(load<u32>(r, 7 * STEP_BYTES));
  }
  store<u32>(REGISTER_SINK, sink); // so that the loads stay
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
