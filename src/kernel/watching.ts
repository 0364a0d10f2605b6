import { RECORD_BYTES, SLOT } from './batch';
import { ADD, MERGE, ONCE, REGISTER_NEXT, SCRATCH, SEE, SET } from './layout';
import { slotOfRecord } from './records';
import { settle, touch } from './touched';

/** What a checked body is about to touch, by its records in SCRATCH. What goes away is told where that happens, in deleteName(). */
export function touchBefore(kind: u32): void {
  const count = recordsOf(kind);
  for (let index: u32 = 0; index < count; index++) touch(slotOfRecord(index), index);
}

/** The slots of names that the body has added. */
export function settleTouched(): void {
  settle(SCRATCH + SLOT, RECORD_BYTES);
}

/** The records of a checked body that changes their counters, or takes new ones. */
function recordsOf(kind: u32): u32 {
  if (kind === ADD || kind === SEE || kind === ONCE) return load<u32>(REGISTER_NEXT);
  return kind === SET || kind === MERGE ? 1 : 0;
}
