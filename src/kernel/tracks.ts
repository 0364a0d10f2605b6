import { giveSized, hasSizedRoom, sizedBytes, takeSized } from './blocks';
import { classAt, clearTrack, nameAt, setTrack, slotAddress, trackAt } from './cells';
import { H_HAND, H_MAXIMUM_WINDOW_BYTES, H_TRACKS, H_WINDOW_BYTES, PAGE } from './layout';
import { willNeed } from './prefetch';
import { linkNode, nextNode, replaceNode, unlinkNode } from './ring';

/**
 * The tracks: what is kept of a counter besides its value. A counter has one while there is something to keep; it hangs between the slot and
 * the name, so that counters without one pay nothing. Its form says what it has room for, and its size:
 *
 *   0          4                     8             12              16         20             24           28            32
 *   | u32 name | u32 slot, form << 30 | u32 uniques | u32 their head | u32 next | u32 previous | u32 expiry | u32 seconds |   BARE ends here
 *
 *   32            36          40        48            52         56
 *   | u32 minute  | u32 since | i64 sum | u32 emitted | u32 wide | … by form (rings.ts), which says what these are
 *                                                                 56: 3 × (u32 minute, i32 sum)                    SPARSE, 80 bytes
 *                                                                 56: i64 hour sum   64: 64 × i32 minutes          MINUTES, 320
 *                                                                                   320: 24 × i64 hours            DAYS, 512
 *
 * `expiry` is the place + 1 among the counters that expire (expiry.ts); 0 = it never does. `seconds` is the block of those of a window (seconds.ts), 0 = none.
 *
 * A window whose class keeps gross sums has a second one, of decreases alone, from its first decrease on (decreases.ts): a track too, without a name, and
 * in no ring. Its address + 1 is in place of the seconds, which are in the place of its `next` then; those of the decreases are in their usual place.
 *
 * All tracks are linked in one ring, round which the ticks go; H_HAND is where the next one begins.
 */
const NAME: u32 = 0;
const SLOT: u32 = 4;
const LINKS: u32 = 16;
/** The set of the items that were ever seen, or where there are other sets too, what sets.ts has of them. */
export const UNIQUES: u32 = 8;

const EXPIRY: u32 = 24;
const SECONDS: u32 = 28;
/** The newest minute of a window, and the first from which on nothing is missing. */
export const MINUTE: u32 = 32;
export const SINCE: u32 = 36;

export const BARE: u32 = 0;
export const SPARSE: u32 = 1;
export const MINUTES: u32 = 2;
export const DAYS: u32 = 3;

export const BARE_BYTES: u32 = 32;
/** Where a track has what every change of its window needs. */
const WINDOW_HEAD: u32 = 56;
const FORM_SHIFT: u32 = 30;
const SLOT_MASK: u32 = 0x3fffffff;

function bytesOf(form: u32): u32 {
  if (form === BARE) return BARE_BYTES;
  if (form === SPARSE) return 80;
  return form === MINUTES ? 320 : 512;
}

export function slotOfTrack(track: u32): u32 {
  return load<u32>(track + SLOT) & SLOT_MASK;
}

/** Notes what a change of a slot's counter needs of its track: two cache lines, as blocks are aligned to 16 bytes only. */
export function willNeedTrack(p: u32, address: u32): u32 {
  const track = trackAt(address);
  const end = track + WINDOW_HEAD - 4;
  // A bare track ends before that: what follows it in its page may be loaded, but behind the page may be nothing.
  return willNeed(willNeed(p, track), (end ^ track) < PAGE ? end : track);
}

/** The class of the counter of a track. */
export function classOfTrack(track: u32): u32 {
  return classAt(slotAddress(slotOfTrack(track)));
}

export function formOf(track: u32): u32 {
  return load<u32>(track + SLOT) >> FORM_SHIFT;
}

/** The track of a slot, a bare one if it had none; 0 without memory. */
export function openTrack(slot: u32): u32 {
  const address = slotAddress(slot);
  const known = trackAt(address);
  if (known) return known;
  if (!hasSizedRoom(BARE_BYTES)) return 0;
  const track = takeSized(BARE_BYTES);
  store<u32>(track + NAME, nameAt(address));
  store<u32>(track + SLOT, slot);
  linkNode(H_HAND, LINKS, track);
  setTrack(address, track);
  store<u32>(H_TRACKS, load<u32>(H_TRACKS) + 1);
  return track;
}

/** Whether a track is that of the decreases of another one. */
export function isOfDecreases(track: u32): bool {
  return load<u32>(track + NAME) === 0;
}

