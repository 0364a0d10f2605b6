import { giveSized, hasSizedRoom, sizedBytes, takeSized } from './blocks';
import { overflows } from './cells';
import { countWindowBytes, hasWindowRoom, MINUTE, SINCE, secondsWord } from './tracks';

/**
 * The seconds of a window whose class keeps them: what each of the last 92 has changed the counter by. A block that hangs on the track:
 *
 *   0            4             5                    6      8
 *   | u32 since  | u8 newest,  | u8 width: a second | 0    | 92 × i16, i32 or i64, at second modulo 92
 *   |            | of a minute | has 1 << it bytes  |      |
 *
 * The newest second is one of the newest minute of the window, so that the two go on together. `since` is the first minute of which every second is
 * known. A window of a minute needs 61 of them; the others are for increments whose own time is up to half a minute ahead of the server's clock.
 *
 * A window without the block has no second up to its newest minute, for there was no memory, or they are too old to be asked for, and nothing after it.
 */
const KEPT: i64 = 92;
const NEWEST: u32 = 4;
const WIDTH: u32 = 5;
const RING: u32 = 8;
const NARROWEST: u32 = 1;
const WIDEST: u32 = 3;
const SECONDS_OF_MINUTE: i64 = 60;
/** A window of seconds reaches into this minute and the one before. */
const MINUTES_ASKED_FOR: u32 = 2;

/** Adds a delta to a second, before it is added to its minute; `isFresh` is whether the window had nothing before. */
export function addToSeconds(track: u32, second: i64, delta: i64, isFresh: bool): void {
  const block = blockOf(track);
  if (!block) {
    const minute = load<u32>(track + MINUTE);
    if (<u32>(second / SECONDS_OF_MINUTE) < minute || !openSeconds(track, NARROWEST)) return;
    store<u32>(blockOf(track), isFresh ? 0 : minute + 1);
    storeNewest(blockOf(track), second);
  } else {
    const newest = newestSecond(track, block);
    if (newest - second >= KEPT) return;
    if (second > newest) turn(block, newest, second);
  }
  addTo(track, second, delta);
}

/** Makes a later second the newest, and clears what lies between the two. */
function turn(block: u32, newest: i64, next: i64): void {
  for (let second = max<i64>(newest, next - KEPT) + 1; second <= next; second++) storeSum(block, second, 0);
  storeNewest(block, next);
}

function addTo(track: u32, second: i64, delta: i64): void {
  const block = blockOf(track);
  const sum = sumAt(block, second);
  const next = sum + delta;
  const width = widthOf(next);
  if (overflows(sum, delta) || (width > load<u8>(block + WIDTH) && !widen(track, width))) giveUp(block, second);
  else storeSum(blockOf(track), second, next);
}

/** Loses a second: windows with it are not known. */
function giveUp(block: u32, second: i64): void {
  storeSum(block, second, 0);
  store<u32>(block, max<u32>(load<u32>(block), <u32>(second / SECONDS_OF_MINUTE) + 1));
}

function widthOf(sum: i64): u32 {
  if (sum === <i64>(<i16>sum)) return NARROWEST;
  return sum === <i64>(<i32>sum) ? 2 : WIDEST;
}

/** Gives the seconds of a track more bytes each: false, and all as it was, without memory. */
function widen(track: u32, width: u32): bool {
  const old = blockOf(track);
  if (!openSeconds(track, width)) return false;
  const block = blockOf(track);
  store<u32>(block, load<u32>(old));
  store<u8>(block + NEWEST, load<u8>(old + NEWEST));
  for (let second: i64 = 0; second < KEPT; second++) storeSum(block, second, sumAt(old, second));
  give(old);
  return true;
}

function bytesOf(width: u32): u32 {
  return RING + ((<u32>KEPT) << width);
}

/** Hangs an empty block on a track, whatever hung there before: false without memory. */
function openSeconds(track: u32, width: u32): bool {
  const bytes = bytesOf(width);
  if (!hasWindowRoom(sizedBytes(bytes)) || !hasSizedRoom(bytes)) return false;
  const block = takeSized(bytes);
  store<u8>(block + WIDTH, <u8>width);
  store<u32>(secondsWord(track), block);
  countWindowBytes(sizedBytes(bytes));
  return true;
}

function blockOf(track: u32): u32 {
  return load<u32>(secondsWord(track));
}

function give(block: u32): void {
  const bytes = bytesOf(load<u8>(block + WIDTH));
  giveSized(block, bytes);
  countWindowBytes(-(<i64>sizedBytes(bytes)));
}

/** Gives the seconds of a track back, if it has any. */
export function dropSeconds(track: u32): void {
  const block = blockOf(track);
  if (!block) return;
  store<u32>(secondsWord(track), 0);
  give(block);
}

/** The same where no window can ask for them any more. */
export function dropIdleSeconds(track: u32, now: u32): void {
  if (load<u32>(track + MINUTE) + MINUTES_ASKED_FOR <= now) dropSeconds(track);
}

function placeOf(block: u32, second: i64): u32 {
  return block + RING + ((<u32>(second % KEPT)) << load<u8>(block + WIDTH));
}

function sumAt(block: u32, second: i64): i64 {
  const at = placeOf(block, second);
  const width = load<u8>(block + WIDTH);
  if (width === NARROWEST) return load<i16>(at);
  return width === WIDEST ? load<i64>(at) : <i64>load<i32>(at);
}

/** Stores a sum that the ring has the width for. */
function storeSum(block: u32, second: i64, sum: i64): void {
  const at = placeOf(block, second);
  const width = load<u8>(block + WIDTH);
  if (width === NARROWEST) store<i16>(at, <i16>sum);
  else if (width === WIDEST) store<i64>(at, sum);
  else store<i32>(at, <i32>sum);
}

function storeNewest(block: u32, second: i64): void {
  store<u8>(block + NEWEST, <u8>(second % SECONDS_OF_MINUTE));
}

function newestSecond(track: u32, block: u32): i64 {
  return <i64>load<u32>(track + MINUTE) * SECONDS_OF_MINUTE + <i64>load<u8>(block + NEWEST);
}

/** The first second from which on every second's sum is known. */
export function secondsSince(track: u32): i64 {
  const block = blockOf(track);
  const since = block ? load<u32>(block) : load<u32>(track + MINUTE) + 1;
  const known = <i64>max<u32>(since, load<u32>(track + SINCE)) * SECONDS_OF_MINUTE;
  return block ? max<i64>(known, newestSecond(track, block) + 1 - KEPT) : known;
}

/** What a second has changed the counter by; 0 where that is not known. */
export function secondSum(track: u32, second: i64): i64 {
  const block = blockOf(track);
  if (!block) return 0;
  const age = newestSecond(track, block) - second;
  return age < 0 || age >= KEPT ? 0 : sumAt(block, second);
}
