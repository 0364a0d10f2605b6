import { classOfRecord, decodeBatch, KEYS, RECORD_BYTES, SLOT, STATUS } from './batch';
import { existsAt, slotAddress, trackAt } from './cells';
import { keepsOf, UNIQUE_WINDOWS, UNIQUES } from './classes';
import { minuteOf } from './event-time';
import {
  ABSENT,
  ANSWER,
  BAD_REQUEST,
  NOT_TRACKED,
  OK,
  REGISTER_NEXT,
  SCRATCH,
  SKETCHES,
  TOO_MANY_OPERATIONS,
} from './layout';
import { seenSet, windowsWord } from './sets';
import { countRanks, estimate, SKETCH_BYTES } from './sketch';
import { countNew, writeNew } from './union';
import { knowsWindow, listWindow } from './unique-windows';
import { countItems, exactCount, HISTOGRAM, isExact, raiseAll } from './uniques';
import { readVarint64, writeVarint } from './varint';

/** UNIQUES: how many different items were seen under names, under each or under all of them together. */

// What is asked for
export const EACH: u32 = 0;
export const UNION: u32 = 1;
/** The union, as something that can be united with that of another partition. */
export const SKETCH: u32 = 2;
/** Added to what is asked for: within a window, which `unit u8 | length varint` tells. */
const WITHIN: u32 = 4;
const DAYS: u32 = 1;

// The window at hand, in the registers behind those of a KEEP
const UNIT: u32 = 192; // u32
const LENGTH: u32 = 196; // u32: 0 = no window
const MINUTE: u32 = 200; // u32: that it ends with

/** More names take several requests, and a union of them their sketches: an estimate takes some microseconds. */
const MOST_NAMES: u32 = 256;
/** The same within a window, where a name has up to 90 sets. */
const MOST_NAMES_WITHIN: u32 = 16;
/** Looking for the items of sets in others, for an exact union, takes at most so many lookups: some milliseconds. */
const MOST_LOOKUPS: u64 = 65536;
/** Hashes of an exact union in an answer, 128 KiB; a larger one is answered as a sketch. */
export const MOST_HASHES: u32 = 16384;
/** What stands before them, or before registers. */
export const HASHES: u32 = 0;
export const REGISTERS_OF_UNION: u32 = 1;

// Volatile, behind the records of a batch
const SKETCH_OF_UNION: u32 = SKETCHES;
const SETS: u32 = SKETCHES + 0x8000;
/** Longer windows than any class keeps. */
const LONGEST: u32 = 100000;

/** OK and the number of names in REGISTER_NEXT for a body `what | [window] | count | keys`, or the status that refuses it. */
export function checkUniques(start: u32, end: u32, milliseconds: i64): u32 {
  if (start === end || (<u32>load<u8>(start) & ~WITHIN) > SKETCH) return BAD_REQUEST;
  const hasWindow = (<u32>load<u8>(start) & WITHIN) !== 0;
  let p = start + 1;
  store<u32>(LENGTH, 0);
  if (hasWindow) {
    const unit = <u32>load<u8>(p);
    const length = readVarint64(p + 1);
    p = load<u32>(REGISTER_NEXT);
    if (!p || p > end || unit > DAYS || length < 1 || length > <u64>LONGEST) return BAD_REQUEST;
    store<u32>(UNIT, unit);
    store<u32>(LENGTH, <u32>length);
    store<u32>(MINUTE, minuteOf(milliseconds));
  }
  const status = decodeBatch(p, end, KEYS);
  const most = hasWindow ? MOST_NAMES_WITHIN : MOST_NAMES;
  return !status && load<u32>(REGISTER_NEXT) > most ? TOO_MANY_OPERATIONS : status;
}

/** Answers a checked UNIQUES; the length of the answer. */
export function answerUniques(asked: u32, count: u32): u32 {
  const end = SCRATCH + count * RECORD_BYTES;
  const what = asked & ~WITHIN;
  if (what !== EACH) return answerUnion(what, end);
  let p = writeVarint(ANSWER, count);
  for (let record = SCRATCH; record < end; record += RECORD_BYTES) {
    const status = statusOf(record);
    store<u8>(p++, <u8>status);
    if (status) continue;
    p = writeUnion(p, listSets(record, SETS));
  }
  return p - ANSWER;
}

