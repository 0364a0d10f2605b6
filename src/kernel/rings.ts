import { giveSized, hasSizedRoom, takeSized } from './blocks';
import { markEmitted, overflows, slotAddress } from './cells';
import { HISTORY, DAYS as KEEPS_DAYS, keepsOf } from './classes';
import { addMinute, beginRow, emitMinute, endRow, hasDetailRoom } from './emitted';
import { dropSeconds } from './seconds';
import {
  BARE,
  classOfTrack,
  countWindowBytes,
  DAYS,
  decreasesOf,
  formOf,
  hasWindowRoom,
  isOfDecreases,
  MINUTE,
  MINUTES,
  reform,
  SINCE,
  SPARSE,
  slotOfTrack,
  unhangDecreases,
} from './tracks';

/**
 * The windows of a counter, in its track (tracks.ts): what each minute has changed it by, and each hour where its class keeps days. All are
 * numbered from 1970.
 *
 *   minute    the newest one that is known; its sum stands beside it, in `sum`, and only what is older goes into the ring
 *   since     the first minute from which on nothing is missing
 *   emitted   minutes before this one are in the history (emitted.ts); what comes for them later is emitted at once
 *   wide      the upper halves of the minutes' sums, a block of 64 × i32; 0 while all of them have 32 bits
 *
 * A counter that is seen in few minutes has them in pairs (SPARSE); when these are used up it gets the rings. A ring's place is minute
 * modulo 64, hour modulo 24, and holds what lies at most 63 minutes, or 24 hours, behind the newest.
 */
const SUM: u32 = 40;
const EMITTED_BEFORE: u32 = 48;
const WIDE: u32 = 52;
const PAIRS: u32 = 56;
const PAIRS_END: u32 = 80;
const PAIR_BYTES: u32 = 8;
const HOUR_SUM: u32 = 56;
const MINUTE_RING: u32 = 64;
const HOUR_RING: u32 = 320;

const RING_MINUTES: u32 = 64;
const RING_HOURS: u32 = 24;
const WIDE_BYTES: u32 = 256;
const NEVER: u32 = 0xffffffff;
export const MINUTES_OF_HOUR: u32 = 60;

/** How many minutes before the newest one a window may still ask for: an hour, or a day. */
export function reachOf(keeps: u32): u32 {
  return keeps & KEEPS_DAYS ? 25 * MINUTES_OF_HOUR : RING_MINUTES;
}

/** What the class of a track keeps. Decreases are in no history. */
function keepsOfTrack(track: u32): u32 {
  const keeps = keepsOf(classOfTrack(track));
  return isOfDecreases(track) ? keeps & ~HISTORY : keeps;
}

/** Begins the window of a counter in its track: where that is now; 0 without memory. */
export function openWindow(track: u32, minute: u32, since: u32): u32 {
  const fresh = reform(track, SPARSE);
  if (fresh) beginSparse(fresh, minute, since);
  return fresh;
}

/** Begins a window in a track that has its form, and nothing else. */
export function beginSparse(track: u32, minute: u32, since: u32): void {
  store<u32>(track + MINUTE, minute);
  store<u32>(track + SINCE, since);
  store<u32>(track + EMITTED_BEFORE, minute - (minute % MINUTES_OF_HOUR));
}

/** Adds a delta to a minute of a window; `now` is the minute of the body. */
export function addToWindow(track: u32, minute: u32, delta: i64, now: u32): void {
  const newest = load<u32>(track + MINUTE);
  if (minute >= newest) {
    const moved = minute > newest ? advance(track, minute) : track;
    if (minute < load<u32>(moved + EMITTED_BEFORE)) emitLate(moved, minute, delta);
    store<i64>(moved + SUM, sumOf(moved, minute, load<i64>(moved + SUM), delta));
    if (formOf(moved) === DAYS) addToHour(moved, minute / MINUTES_OF_HOUR, delta);
  } else if (minute === now && newest - minute >= RING_MINUTES) {
    restart(track, minute);
    addToWindow(track, minute, delta, now);
  } else {
    addLate(track, minute, delta);
  }
}

/** A sum and a delta; where that leaves 64 bits the minute is emitted and begins anew, and windows with it are not known. */
function sumOf(track: u32, minute: u32, sum: i64, delta: i64): i64 {
  if (!overflows(sum, delta)) return sum + delta;
  giveUp(track, minute, sum);
  return delta;
}

/** Loses a minute's sum, for the window: it goes to the history, if there is one. */
function giveUp(track: u32, minute: u32, sum: i64): void {
  if (minute >= load<u32>(track + EMITTED_BEFORE)) emitLate(track, minute, sum);
  store<u32>(track + SINCE, max<u32>(load<u32>(track + SINCE), minute + 1));
}