/** The track of a window's decreases; 0 where it has none. */
export function decreasesOf(track: u32): u32 {
  const beside = load<u32>(track + SECONDS);
  return beside & 1 ? beside - 1 : 0;
}

/** Hangs a sparse track of decreases on one that has none: where that is; 0, and all as it was, without memory. */
export function hangDecreases(track: u32): u32 {
  const bytes = bytesOf(SPARSE);
  if (!hasWindowRoom(sizedBytes(bytes)) || !hasSizedRoom(bytes)) return 0;
  const decreases = takeSized(bytes);
  store<u32>(decreases + SLOT, slotOfTrack(track) | (SPARSE << FORM_SHIFT));
  store<u32>(decreases + LINKS, load<u32>(track + SECONDS));
  store<u32>(track + SECONDS, decreases + 1);
  countWindowBytes(sizedBytes(bytes));
  return decreases;
}

/** Takes the track of decreases of another one away, on which nothing hangs any more. */
export function unhangDecreases(track: u32): void {
  const decreases = decreasesOf(track);
  const bytes = bytesOf(formOf(decreases));
  store<u32>(track + SECONDS, load<u32>(decreases + LINKS));
  giveSized(decreases, bytes);
  countWindowBytes(-(<i64>sizedBytes(bytes)));
}

/** Gives a track another form, with what both have room for: where it is now; 0, and all as it was, without memory. */
export function reform(track: u32, form: u32): u32 {
  const old = formOf(track);
  const bytes = bytesOf(form);
  const more = <i64>windowBytes(form) - <i64>windowBytes(old);
  if (more > 0 && (!hasWindowRoom(more) || !hasSizedRoom(bytes))) return 0;
  const fresh = takeSized(bytes); // one that is smaller may come from the reserve
  if (!fresh) return 0;
  memory.copy(fresh, track, min<u32>(bytes, bytesOf(old)));
  const slot = slotOfTrack(track);
  store<u32>(fresh + SLOT, slot | (form << FORM_SHIFT));
  const address = slotAddress(slot);
  if (isOfDecreases(track)) {
    store<u32>(trackAt(address) + SECONDS, fresh + 1);
  } else {
    replaceNode(H_HAND, LINKS, track, fresh);
    setTrack(address, fresh);
  }
  giveSized(track, bytesOf(old));
  store<i64>(H_WINDOW_BYTES, load<i64>(H_WINDOW_BYTES) + more);
  return fresh;
}

/** Whether the windows may take so many bytes more. */
export function hasWindowRoom(bytes: i64): bool {
  return load<i64>(H_WINDOW_BYTES) + bytes <= load<i64>(H_MAXIMUM_WINDOW_BYTES);
}

/** Counts bytes that a window has taken, or given back where they are negative. */
export function countWindowBytes(bytes: i64): void {
  store<i64>(H_WINDOW_BYTES, load<i64>(H_WINDOW_BYTES) + bytes);
}

/** Bytes of a track that are its window's. */
function windowBytes(form: u32): u32 {
  return form === BARE ? 0 : sizedBytes(bytesOf(form)) - BARE_BYTES;
}

/** Drops the track of a slot, if it has one; what hung on it was given back before. */
export function dropTrack(slot: u32): void {
  const address = slotAddress(slot);
  const track = trackAt(address);
  if (!track) return;
  const form = formOf(track);
  clearTrack(address, load<u32>(track + NAME));
  unlinkNode(H_HAND, LINKS, track);
  countWindowBytes(-(<i64>windowBytes(form)));
  giveSized(track, bytesOf(form));
  store<u32>(H_TRACKS, load<u32>(H_TRACKS) - 1);
}

/** Whether nothing hangs on a track, but for its window. */
export function hasOnlyWindow(track: u32): bool {
  return !load<u32>(track + UNIQUES) && !expiryPlace(track);
}

/** The place + 1 of a track's counter in the heap of expiry.ts; 0 where it has none. */
export function expiryPlace(track: u32): u32 {
  return load<u32>(track + EXPIRY);
}

export function setExpiryPlace(track: u32, place: u32): void {
  store<u32>(track + EXPIRY, place);
}

/** Drops a track on which nothing hangs any more. */
export function dropIfIdle(track: u32): void {
  if (formOf(track) === BARE && hasOnlyWindow(track)) dropTrack(slotOfTrack(track));
}

/** Where the address of the seconds of a window is. */
export function secondsWord(track: u32): u32 {
  const decreases = decreasesOf(track);
  return decreases ? decreases + LINKS : track + SECONDS;
}

/** The next track of the round of ticks, and moves the hand on; 0 where there are no tracks. */
export function nextTrack(): u32 {
  return nextNode(H_HAND, LINKS);
}
