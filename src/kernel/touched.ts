import { existsAt, slotAddress, valueAt } from './cells';
import {
  GONE_NAMES,
  GONE_NAMES_BYTES,
  REGISTER_GONE_BYTES,
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
 * A counter that comes twice has its first entry first. The names of those that are gone stand in GONE_NAMES, in the order of their entries.
 */
const ENTRY_BYTES: u32 = 16;
const NAME_BYTES: u32 = 4;
const EXISTED: u32 = 6;
const GONE: u32 = 7;
const BEFORE: u32 = 8;

export function isWatched(): bool {
  return load<u32>(REGISTER_WATCHED) !== 0;
}

/** Begins the entries of a call. */
export function clearTouched(): void {
  store<u32>(REGISTER_TOUCHED, 0);
  store<u32>(REGISTER_GONE_BYTES, 0);
}

/** Adds what a slot is now, by its number + 1; 0 where the counter has none yet. */
export function touch(slot: u32): void {
  const entry = add(slot);
  const cell = slot ? slotAddress(slot - 1) : 0;
  const existed = cell !== 0 && existsAt(cell);
  store<u8>(entry + EXISTED, existed ? 1 : 0);
  store<i64>(entry + BEFORE, existed ? valueAt(cell) : 0);
}

/** Gives an entry that had no slot the one that its counter has taken since. */
export function settle(index: u32, slot: u32): void {
  const entry = TOUCHED + index * ENTRY_BYTES;
  if (!load<u32>(entry)) store<u32>(entry, slot);
}

/** Adds a counter that goes, while it is still there. Where there is no room for its name, GONE_NAMES counts beyond its end: the host then knows that it does not know. */
export function touchGone(slot: u32, name: u32, length: u32): void {
  const used = load<u32>(REGISTER_GONE_BYTES);
  store<u32>(REGISTER_GONE_BYTES, used + length);
  if (used + length > GONE_NAMES_BYTES) return;
  touch(slot + 1);
  const entry = TOUCHED + (load<u32>(REGISTER_TOUCHED) - 1) * ENTRY_BYTES;
  store<u16>(entry + NAME_BYTES, <u16>length);
  store<u8>(entry + GONE, 1);
  memory.copy(GONE_NAMES + used, name, length);
}

function add(slot: u32): u32 {
  const count = load<u32>(REGISTER_TOUCHED);
  const entry = TOUCHED + count * ENTRY_BYTES;
  store<u32>(REGISTER_TOUCHED, count + 1);
  store<u32>(entry, slot);
  store<u32>(entry + NAME_BYTES, 0);
  return entry;
}