function emitLate(track: u32, minute: u32, delta: i64): void {
  if (keepsOfTrack(track) & HISTORY) emitMinute(slotOfTrack(track), minute, delta);
}

/** Makes a later minute the newest: where the track is then. */
function advance(track: u32, minute: u32): u32 {
  const newest = load<u32>(track + MINUTE);
  if (minute / MINUTES_OF_HOUR !== newest / MINUTES_OF_HOUR) closeHour(track, minute - (minute % MINUTES_OF_HOUR));
  let moved = track;
  if (formOf(track) === SPARSE && !putPair(track, newest, load<i64>(track + SUM), minute)) {
    moved = openRings(track);
    if (!moved) {
      giveUp(track, newest, load<i64>(track + SUM));
      moved = track;
    }
  }
  if (formOf(moved) !== SPARSE) turnRings(moved, newest, minute);
  store<u32>(moved + MINUTE, minute);
  store<i64>(moved + SUM, 0);
  return moved;
}

/** Emits what is not yet, which is all of the newest minute's hour; minutes before `from` are emitted then. */
export function closeHour(track: u32, from: u32): void {
  if (emitOpenHour(track)) markEmitted(slotAddress(slotOfTrack(track)));
  store<u32>(track + EMITTED_BEFORE, from);
}

/** Emits what is not yet, as a row of the newest minute's hour, and says whether the class wants that; nothing changes. */
export function emitOpenHour(track: u32): bool {
  const begin = load<u32>(track + EMITTED_BEFORE);
  const newest = load<u32>(track + MINUTE);
  if (begin > newest || !(keepsOfTrack(track) & HISTORY)) return false;
  const slot = slotOfTrack(track);
  if (!hasDetailRoom()) {
    emitMinute(slot, newest, sumBetween(track, begin, newest));
    return true;
  }
  let p = beginRow(slot, newest / MINUTES_OF_HOUR);
  for (let minute = begin; minute <= newest; minute++) {
    const sum = minuteSum(track, minute);
    if (sum) p = addMinute(p, minute, sum);
  }
  endRow(p);
  return true;
}

/** Whether something of the hour of the newest minute is not emitted, and that hour is before another. */
export function hasOpenHour(track: u32, hour: u32): bool {
  const newest = load<u32>(track + MINUTE);
  return newest >= load<u32>(track + EMITTED_BEFORE) && newest / MINUTES_OF_HOUR < hour;
}

/** Whether nothing that a window may ask for is newer than the reach of its class behind a minute. */
export function isIdle(track: u32, now: u32): bool {
  return load<u32>(track + MINUTE) + reachOf(keepsOfTrack(track)) < now;
}

/** Ends the window of a track on which other things hang; all is as it was where there is no memory for the rest. */
export function closeWindow(track: u32): void {
  const wide = wideOf(track);
  const bare = reform(track, BARE);
  if (!bare) return;
  giveWide(wide);
  dropDecreases(bare);
  dropSeconds(bare);
}

/** Gives the decreases of a window back, if it has any. */
export function dropDecreases(track: u32): void {
  const decreases = decreasesOf(track);
  if (!decreases) return;
  dropHanging(decreases);
  unhangDecreases(track);
}

/** Gives back what hangs on a window. */
export function dropHanging(track: u32): void {
  dropDecreases(track);
  dropSeconds(track);
  giveWide(wideOf(track));
  if (formOf(track) >= MINUTES) store<u32>(track + WIDE, 0);
}

function wideOf(track: u32): u32 {
  return formOf(track) >= MINUTES ? load<u32>(track + WIDE) : 0;
}

function giveWide(wide: u32): void {
  if (!wide) return;
  giveSized(wide, WIDE_BYTES);
  countWindowBytes(-(<i64>WIDE_BYTES));
}

/** The clock was set back: what is there lies ahead of it, and windows have to be counted anew until it gets there again. */
function restart(track: u32, minute: u32): void {
  const newest = load<u32>(track + MINUTE);
  closeHour(track, 0);
  dropHanging(track);
  const form = formOf(track);
  if (form === SPARSE) memory.fill(track + PAIRS, 0, PAIRS_END - PAIRS);
  else memory.fill(track + HOUR_SUM, 0, (form === DAYS ? HOUR_RING + (RING_HOURS << 3) : HOUR_RING) - HOUR_SUM);
  store<u32>(track + SINCE, max<u32>(load<u32>(track + SINCE), newest + 1));
  store<u32>(track + EMITTED_BEFORE, minute - (minute % MINUTES_OF_HOUR));
  store<u32>(track + MINUTE, minute);
  store<i64>(track + SUM, 0);
}

