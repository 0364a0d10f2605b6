import { DELTA, EXTENSION, findIds, GENERATION, KEY, KEY_LENGTH, RECORD_BYTES, SLOT, STATUS } from './batch';
import { generationAt, slotAddress } from './cells';
import {
  BAD_REQUEST,
  LAST_GENERATION,
  LOGGED_STEPS,
  MAX_OPERATIONS,
  OK,
  RECEIVE,
  REGISTER_LOGGED,
  REGISTER_LOGGED_STEPS,
  REGISTER_NEXT,
  REGISTER_OPERATION_IDS,
  REGISTER_PAYLOAD,
  REGISTER_STEPS,
  SCRATCH,
  STAGE,
} from './layout';
import { decodeLoggedStep, writeStep } from './logged-step';
import { areThere, expectCell, STEP_BYTES, STEP_DELTA, STEP_GENERATION, STEP_STAGE, slotOfStep } from './steps';
import { readVarint, TOO_LONG, VALUE_MASK, writeVarint } from './varint';

/**
 * How the log has an ADD whose operations all step counters that are there, by deltas alone. The kernel has looked their names up; a replay need not
 * do that again, and the log need not have them. A body of the kind STEPS takes the place of the one that came:
 *
 *   ADD    [ sequence | unanswered | cursor ]                count | operations, by name or id
 *   STEPS  [ sequence | unanswered | cursor | u64 payload ]  count | steps
 *   step   as in logged-step.ts
 *
 * The prefix is there where the body is sequenced; `payload` is the hash by which a repeat of what was sent is known (sequence.ts). Applied to the
 * same state, both leave the same memory and the same answer.
 */
export const PAYLOAD_BYTES: u32 = 8;

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
    memory.copy(p, LOGGED_STEPS, load<u32>(REGISTER_LOGGED_STEPS));
    p += load<u32>(REGISTER_LOGGED_STEPS);
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

/** Decodes `count | steps` up to `end` into SCRATCH, as the records of steps.ts or of batch.ts, and finds their counters: OK, or BAD_REQUEST. */
export function decodeLogged(start: u32, end: u32, atomic: bool): u32 {
  const packed = readVarint(start);
  if (packed === TOO_LONG || (packed & VALUE_MASK) > <u64>MAX_OPERATIONS) return BAD_REQUEST;
  const count = <u32>(packed & VALUE_MASK);
  const first = start + <u32>(packed >> 56);
  store<u32>(REGISTER_OPERATION_IDS, 0);
  const isSteps = !atomic && decodeAll(first, end, count, true);
  store<u32>(REGISTER_STEPS, isSteps ? 1 : 0);
  if (!isSteps) {
    // Malformed, or not of counters that have values alone. What was found has taken the place of what was decoded.
    if (!decodeAll(first, end, count, false)) return BAD_REQUEST;
    widen(count);
  }
  store<u32>(REGISTER_NEXT, count);
  return OK;
}

/** Decodes steps into records of steps.ts, and finds their cells or not: whether they are well-formed, and all are of counters that have values alone. */
function decodeAll(start: u32, end: u32, count: u32, finds: bool): bool {
  let p = start;
  let record = SCRATCH;
  for (let left = count; left; ) {
    const stage = min<u32>(left, STEP_STAGE);
    const stageEnd = record + stage * STEP_BYTES;
    for (let r = record; r < stageEnd; r += STEP_BYTES) {
      p = p < end ? decodeLoggedStep(p, r) : 0;
      if (!p) return false;
      if (!finds) continue;
      const generation = load<u32>(r + STEP_GENERATION);
      if (generation > LAST_GENERATION) return false;
      expectCell(r, slotOfStep(r), generation);
    }
    if (finds && !areThere(record, stageEnd)) return false;
    record = stageEnd;
    left -= stage;
  }
  return p === end;
}

/** Makes the records those of batch.ts, and finds their counters. The wider ones take the place of those behind them, so the last comes first. */
function widen(count: u32): void {
  for (let index = count; index > 0; index--) {
    const step = SCRATCH + (index - 1) * STEP_BYTES;
    const record = SCRATCH + (index - 1) * RECORD_BYTES;
    const slot = slotOfStep(step);
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
