import { slotAddress, trackAt } from './cells';
import { EXPIRY_DIRECTORY, H_EXPIRIES, MAX_EXPIRIES, PAGE } from './layout';
import { allocatePages, hasPages, hasRoom } from './memory';
import { BARE_BYTES, expiryPlace, setExpiryPlace } from './tracks';

/**
 * When counters expire, or roll over: a binary heap, the earliest first (Williams, "Algorithm 232: Heapsort", 1964). An entry is 16 bytes; 4,096 of them make a
 * segment of one page. The counter's track knows its place + 1, so that setting, moving and dropping a time take a logarithm of
 * loads and leave nothing stale behind.
 *
 *   0              8          12                           16
 *   | i64 time, ms | u32 slot | u32 1 = it rolls over then |
 */
const SEGMENT_SHIFT: u32 = 12;
const SEGMENT_MASK: u32 = 4095;
const SLOT: u32 = 8;
const ROLLS: u32 = 12;

function entryAt(place: u32): u32 {
  return load<u32>(EXPIRY_DIRECTORY + ((place >> SEGMENT_SHIFT) << 2)) + ((place & SEGMENT_MASK) << 4);
}

/** When a slot's counter expires, in milliseconds since 1970; 0 where it never does. */
export function expiryOf(slot: u32): i64 {
  const entry = entryOf(slot);
  return entry && !load<u32>(entry + ROLLS) ? load<i64>(entry) : 0;
}

/** When a slot's counter rolls over; 0 where it is not to. */
export function rolloverOf(slot: u32): i64 {
  const entry = entryOf(slot);
  return entry && load<u32>(entry + ROLLS) ? load<i64>(entry) : 0;
}

/** Whether a slot's counter has a place here. */
export function hasEnd(slot: u32): bool {
  return entryOf(slot) !== 0;
}

function entryOf(slot: u32): u32 {
  const track = trackAt(slotAddress(slot));
  const place = track ? expiryPlace(track) : 0;
  return place ? entryAt(place - 1) : 0;
}

/** Whether a counter is past its time. */
export function isDue(milliseconds: i64): bool {
  return load<u32>(H_EXPIRIES) !== 0 && load<i64>(entryAt(0)) <= milliseconds;
}

/** The slot whose counter expires, or rolls over, first. There is one. */
export function firstDue(): u32 {
  return load<u32>(entryAt(0) + SLOT);
}

/** Whether that one rolls over. */
export function firstRolls(): bool {
  return load<u32>(entryAt(0) + ROLLS) !== 0;
}

/** Whether another counter can be given a time. */
export function hasExpiryRoom(): bool {
  const count = load<u32>(H_EXPIRIES);
  if (count >= MAX_EXPIRIES) return false;
  return load<u32>(EXPIRY_DIRECTORY + ((count >> SEGMENT_SHIFT) << 2)) !== 0 || hasRoom();
}

/** Whether so many counters more can be given a time, and tracks, also a new one of them its name: more than is needed. */
export function hasExpiriesRoom(count: u32): bool {
  const pages = count / (PAGE / BARE_BYTES) + count / (SEGMENT_MASK + 1) + 8;
  return load<u32>(H_EXPIRIES) + count <= MAX_EXPIRIES && hasPages(pages);
}

/** Sets when the counter of a slot expires, or rolls over, which has this track. The caller has asked hasExpiryRoom() where it had no time. */
export function setExpiry(track: u32, slot: u32, time: i64, rolls: bool): void {
  let place = expiryPlace(track);
  if (!place) {
    place = load<u32>(H_EXPIRIES) + 1;
    const segment = EXPIRY_DIRECTORY + (((place - 1) >> SEGMENT_SHIFT) << 2);
    if (!load<u32>(segment)) {
      const page = allocatePages(1);
      if (!page) unreachable();
      store<u32>(segment, page);
    }
    store<u32>(H_EXPIRIES, place);
  }
  settle(place - 1, time, slot, rolls ? 1 : 0);
}

/** The counter of a track expires, or rolls over, no more. */
export function dropExpiry(track: u32): void {
  const place = expiryPlace(track);
  if (!place) return;
  setExpiryPlace(track, 0);
  const count = load<u32>(H_EXPIRIES) - 1;
  store<u32>(H_EXPIRIES, count);
  const last = entryAt(count);
  const time = load<i64>(last);
  const slot = load<u32>(last + SLOT);
  const rolls = load<u32>(last + ROLLS);
  memory.fill(last, 0, 16);
  if (place - 1 < count) settle(place - 1, time, slot, rolls);
}

/** Finds the place of a time from a free one on, up or down. */
function settle(from: u32, time: i64, slot: u32, rolls: u32): void {
  let place = from;
  while (place) {
    const parent = (place - 1) >> 1;
    if (load<i64>(entryAt(parent)) <= time) break;
    move(parent, place);
    place = parent;
  }
  const count = load<u32>(H_EXPIRIES);
  for (let child: u32 = 2 * place + 1; child < count; child = 2 * place + 1) {
    if (child + 1 < count && load<i64>(entryAt(child + 1)) < load<i64>(entryAt(child))) child++;
    if (load<i64>(entryAt(child)) >= time) break;
    move(child, place);
    place = child;
  }
  put(place, time, slot, rolls);
}

function move(from: u32, to: u32): void {
  const entry = entryAt(from);
  put(to, load<i64>(entry), load<u32>(entry + SLOT), load<u32>(entry + ROLLS));
}

function put(place: u32, time: i64, slot: u32, rolls: u32): void {
  const entry = entryAt(place);
  store<i64>(entry, time);
  store<u32>(entry + SLOT, slot);
  store<u32>(entry + ROLLS, rolls);
  setExpiryPlace(trackAt(slotAddress(slot)), place + 1);
}
