import { existsAt, slotAddress, valueAt } from './cells';
import {
  GONE_NAMES,
  GONE_NAMES_BYTES,
  MARKED_SLOTS,
  MARKS,
  REGISTER_GONE_BYTES,
  REGISTER_MARKED,
  REGISTER_TOUCHED,
  REGISTER_WATCHED,
  TOUCHED,
} from './layout';

/**
 * Which counters a body touches, and what they were before it, for a host that follows them. Nothing of it is kept by a kernel that nobody
 * watches, and none of it is part of the state: a kernel that is watched has the same memory as one that is not.
 *
 *   0                  4              6            7          8          16
 *   | u32 slot + 1,    | u16 bytes of | u8 whether | u8 1 =   | i64 value |
 *   | 0 = no counter   | a gone name  | it existed | gone     | before    |
 *
 * MARKS has a bit for each of the first 491,520 slots: a counter is touched very often while the host looks now and then, and clears them when it has. A marked counter has no entry, and one that gets its mark
 * has one only if it had no value, or for a host that wants entries. Those in other slots, those that are new, and those that are gone have one each time. A counter that comes twice has its first entry
 * first. The names of those that are gone stand in GONE_NAMES, in the order of their entries.
 */
const ENTRY_BYTES: u32 = 16;
const NAME_BYTES: u32 = 4;
const EXISTED: u32 = 6;
const GONE: u32 = 7;
const BEFORE: u32 = 8;

/** How a kernel is watched. */
const WATCH_ENTRIES: u32 = 2;

export function isWatched(): bool {
  return load<u32>(REGISTER_WATCHED) !== 0;
}

/** Begins the entries of a call. */
export function clearTouched(): void {
  store<u32>(REGISTER_TOUCHED, 0);
  store<u32>(REGISTER_GONE_BYTES, 0);
}

/** A body is about to touch a slot, by its number + 1; 0 where the counter has none yet: it is that of the record `index`, when that has one. */
export function touch(slot: u32, index: u32): void {
  if (!slot) store<u32>(add(0) + BEFORE, index);
  else if (slot > MARKED_SLOTS || (mark(slot - 1) && wantsEntry(slot - 1))) tell(slot);
}

/** Gives the entries that had no slot those that their counters have taken since, by the records at `records`. */
export function settle(records: u32, recordBytes: u32): void {
  const end = TOUCHED + load<u32>(REGISTER_TOUCHED) * ENTRY_BYTES;
  for (let entry = TOUCHED; entry < end; entry += ENTRY_BYTES) {
    if (!load<u32>(entry)) store<u32>(entry, load<u32>(records + load<u32>(entry + BEFORE) * recordBytes));
  }
}

/** Adds a counter that goes, while it is still there. Where there is no room for its name, GONE_NAMES counts beyond its end: the host then knows that it does not know. */
export function touchGone(slot: u32, name: u32, length: u32): void {
  const used = load<u32>(REGISTER_GONE_BYTES);
  store<u32>(REGISTER_GONE_BYTES, used + length);
  forget(slot);
  if (used + length > GONE_NAMES_BYTES) return;
  const entry = tell(slot + 1);
  store<u16>(entry + NAME_BYTES, <u16>length);
  store<u8>(entry + GONE, 1);
  memory.copy(GONE_NAMES + used, name, length);
}

/** Marks a slot; whether it was not. */
function mark(slot: u32): bool {
  const word = MARKS + (slot >>> 5) * 4;
  const bit: u32 = 1 << (slot & 31);
  const bits = load<u32>(word);
  if (bits & bit) return false;
  store<u32>(word, bits | bit);
  store<u32>(REGISTER_MARKED, 1);
  return true;
}

function wantsEntry(slot: u32): bool {
  return load<u32>(REGISTER_WATCHED) === WATCH_ENTRIES || !existsAt(slotAddress(slot));
}

/** Another counter may take the slot. */
function forget(slot: u32): void {
  if (slot >= MARKED_SLOTS) return;
  const word = MARKS + (slot >>> 5) * 4;
  store<u32>(word, load<u32>(word) & ~(1 << (slot & 31)));
}

/** Adds what a slot is now, by its number + 1. */
function tell(slot: u32): u32 {
  const entry = add(slot);
  const cell = slotAddress(slot - 1);
  const existed = existsAt(cell);
  store<u8>(entry + EXISTED, existed ? 1 : 0);
  store<i64>(entry + BEFORE, existed ? valueAt(cell) : 0);
  return entry;
}

function add(slot: u32): u32 {
  const count = load<u32>(REGISTER_TOUCHED);
  const entry = TOUCHED + count * ENTRY_BYTES;
  store<u32>(REGISTER_TOUCHED, count + 1);
  store<u32>(entry, slot);
  store<u32>(entry + NAME_BYTES, 0);
  return entry;
}