/** Adds a delta to a minute before the newest. */
function addLate(track: u32, minute: u32, delta: i64): void {
  const newest = load<u32>(track + MINUTE);
  if (minute < load<u32>(track + EMITTED_BEFORE)) emitLate(track, minute, delta);
  if (formOf(track) === SPARSE) {
    if (newest - minute < reachOf(keepsOfTrack(track))) addToPair(track, minute, delta);
    return;
  }
  if (newest - minute < RING_MINUTES) {
    storeMinute(track, minute, sumOf(track, minute, minuteSum(track, minute), delta));
  }
  if (formOf(track) === DAYS) addToHour(track, minute / MINUTES_OF_HOUR, delta);
}

/** Adds a delta to an hour; where that leaves 64 bits the hour begins anew, and windows with it are not known. */
function addToHour(track: u32, hour: u32, delta: i64): void {
  const newest = load<u32>(track + MINUTE) / MINUTES_OF_HOUR;
  if (newest - hour > RING_HOURS) return;
  const place = hour === newest ? track + HOUR_SUM : hourPlace(track, hour);
  const sum = load<i64>(place);
  if (overflows(sum, delta)) {
    store<u32>(track + SINCE, max<u32>(load<u32>(track + SINCE), (hour + 1) * MINUTES_OF_HOUR));
    store<i64>(place, delta);
  } else {
    store<i64>(place, sum + delta);
  }
}

function hourPlace(track: u32, hour: u32): u32 {
  return track + HOUR_RING + ((hour % RING_HOURS) << 3);
}

// --- pairs ---

/** Adds a delta to an older minute of a sparse window, which may get its rings by that. */
function addToPair(track: u32, minute: u32, delta: i64): void {
  for (let pair = track + PAIRS; pair < track + PAIRS_END; pair += PAIR_BYTES) {
    if (load<u32>(pair) !== minute) continue;
    const sum = <i64>load<i32>(pair, 4) + delta;
    if (overflows(load<i32>(pair, 4), delta) || sum !== <i64>(<i32>sum)) break;
    store<i32>(pair, <i32>sum, 4);
    return;
  }
  if (putPair(track, minute, delta, load<u32>(track + MINUTE))) return;
  const moved = openRings(track);
  if (moved) addToRings(moved, minute, delta);
  else giveUp(track, minute, delta);
}

/** Whether there was a place among the pairs for a minute that is not there yet; one that no window of `newest` asks for is free. */
function putPair(track: u32, minute: u32, sum: i64, newest: u32): bool {
  if (!sum) return true;
  if (sum !== <i64>(<i32>sum)) return false;
  const oldest = newest - min<u32>(newest, reachOf(keepsOfTrack(track)));
  let free: u32 = 0;
  for (let pair = track + PAIRS; pair < track + PAIRS_END; pair += PAIR_BYTES) {
    if (!load<i32>(pair, 4) || load<u32>(pair) <= oldest) free = pair;
    else if (load<u32>(pair) === minute) return false; // its sum has outgrown the pair
  }
  if (!free) return false;
  store<u32>(free, minute);
  store<i32>(free, <i32>sum, 4);
  return true;
}

/** Gives a sparse window its rings, with what the pairs have: where the track is then; 0 without memory. */
function openRings(track: u32): u32 {
  const form = keepsOfTrack(track) & KEEPS_DAYS ? DAYS : MINUTES;
  const moved = reform(track, form);
  if (!moved) return 0;
  const first = load<u64>(moved + PAIRS);
  const second = load<u64>(moved + PAIRS + 8);
  const third = load<u64>(moved + PAIRS + 16);
  memory.fill(moved + PAIRS, 0, PAIRS_END - PAIRS);
  if (form === DAYS) store<i64>(moved + HOUR_SUM, load<i64>(moved + SUM));
  addPairToRings(moved, first);
  addPairToRings(moved, second);
  addPairToRings(moved, third);
  return moved;
}

function addPairToRings(track: u32, pair: u64): void {
  if (pair >> 32) addToRings(track, <u32>pair, <i64>(<i32>(pair >> 32)));
}

function addToRings(track: u32, minute: u32, sum: i64): void {
  if (load<u32>(track + MINUTE) - minute < RING_MINUTES) {
    storeMinute(track, minute, sumOf(track, minute, minuteSum(track, minute), sum));
  }
  if (formOf(track) === DAYS) addToHour(track, minute / MINUTES_OF_HOUR, sum);
}

// --- rings ---

/** Puts the newest minute and its hour into the rings, and clears what lies between them and the next newest. */
function turnRings(track: u32, newest: u32, next: u32): void {
  storeMinute(track, newest, load<i64>(track + SUM));
  const gap = min<u32>(next - newest, RING_MINUTES);
  for (let minute = next - gap + 1; minute < next; minute++) clearMinute(track, minute);
  if (gap === RING_MINUTES) clearMinute(track, next - RING_MINUTES);
  const hour = newest / MINUTES_OF_HOUR;
  const nextHour = next / MINUTES_OF_HOUR;
  if (formOf(track) !== DAYS || hour === nextHour) return;
  store<i64>(hourPlace(track, hour), load<i64>(track + HOUR_SUM));
  store<i64>(track + HOUR_SUM, 0);
  for (let h = max<u32>(hour + 1, nextHour - RING_HOURS); h < nextHour; h++) store<i64>(hourPlace(track, h), 0);
}

