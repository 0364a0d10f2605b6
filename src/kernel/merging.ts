import { decodeKey, EXTENSION, findStage, HASH, KEY, KEY_LENGTH, RECORD_BYTES, SLOT, STATUS } from './batch';
import { classAt, slotAddress, trackAt, valueAt, writeValue } from './cells';
import { classOf, keepsOf, thresholdOf, UNIQUES } from './classes';
import { hasClassRoom, noteChange } from './expiring';
import { HASH_SHIFT } from './items';
import { ABSENT, ANSWER, BAD_REQUEST, MEMORY_FULL, NAME_INVALID, NOT_TRACKED, OK, SCRATCH } from './layout';
import { addName, hasNameRoom, leftFor, unaddName } from './names';
import { prefixOf } from './prefixes';
import { seenSet } from './sets';
import { isSketch, SKETCH_BYTES } from './sketch';
import { dropIfIdle, openTrack } from './tracks';
import { absorbSketch, countItems, isExact, NO_MEMORY, seeItem } from './uniques';
import { HASHES, MOST_HASHES, REGISTERS_OF_UNION } from './uniques-query';
import { readVarint, TOO_LONG, VALUE_MASK, writeVarint } from './varint';

/** MERGE: brings the items that a sketch of UNIQUES tells, `key | items`, under a name: as if all of them had been seen. */

// The checked items of a MERGE, in the registers behind those of a WINDOW
const FORM: u32 = 144; // u32
const COUNT: u32 = 148; // u32: of hashes
const ITEMS: u32 = 152; // u32: address of hashes or registers

/** OK or the status that refuses a MERGE. */
export function checkMerge(start: u32, end: u32): u32 {
  const p = decodeKey(start, end, SCRATCH);
  if (p <= 1) return p ? NAME_INVALID : BAD_REQUEST;
  if (p >= end || load<u32>(SCRATCH + EXTENSION)) return BAD_REQUEST;
  const form = <u32>load<u8>(p);
  let items = p + 1;
  let count: u64 = 0;
  if (form === HASHES) {
    const packed = readVarint(items);
    if (packed === TOO_LONG) return BAD_REQUEST;
    count = packed & VALUE_MASK;
    items += <u32>(packed >> 56);
    if (count > <u64>MOST_HASHES || items + ((<u32>count) << HASH_SHIFT) !== end) return BAD_REQUEST;
  } else if (form !== REGISTERS_OF_UNION || items + SKETCH_BYTES !== end || !isSketch(items)) {
    return BAD_REQUEST;
  }
  store<u32>(FORM, form);
  store<u32>(COUNT, <u32>count);
  store<u32>(ITEMS, items);
  return findStage(SCRATCH, SCRATCH + RECORD_BYTES);
}

/** Merges the items of a checked MERGE; the length of the answer: `status | exact | count`. */
export function applyMerge(): u32 {
  const slot = load<u32>(SCRATCH + SLOT);
  const status = load<u32>(SCRATCH + STATUS);
  const merged = status && status !== ABSENT ? status : slot ? mergeInto(slot - 1) : mergeIntoNew();
  store<u8>(ANSWER, <u8>merged);
  if (merged) return 1;
  const track = trackAt(slotAddress(load<u32>(SCRATCH + SLOT) - 1));
  store<u8>(ANSWER + 1, !track || isExact(seenSet(track)) ? 1 : 0);
  return writeVarint(ANSWER + 2, track ? countItems(seenSet(track)) : 0) - ANSWER;
}

/** Without memory for all of them some may be merged; none that was there is forgotten. */
function mergeInto(slot: u32): u32 {
  const address = slotAddress(slot);
  const known = classAt(address);
  if (!(keepsOf(known) & UNIQUES)) return NOT_TRACKED;
  if (!hasClassRoom(slot + 1, known)) return MEMORY_FULL;
  const track = openTrack(slot);
  if (!track) return MEMORY_FULL;
  const set = seenSet(track);
  const merged = load<u32>(FORM) === HASHES ? seeAll(set, thresholdOf(known)) : absorbSketch(set, load<u32>(ITEMS));
  dropIfIdle(track);
  if (merged) {
    writeValue(address, valueAt(address));
    noteChange(slot, known);
  }
  store<u32>(SCRATCH + SLOT, slot + 1);
  return merged ? OK : MEMORY_FULL;
}

function seeAll(set: u32, threshold: u32): bool {
  const hashes = load<u32>(ITEMS);
  for (let p = hashes, end = hashes + (load<u32>(COUNT) << HASH_SHIFT); p < end; p += 8) {
    if (seeItem(set, load<u64>(p), threshold) & NO_MEMORY) return false;
  }
  return true;
}

/** A merge of which nothing came leaves no name behind. */
function mergeIntoNew(): u32 {
  const hash = load<u64>(SCRATCH + HASH);
  const name = load<u32>(SCRATCH + KEY);
  const length = load<u32>(SCRATCH + KEY_LENGTH);
  if (!(keepsOf(classOf(name, length)) & UNIQUES)) return NOT_TRACKED;
  if (!hasNameRoom(name, length)) return MEMORY_FULL;
  const prefix = prefixOf(name, length);
  const left = leftFor(length, prefix);
  const slot = addName(hash, name, length, prefix);
  const status = mergeInto(slot);
  if (!status) return OK;
  const address = slotAddress(slot);
  if (trackAt(address)) writeValue(address, 0);
  else unaddName(hash, slot, left);
  return status;
}
