import { keepsOf, SECONDS } from './classes';
import { addToWindow, beginSparse, dropDecreases, reachOf } from './rings';
import { addToSeconds, dropIdleSeconds } from './seconds';
import { classOfTrack, decreasesOf, hangDecreases, MINUTE, SINCE } from './tracks';

/**
 * Gross sums: a class that keeps them has a second window of what a counter was decreased by, whose sums are 0 or less. What it was increased by is
 * the net sum less that. There is none until the first decrease, and again once that is too old to be asked for: a counter that only grows pays nothing.
 *
 * What the first window knows of a minute the second one knows too, unless it says otherwise itself. Where there is no memory for it, the first one
 * gives the minute up.
 */

/** Adds a decrease, when it has been added to the window; `second` is that to which it belongs, where the class keeps seconds. */
export function addDecrease(track: u32, minute: u32, second: i64, delta: i64, now: u32): void {
  const keeps = keepsOf(classOfTrack(track));
  const known = decreasesOf(track);
  if (!known && minute + reachOf(keeps) <= load<u32>(track + MINUTE)) return;
  const decreases = known ? known : open(track, minute);
  if (!decreases) {
    store<u32>(track + SINCE, max<u32>(load<u32>(track + SINCE), minute + 1));
    return;
  }
  if (keeps & SECONDS) addToSeconds(decreases, second, delta, !known);
  addToWindow(decreases, minute, delta, now);
}

function open(track: u32, minute: u32): u32 {
  const decreases = hangDecreases(track);
  if (decreases) beginSparse(decreases, minute, load<u32>(track + SINCE));
  return decreases;
}

/** Gives back what no window can ask for any more. */
export function dropIdleDecreases(track: u32, now: u32): void {
  const decreases = decreasesOf(track);
  if (!decreases) return;
  // By the window's newest minute, not by the clock, which may be set back.
  if (load<u32>(decreases + MINUTE) + reachOf(keepsOf(classOfTrack(track))) <= load<u32>(track + MINUTE))
    dropDecreases(track);
  else dropIdleSeconds(decreases, now);
}