/** Lists the sets of a record's counter that are asked for, from `to` on: where they end. */
function listSets(record: u32, to: u32): u32 {
  const track = trackAt(slotAddress(load<u32>(record + SLOT) - 1));
  if (!track) return to;
  if (load<u32>(LENGTH)) {
    const word = windowsWord(track);
    return word ? listWindow(word, load<u32>(UNIT) === DAYS, load<u32>(LENGTH), load<u32>(MINUTE), to) : to;
  }
  store<u32>(to, seenSet(track));
  return to + 4;
}

/** Writes how many items there are in the sets of a list. */
function writeUnion(p: u32, end: u32): u32 {
  if (end === SETS + 4) return writeCount(p, isExact(load<u32>(SETS)), countItems(load<u32>(SETS)));
  if (isExactUnion(end)) return writeCount(p, true, countUnion(end));
  uniteSketches(SKETCH_OF_UNION, end);
  countRanks(SKETCH_OF_UNION, HISTOGRAM);
  return writeCount(p, false, estimate(HISTOGRAM));
}

function statusOf(record: u32): u32 {
  const slot = load<u32>(record + SLOT);
  const status = load<u32>(record + STATUS);
  if (!slot && status !== ABSENT) return status;
  const known = classOfRecord(record, slot);
  if (!(keepsOf(known) & UNIQUES) || !isKnown(slot, known)) return NOT_TRACKED;
  return slot && existsAt(slotAddress(slot - 1)) ? OK : ABSENT;
}

/** Whether the window at hand, if there is one, is known of a slot + 1, or of a name without one. */
function isKnown(slot: u32, known: u32): bool {
  const length = load<u32>(LENGTH);
  if (!length) return true;
  const track = slot ? trackAt(slotAddress(slot - 1)) : 0;
  const word = track ? windowsWord(track) : 0;
  return (
    (keepsOf(known) & UNIQUE_WINDOWS) !== 0 &&
    knowsWindow(word, known, load<u32>(UNIT) === DAYS, length, load<u32>(MINUTE))
  );
}

function writeCount(p: u32, exact: bool, count: u64): u32 {
  store<u8>(p, exact ? 1 : 0);
  return writeVarint(p + 1, count);
}

/** One name of which no uniques are kept, or that no counter has, makes the union unknown; an absent one has no items. */
function answerUnion(what: u32, end: u32): u32 {
  let sets: u32 = SETS;
  for (let record = SCRATCH; record < end; record += RECORD_BYTES) {
    const status = statusOf(record);
    if (status && status !== ABSENT) {
      store<u8>(ANSWER, <u8>status);
      return 1;
    }
    if (!status) sets = listSets(record, sets);
  }
  store<u8>(ANSWER, <u8>OK);
  if (what === SKETCH) {
    const exact = isExactUnion(sets);
    const count = exact ? countUnion(sets) : 0;
    return answerSketch(sets, exact && count <= MOST_HASHES, count);
  }
  return writeUnion(ANSWER + 1, sets) - ANSWER;
}

/** Whether a union of sets can be counted exactly. The largest set comes to the front: only the others are looked up. */
function isExactUnion(end: u32): bool {
  let largest: u32 = 0;
  for (let place = SETS; place < end; place += 4) {
    const set = load<u32>(place);
    if (!isExact(set)) return false;
    if (exactCount(set) <= largest) continue;
    largest = exactCount(set);
    store<u32>(place, load<u32>(SETS));
    store<u32>(SETS, set);
  }
  let lookups: u64 = 0;
  for (let place = SETS; place < end; place += 4) {
    lookups += <u64>((place - SETS) >> 2) * exactCount(load<u32>(place));
  }
  return lookups <= MOST_LOOKUPS;
}

/** The items of each set that are in none before it. */
function countUnion(end: u32): u32 {
  if (end === SETS) return 0;
  let count = exactCount(load<u32>(SETS));
  for (let place = SETS + 4; place < end; place += 4) count += countNew(SETS, place);
  return count;
}

function uniteSketches(sketch: u32, end: u32): void {
  memory.fill(sketch, 0, SKETCH_BYTES);
  for (let place = SETS; place < end; place += 4) raiseAll(sketch, load<u32>(place));
}

/** `0 | hashes | u64 hash …` of a small exact union, or `1 | registers` */
function answerSketch(end: u32, exact: bool, count: u32): u32 {
  store<u8>(ANSWER + 1, <u8>(exact ? HASHES : REGISTERS_OF_UNION));
  if (!exact) {
    uniteSketches(ANSWER + 2, end);
    return 2 + SKETCH_BYTES;
  }
  let p = writeVarint(ANSWER + 2, count);
  for (let place = SETS; place < end; place += 4) p = writeNew(SETS, place, p);
  return p - ANSWER;
}
