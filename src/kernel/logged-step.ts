import { H_SLOTS, REGISTER_NEXT } from './layout';
import { STEP_DELTA, STEP_GENERATION, STEP_HEAD } from './steps';
import { joinSevens, readVarint, readZigzag, TOO_LONG, VALUE_MASK, writeVarint, writeZigzag, zigzagOf } from './varint';

/**
 * A step of a counter by a delta, as the log has it:
 *
 *   varint: slot << 2 | whether there is a generation << 1 | whether there is a delta
 *   [ varint generation, where it is not 0 ]  [ zigzag delta, where it is not 1 ]
 */
export const HAS_GENERATION: u32 = 2;
export const HAS_DELTA: u32 = 1;
/** The heads of those before it have 28 bits. */
const SHORT_SLOTS: u32 = 67108864;

/** Writes a step; where it ends. Up to five bytes behind that may be written too. */
// @inline
export function writeStep(p: u32, slot: u32, generation: u32, delta: i64): u32 {
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

export function writeLongStep(start: u32, slot: u32, generation: u32, delta: i64): u32 {
  let p = writeVarint(start, ((<u64>slot) << 2) | (generation ? HAS_GENERATION : 0) | (delta === 1 ? 0 : HAS_DELTA));
  if (generation) p = writeVarint(p, generation);
  return delta === 1 ? p : writeZigzag(p, delta);
}

/** Decodes a step into a record: where it ends; 0 if it is malformed, or no slot has its number. */
export function decodeLoggedStep(start: u32, record: u32): u32 {
  const word = load<u32>(start);
  const ends = ~word & 0x80808080;
  if (!ends) return 0;
  const bits = word & (ends ^ (ends - 1));
  const head = joinSevens(bits);
  if (head >> 2 >= load<u32>(H_SLOTS)) return 0;
  store<u32>(record + STEP_HEAD, bits);
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
