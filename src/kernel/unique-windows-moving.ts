import { decodeKey, EXTENSION, findStage, RECORD_BYTES, SLOT } from './batch';
import { classAt, existsAt, slotAddress, trackAt } from './cells';
import { keepsOf, thresholdOf, UNIQUE_WINDOWS } from './classes';
import { HASH_SHIFT } from './items';
import {
  ABSENT,
  ANSWER,
  BAD_REQUEST,
  H_SLOTS,
  MEMORY_FULL,
  NAME_INVALID,
  NOT_TRACKED,
  OK,
  SCRATCH,
  SKETCHES,
} from './layout';
import { foldSets, openWindowsWord, windowsWord } from './sets';
import { isSketch, SKETCH_BYTES } from './sketch';
import { ENTRY_SHIFT, hashOfEntry, MOST_ENTRIES } from './sparse';
import { countWindowBytes, openTrack } from './tracks';
import { writeNew } from './union';
import { bringWindow, firstDayOf, firstHourOf, numberOfWindow, setOfWindow, windowAt } from './unique-windows';
import {
  absorbSketch,
  bytesOfSet,
  exactCount,
  isExact,
  NO_MEMORY,
  raiseAll,
  SPARSE,
  seeItem,
  uniquesBlock,
  uniquesCount,
  uniquesForm,
} from './uniques';
import { HASHES, MOST_HASHES, REGISTERS_OF_UNION } from './uniques-query';

/**
 * BRING, `key | hour or day`: brings what was seen under a name of another partition in an hour or a day under that name here. Only a partition in the
 * making gets one.
 *
 *   0                 4                8             12        13
 *   | u32 first hour, | u32 first day, | u32 number  | u8 form | u64 hash … or 12,288 bytes of registers
 *   |    of which everything is known  | of windows  |         |
 *
 * A sketch of few registers comes as a hash for each of them.
 */
const FIRST_HOUR: u32 = 0;
const FIRST_DAY: u32 = 4;
const NUMBER: u32 = 8;
const FORM: u32 = 12;
const ITEMS: u32 = 13;
/** Beside those of a sketch in uniques-query.ts: hashes that are no items, but have their registers. */
const HASHES_OF_SKETCH: u32 = 2;

// The checked hour or day of a BRING, in the registers behind those of a UNIQUES
const BROUGHT: u32 = 208; // u32 address, u32 end

// Volatile, where a question about uniques lists its sets
const SETS: u32 = SKETCHES + 0x8000;

/** Writes what a slot's counter has seen in one of its hours and days to ANSWER: bytes; 0 behind the last. */
export function tellWindow(slot: u32, index: u32): u32 {
  const track = slot < load<u32>(H_SLOTS) ? trackAt(slotAddress(slot)) : 0;
  const word = track ? windowsWord(track) : 0;
  const bucket = word ? windowAt(word, index) : 0;
  if (!bucket) return 0;
  store<u32>(ANSWER + FIRST_HOUR, firstHourOf(word));
  store<u32>(ANSWER + FIRST_DAY, firstDayOf(word));
  store<u32>(ANSWER + NUMBER, numberOfWindow(bucket));
  return tellSet(setOfWindow(bucket), ANSWER + ITEMS) - ANSWER;
}

/** Writes the items of a set: where they end. More than 16,384 of them go on as their sketch. */
function tellSet(set: u32, p: u32): u32 {
  if (isExact(set) && exactCount(set) <= MOST_HASHES) {
    store<u8>(ANSWER + FORM, <u8>HASHES);
    store<u32>(SETS, set);
    return writeNew(SETS, SETS, p);
  }
  if (uniquesForm(set) === SPARSE) {
    store<u8>(ANSWER + FORM, <u8>HASHES_OF_SKETCH);
    const entries = uniquesBlock(set);
    const count = uniquesCount(set);
    for (let index: u32 = 0; index < count; index++, p += 8) {
      store<u64>(p, hashOfEntry(load<u32>(entries + (index << ENTRY_SHIFT))));
    }
    return p;
  }
  store<u8>(ANSWER + FORM, <u8>REGISTERS_OF_UNION);
  memory.fill(p, 0, SKETCH_BYTES);
  raiseAll(p, set);
  return p + SKETCH_BYTES;
}

/** OK or the status that refuses a BRING. */
export function checkBring(start: u32, end: u32): u32 {
  const p = decodeKey(start, end, SCRATCH);
  if (p <= 1) return p ? NAME_INVALID : BAD_REQUEST;
  const items = p + ITEMS;
  if (items > end || load<u32>(SCRATCH + EXTENSION)) return BAD_REQUEST;
  const form = <u32>load<u8>(p + FORM);
  const bytes = end - items;
  if (form === REGISTERS_OF_UNION) {
    if (bytes !== SKETCH_BYTES || !isSketch(items)) return BAD_REQUEST;
  } else {
    const most = form === HASHES ? MOST_HASHES : form === HASHES_OF_SKETCH ? MOST_ENTRIES : 0;
    if (bytes & 7 || bytes >> HASH_SHIFT > most) return BAD_REQUEST;
  }
  store<u32>(BROUGHT, p);
  store<u32>(BROUGHT + 4, end);
  return findStage(SCRATCH, SCRATCH + RECORD_BYTES);
}

/** Takes the hour or day of a checked BRING; the length of the answer, `status u8`. */
export function applyBring(): u32 {
  store<u8>(ANSWER, <u8>bring(load<u32>(SCRATCH + SLOT)));
  return 1;
}

/** Without memory for all of it, some. */
function bring(slot: u32): u32 {
  if (!slot || !existsAt(slotAddress(slot - 1))) return ABSENT;
  const known = classAt(slotAddress(slot - 1));
  if (!(keepsOf(known) & UNIQUE_WINDOWS)) return NOT_TRACKED;
  const track = openTrack(slot - 1);
  const word = track ? openWindowsWord(track) : 0;
  const brought = load<u32>(BROUGHT);
  const firstHour = load<u32>(brought + FIRST_HOUR);
  const firstDay = load<u32>(brought + FIRST_DAY);
  const set = word ? bringWindow(word, track, load<u32>(brought + NUMBER), firstHour, firstDay) : 0;
  const isAll = set !== 0 && putAll(set, thresholdOf(known));
  if (track) foldSets(track);
  return isAll ? OK : MEMORY_FULL;
}

function putAll(set: u32, threshold: u32): bool {
  const brought = load<u32>(BROUGHT);
  const form = <u32>load<u8>(brought + FORM);
  const before = bytesOfSet(set);
  let isAll = true;
  if (form === REGISTERS_OF_UNION) {
    isAll = absorbSketch(set, brought + ITEMS);
  } else {
    const exact = form === HASHES ? threshold : 0;
    for (let p = brought + ITEMS; isAll && p < load<u32>(BROUGHT + 4); p += 8) {
      isAll = !(seeItem(set, load<u64>(p), exact) & NO_MEMORY);
    }
  }
  countWindowBytes(<i64>bytesOfSet(set) - <i64>before);
  return isAll;
}
