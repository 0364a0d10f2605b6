import { decodeKey, EXTENSION, findStage, RECORD_BYTES, SLOT } from './batch';
import { classAt, existsAt, slotAddress, trackAt } from './cells';
import { keepsOf, ONCE } from './classes';
import {
  ABSENT,
  ANSWER,
  BAD_REQUEST,
  H_CLOCK,
  H_SLOTS,
  MEMORY_FULL,
  NAME_INVALID,
  NOT_TRACKED,
  OK,
  REGISTER_NEXT,
  SCRATCH,
} from './layout';
import { appendOnce, nextOnce, onceSeconds } from './once-items';
import { foldSets, onceSet, openOnceSet } from './sets';
import { openTrack } from './tracks';

/**
 * KEEP, `key | i64 clock | items`: brings items that counted once under a name of another partition under that name here, where they count again when they
 * would have there. Only a partition in the making gets one. An item is
 *
 *   0           8                             12
 *   | u64 hash  | u32 seconds of that clock   |
 */
const ITEM_BYTES: u32 = 12;
const SECONDS: u32 = 8;
const CLOCK_BYTES: u32 = 8;
/** Items of an answer. */
const MOST_ITEMS: u32 = 16384;

// The checked items of a KEEP, in the registers behind those of an EXPIRE
const ITEMS: u32 = 176; // u32 address, u32 end

/** Writes items of a slot's counter to ANSWER, from a place on, 0 for the first: how many. The next place is in REGISTER_NEXT, 0 at the end. */
export function tellOnce(slot: u32, from: u32): u32 {
  const track = slot < load<u32>(H_SLOTS) ? trackAt(slotAddress(slot)) : 0;
  const set = track ? onceSet(track) : 0;
  let count: u32 = 0;
  let entry = from ? from : set ? nextOnce(set, 0) : 0;
  for (; entry && count < MOST_ITEMS; entry = nextOnce(set, entry)) {
    const item = ANSWER + count++ * ITEM_BYTES;
    store<u64>(item, load<u64>(entry));
    store<u32>(item + SECONDS, onceSeconds(entry));
  }
  store<u32>(REGISTER_NEXT, entry);
  return count;
}

/** OK or the status that refuses a KEEP. */
export function checkKeep(start: u32, end: u32): u32 {
  const p = decodeKey(start, end, SCRATCH);
  if (p <= 1) return p ? NAME_INVALID : BAD_REQUEST;
  if (p + CLOCK_BYTES > end || (end - p - CLOCK_BYTES) % ITEM_BYTES || load<u32>(SCRATCH + EXTENSION))
    return BAD_REQUEST;
  store<u32>(ITEMS, p);
  store<u32>(ITEMS + 4, end);
  return findStage(SCRATCH, SCRATCH + RECORD_BYTES);
}

/** Keeps the items of a checked KEEP, behind those that are there; the length of the answer, `status u8`. */
export function applyKeep(): u32 {
  store<u8>(ANSWER, <u8>keepAll(load<u32>(SCRATCH + SLOT)));
  return 1;
}

/** Without memory for all of them, some. */
function keepAll(slot: u32): u32 {
  if (!slot || !existsAt(slotAddress(slot - 1))) return ABSENT;
  if (!(keepsOf(classAt(slotAddress(slot - 1))) & ONCE)) return NOT_TRACKED;
  const track = openTrack(slot - 1);
  const set = track ? openOnceSet(track) : 0;
  const clock = load<i64>(load<u32>(ITEMS));
  // rounded up, so that none counts early
  const passed = <u32>((load<i64>(H_CLOCK) - clock + 999) / 1000);
  let isAll = set !== 0;
  for (let p = load<u32>(ITEMS) + CLOCK_BYTES; isAll && p < load<u32>(ITEMS + 4); p += ITEM_BYTES) {
    isAll = appendOnce(set, load<u64>(p), load<u32>(p + SECONDS) + passed);
  }
  if (track) foldSets(track);
  return isAll ? OK : MEMORY_FULL;
}
