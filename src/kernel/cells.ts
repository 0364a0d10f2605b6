import { H_COUNTERS, H_FREE_SLOT, H_SLOTS, LAST_GENERATION, SLOT_DIRECTORY } from './layout';
import { allocatePages } from './memory';

/**
 * The counters themselves. A slot is 16 bytes; 4,096 of them make a segment of one page, listed in the slot directory.
 *
 *   0            8           12             14         16
 *   | i64 value  | u32 name  | u16 generation | u8 flags, u8 class |
 *
 * `name` is the address of the name's record, 0 in a slot that is not taken; a slot with the flag TRACKED has the address of its track
 * (tracks.ts) there, whose first word is that of the name. A slot that its counter left has the next
 * generation already, and in the first word of `value` the number + 1 of the next free slot; a slot that its last generation left
 * is retired: all zero but the generation, and on no list. Other threads may read `value` with Atomics for metrics; answers come
 * from the owner alone.
 */
const SEGMENT_SHIFT: u32 = 12;
const SEGMENT_MASK: u32 = 4095;
const NAME: u32 = 8;
const GENERATION: u32 = 12;
const FLAGS: u32 = 14;

const CLASS: u32 = 15;

/** Set by the first change: a counter that was only opened is absent. */
const EXISTS: u16 = 1;
const TRACKED: u16 = 2;
/** Set by the first row of history: when the counter goes, its rows must go. */
const EMITTED: u16 = 4;

export function slotAddress(slot: u32): u32 {
  return load<u32>((slot >> SEGMENT_SHIFT) << 2, SLOT_DIRECTORY) + ((slot & SEGMENT_MASK) << 4);
}

/** Whether the next slot to be taken is one that a counter has left. */
export function hasFreeSlot(): bool {
  return load<u32>(H_FREE_SLOT) !== 0;
}

/** Takes a slot for a name. The caller has asked hasNameRoom(). */
export function takeSlot(name: u32): u32 {
  const free = load<u32>(H_FREE_SLOT);
  if (free) {
    const address = slotAddress(free - 1);
    store<u32>(H_FREE_SLOT, load<u32>(address));
    store<u32>(address, 0);
    store<u32>(address + NAME, name);
    return free - 1;
  }
  const slot = load<u32>(H_SLOTS);
  const entry = SLOT_DIRECTORY + ((slot >> SEGMENT_SHIFT) << 2);
  if (!load<u32>(entry)) {
    const page = allocatePages(1);
    if (!page) unreachable();
    store<u32>(entry, page);
  }
  store<u32>(H_SLOTS, slot + 1);
  store<u32>(slotAddress(slot) + NAME, name);
  return slot;
}

/** Undoes the last takeSlot(); `wasFree` is what hasFreeSlot() said before it. */
export function untakeSlot(slot: u32, wasFree: bool): void {
  store<u32>(slotAddress(slot) + NAME, 0);
  store<u16>(slotAddress(slot) + FLAGS, 0);
  if (wasFree) linkSlot(slot);
  else store<u32>(H_SLOTS, slot);
}

/** Ends the counter of a slot, and its id with it. Its track was dropped before. */
export function freeSlot(slot: u32): void {
  const address = slotAddress(slot);
  const generation = generationAt(address);
  if (existsAt(address)) store<u32>(H_COUNTERS, load<u32>(H_COUNTERS) - 1);
  store<i64>(address, 0);
  store<u32>(address + NAME, 0);
  store<u16>(address + FLAGS, 0);
  if (generation === LAST_GENERATION) return;
  store<u16>(address + GENERATION, <u16>(generation + 1));
  linkSlot(slot);
}

/** Puts a slot whose value is 0 in front of the free ones. */
function linkSlot(slot: u32): void {
  store<u32>(slotAddress(slot), load<u32>(H_FREE_SLOT));
  store<u32>(H_FREE_SLOT, slot + 1);
}

export function valueAt(address: u32): i64 {
  return load<i64>(address);
}

/** The address of the record of a slot's name; 0 where the slot is not taken. */
export function nameAt(address: u32): u32 {
  const word = load<u32>(address + NAME);
  return load<u16>(address + FLAGS) & TRACKED ? load<u32>(word) : word;
}

/** The word of a slot that is needed first. */
export function firstNeeded(address: u32): u32 {
  return address + NAME;
}

/** The number of the class of a slot's counter. */
export function classAt(address: u32): u32 {
  return <u32>load<u8>(address + CLASS);
}

export function setClass(address: u32, number: u32): void {
  store<u8>(address + CLASS, <u8>number);
}

/** The address of the track of a slot; 0 where it has none. */
export function trackAt(address: u32): u32 {
  return load<u16>(address + FLAGS) & TRACKED ? load<u32>(address + NAME) : 0;
}

/** Gives a slot a track, whose first word is the address of the slot's name. */
export function setTrack(address: u32, track: u32): void {
  store<u32>(address + NAME, track);
  store<u16>(address + FLAGS, load<u16>(address + FLAGS) | TRACKED);
}

/** Takes the track of a slot away, which then holds the address of its name itself. */
export function clearTrack(address: u32, name: u32): void {
  store<u32>(address + NAME, name);
  store<u16>(address + FLAGS, load<u16>(address + FLAGS) & ~TRACKED);
}

/** Whether the counter of a slot has emitted anything for its history. */
export function hasEmitted(address: u32): bool {
  return (load<u16>(address + FLAGS) & EMITTED) !== 0;
}

export function markEmitted(address: u32): void {
  store<u16>(address + FLAGS, load<u16>(address + FLAGS) | EMITTED);
}

export function generationAt(address: u32): u32 {
  return <u32>load<u16>(address + GENERATION);
}

export function existsAt(address: u32): bool {
  return (load<u16>(address + FLAGS) & EXISTS) !== 0;
}

/** What stateAt() says of a counter that exists, in a generation, and is of the default class, of which only the value is kept. */
export function existing(generation: u32): u32 {
  return generation | ((<u32>EXISTS) << 16);
}

/** The generation, the flags and the class of a slot; one that is not taken has no flags. */
export function stateAt(address: u32): u32 {
  return load<u32>(address, GENERATION);
}

/** Whether a step leaves 64 bits. */
export function overflows(value: i64, delta: i64): bool {
  const next = value + delta;
  return ((value ^ next) & (delta ^ next)) < 0;
}

/** Writes a value; the counter exists from now on. */
export function writeValue(address: u32, value: i64): void {
  store<i64>(address, value);
  const flags = load<u16>(address + FLAGS);
  if (flags & EXISTS) return;
  store<u16>(address + FLAGS, flags | EXISTS);
  store<u32>(H_COUNTERS, load<u32>(H_COUNTERS) + 1);
}

/** Puts a value back as it was, for an atomic batch that is undone. */
export function restoreValue(address: u32, value: i64, existed: bool): void {
  store<i64>(address, value);
  if (existed) return;
  store<u16>(address + FLAGS, load<u16>(address + FLAGS) & ~EXISTS);
  store<u32>(H_COUNTERS, load<u32>(H_COUNTERS) - 1);
}

/** The slot of an id, plus one; 0 if no counter has it. */
export function slotOfId(slot: u32, generation: u32): u32 {
  if (slot >= load<u32>(H_SLOTS)) return 0;
  const address = slotAddress(slot);
  return nameAt(address) && generationAt(address) === generation ? slot + 1 : 0;
}
