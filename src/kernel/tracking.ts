import { DELTA, EXTENSION, MARKS, SLOT } from './batch';
import { classAt, existsAt, nameAt, setClass, slotAddress, trackAt } from './cells';
import {
  areDaysKnown,
  classOf,
  GROSS,
  HISTORY,
  isSameClass,
  keepsOf,
  knownSince,
  markUntracked,
  ONCE,
  ROLLOVER,
  SECONDS,
  UNIQUES,
  WINDOWS,
} from './classes';
import { addDecrease, dropIdleDecreases } from './decreases';
import { emitMinute } from './emitted';
import { minuteOfExtension, nowMinute, secondOf } from './event-time';
import { noteChange, rollWithDay, stopRolling } from './expiring';
import { dropExpiry } from './expiry';
import { H_CLASSIFIED, H_TO_CLASSIFY, H_TRACKS } from './layout';
import { nameLength, wholeName } from './names';
import {
  addToWindow,
  closeHour,
  closeWindow,
  dropHanging,
  hasOpenHour,
  isIdle,
  lastUnknownMinute,
  MINUTES_OF_HOUR,
  openWindow,
} from './rings';
import { addToSeconds, dropIdleSeconds } from './seconds';
import { dropSets } from './sets';
import {
  BARE,
  dropIfIdle,
  dropTrack,
  formOf,
  hasOnlyWindow,
  MINUTE,
  nextTrack,
  openTrack,
  SPARSE,
  slotOfTrack,
} from './tracks';

/** How a counter's changes come to its window and history, and how time takes them away again. */

/** What a tick looks at: a part of the tracks, so that a round takes half an hour of ticks, and slots that a change of classes has yet to come to. */
const ROUND_TICKS: u32 = 32;
const LEAST_TRACKS: u32 = 256;
const MOST_TRACKS: u32 = 4096;
const CLASSIFY_SLOTS: u32 = 4096;

/** An operation changed its counter (add.ts): in MARKS of a record that was not a quick step. */
export const CHANGED: u32 = 1;

/** Brings the change of an operation that was applied to what its counter's class keeps; `now` is the minute of the body. */
export function trackRecord(record: u32, now: u32): void {
  const extension = load<u32>(record + EXTENSION);
  if (extension && !(load<u32>(record + MARKS) & CHANGED)) return; // it was applied before, under its id, and may have no slot
  const slot = load<u32>(record + SLOT) - 1;
  const known = classAt(slotAddress(slot));
  if (!known) return;
  const minute = extension ? minuteOfExtension(known, extension) : now + 1;
  if (minute) trackChange(slot, load<i64>(record + DELTA), minute - 1, now, extension);
  noteChange(slot, known);
}

/** Brings a change of a counter to its window, if its class keeps one. `extension` is that of the operation, which may bring a time; 0 without one. */
export function trackChange(slot: u32, delta: i64, minute: u32, now: u32, extension: u32): void {
  const address = slotAddress(slot);
  const known = classAt(address);
  if (!known || !delta) return;
  const keeps = keepsOf(known);
  if (!(keeps & WINDOWS)) return;
  let track = trackAt(address);
  const isFresh = !track || formOf(track) === BARE;
  if (isFresh) {
    track = openTrack(slot);
    const window = track ? openWindow(track, minute, knownSince(known)) : 0;
    if (!window) {
      if (track) dropIfIdle(track);
      markUntracked(known, minute);
      if (keeps & HISTORY) emitMinute(slot, minute, delta);
      return;
    }
    track = window;
  }
  if (keeps & SECONDS) addToSeconds(track, secondOf(extension), delta, isFresh);
  addToWindow(track, minute, delta, now);
  if (keeps & GROSS && delta < 0) addDecrease(trackAt(address), minute, secondOf(extension), delta, now);
}

/** Lets time go over a part of the tracks: closed hours are emitted, idle windows go. */
export function sweepTracks(): void {
  const tracks = load<u32>(H_TRACKS);
  const now = nowMinute();
  const steps = min<u32>(tracks, min<u32>(max<u32>(tracks / ROUND_TICKS, LEAST_TRACKS), MOST_TRACKS));
  for (let i: u32 = 0; i < steps; i++) {
    const track = nextTrack();
    if (formOf(track) < SPARSE) continue;
    dropIdleDecreases(track, now);
    dropIdleSeconds(track, now);
    if (hasOpenHour(track, now / MINUTES_OF_HOUR)) closeNewestHour(track);
    if (isIdle(track, now)) endWindow(track);
  }
}

function closeNewestHour(track: u32): void {
  const newest = load<u32>(track + MINUTE);
  closeHour(track, newest - (newest % MINUTES_OF_HOUR) + MINUTES_OF_HOUR);
}

/** Ends a window, and the track where nothing else hangs on it. */
function endWindow(track: u32): void {
  const slot = slotOfTrack(track);
  markUntracked(classAt(slotAddress(slot)), lastUnknownMinute(track));
  closeNewestHour(track);
  if (hasOnlyWindow(track)) {
    dropHanging(track);
    dropTrack(slot);
  } else {
    closeWindow(track); // without memory for the rest of it, the next round comes back
  }
}

/** Takes all that is kept of a counter besides its value, before its slot is freed. What its history lacks is emitted. */
export function endTrack(slot: u32): void {
  const track = trackAt(slotAddress(slot));
  if (!track) return;
  dropExpiry(track);
  if (formOf(track) >= SPARSE) {
    closeNewestHour(track);
    dropHanging(track);
  }
  dropSets(track, false, false);
  dropTrack(slot);
}

/** Goes on with a change of the classes. */
export function classifySlots(): void {
  const slots = load<u32>(H_TO_CLASSIFY);
  if (!slots || !areDaysKnown()) return;
  const first = load<u32>(H_CLASSIFIED);
  const end = min<u32>(first + CLASSIFY_SLOTS, slots);
  for (let slot = first; slot < end; slot++) classifySlot(slot);
  store<u32>(H_CLASSIFIED, end < slots ? end : 0);
  if (end === slots) store<u32>(H_TO_CLASSIFY, 0);
}

function classifySlot(slot: u32): void {
  const address = slotAddress(slot);
  const name = nameAt(address);
  if (!name) return;
  const old = classAt(address);
  const fresh = classOf(wholeName(name), nameLength(name));
  if (fresh === old) return;
  if (!isSameClass(old, fresh)) {
    const keeps = keepsOf(fresh);
    const sets = trackAt(address);
    if (sets) dropSets(sets, (keeps & UNIQUES) !== 0, (keeps & ONCE) !== 0);
    const track = trackAt(address);
    if (track && formOf(track) >= SPARSE) endWindow(track);
    markUntracked(fresh, nowMinute());
  }
  setClass(address, fresh);
  if (!(keepsOf(fresh) & ROLLOVER)) stopRolling(slot);
  else if (existsAt(address)) rollWithDay(slot, fresh); // without memory, when it is changed
}