function minutePlace(minute: u32): u32 {
  return (minute % RING_MINUTES) << 2;
}

function clearMinute(track: u32, minute: u32): void {
  store<i32>(track + MINUTE_RING + minutePlace(minute), 0);
  const wide = load<u32>(track + WIDE);
  if (wide) store<i32>(wide + minutePlace(minute), 0);
}

/** Stores the sum of a minute in the ring; one for which there is no memory is lost for the window. */
function storeMinute(track: u32, minute: u32, sum: i64): void {
  const place = minutePlace(minute);
  let wide = load<u32>(track + WIDE);
  if (!wide && sum !== <i64>(<i32>sum)) {
    wide = widen(track);
    if (!wide) {
      giveUp(track, minute, sum);
      clearMinute(track, minute);
      return;
    }
  }
  store<i32>(track + MINUTE_RING + place, <i32>sum);
  if (wide) store<i32>(wide + place, <i32>(sum >> 32));
}

/** Gives the minutes of a ring 64 bits: the address of the upper halves; 0 without memory. */
function widen(track: u32): u32 {
  if (!hasWindowRoom(WIDE_BYTES) || !hasSizedRoom(WIDE_BYTES)) return 0;
  const wide = takeSized(WIDE_BYTES);
  for (let place: u32 = 0; place < WIDE_BYTES; place += 4) {
    store<i32>(wide + place, load<i32>(track + MINUTE_RING + place) >> 31);
  }
  store<u32>(track + WIDE, wide);
  countWindowBytes(WIDE_BYTES);
  return wide;
}

// --- what is known ---

/** The last minute of which nothing is known without the window: it may have been counted there, or not be known there either. */
export function lastUnknownMinute(track: u32): u32 {
  return max<u32>(load<u32>(track + MINUTE), max<u32>(load<u32>(track + SINCE), 1) - 1);
}

/** The first minute from which on every minute's sum is known. */
export function minutesSince(track: u32): u32 {
  const newest = load<u32>(track + MINUTE);
  const reach = formOf(track) === SPARSE ? reachOf(keepsOfTrack(track)) : RING_MINUTES;
  return max<u32>(load<u32>(track + SINCE), newest + 1 - min<u32>(newest + 1, reach));
}

/** The first hour from which on every hour's sum is known; none is where the track has no hours. */
export function hoursSince(track: u32): u32 {
  if (formOf(track) === MINUTES) return NEVER;
  const newest = load<u32>(track + MINUTE) / MINUTES_OF_HOUR;
  const complete = (load<u32>(track + SINCE) + MINUTES_OF_HOUR - 1) / MINUTES_OF_HOUR;
  return max<u32>(complete, newest - min<u32>(newest, RING_HOURS));
}

/** What a minute has changed the counter by; 0 where that is not known. */
export function minuteSum(track: u32, minute: u32): i64 {
  const newest = load<u32>(track + MINUTE);
  if (minute === newest) return load<i64>(track + SUM);
  if (minute > newest) return 0;
  if (formOf(track) === SPARSE) {
    for (let pair = track + PAIRS; pair < track + PAIRS_END; pair += PAIR_BYTES) {
      if (load<u32>(pair) === minute) return load<i32>(pair, 4);
    }
    return 0;
  }
  if (newest - minute >= RING_MINUTES) return 0;
  const place = minutePlace(minute);
  const wide = load<u32>(track + WIDE);
  const low = load<i32>(track + MINUTE_RING + place);
  return wide ? ((<i64>load<i32>(wide + place)) << 32) | (<i64>low & 0xffffffff) : <i64>low;
}

/** What an hour has changed the counter by, for a class that keeps days; 0 where that is not known. */
export function hourSum(track: u32, hour: u32): i64 {
  const newest = load<u32>(track + MINUTE) / MINUTES_OF_HOUR;
  if (formOf(track) === SPARSE) return sumBetween(track, hour * MINUTES_OF_HOUR, hour * MINUTES_OF_HOUR + 59);
  if (hour === newest) return load<i64>(track + HOUR_SUM);
  return hour > newest || newest - hour > RING_HOURS ? 0 : load<i64>(hourPlace(track, hour));
}

/** The sum of some minutes, both ends included. */
export function sumBetween(track: u32, first: u32, last: u32): i64 {
  let sum: i64 = 0;
  for (let minute = first; minute <= last; minute++) sum += minuteSum(track, minute);
  return sum;
}
