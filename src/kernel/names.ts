import { freeSlot, hasFreeSlot, nameAt, setClass, slotAddress, takeSlot, untakeSlot } from './cells';
import { classOf } from './classes';
import { emitGone } from './emitted';
import { partitionHash, sipHash } from './hash';
import { bucketOf, canInsert, insert, itemAt, matches, overflowOf, remove } from './index';
import {
  H_CLASSES,
  H_NAME_END,
  H_NAME_NEXT,
  H_PARTITION,
  H_PARTITIONS,
  H_SLOTS,
  MAX_SLOTS,
  NAME_HOLES,
  NAME_INDEX,
  NAME_INVALID,
  OK,
  PAGE,
  WRONG_PARTITION,
} from './layout';
import { allocatePages, freePage, hasRoom } from './memory';
import { isWatched, touchGone } from './touched';
import { endTrack } from './tracking';

/**
 * The names, one after another in pages of their own:
 *
 *   0             2                    at least 4, and even
 *   | u16 length  | bytes … | 0 or a 0 |
 *
 * A name never crosses a page's end, and the last 8 bytes of a page stay free, so that names can be read by whole words.
 *
 * A name that is deleted leaves a hole of its size, which the next name of just that size takes. The holes of each size are linked:
 *
 *   0                 4            size              the list of a size begins at NAME_HOLES + 2 × size: sizes are even,
 *   | u32 next, or 0  | 0 …        |                 from 4 to 1,026, so that 514 words hold the heads
 */
const LENGTH_BYTES: u32 = 2;
const WORD: u32 = 8;
const LEAST_RECORD: u32 = 4;

/** What a name that was added took of what deleted names had left, for unaddName(). */
export const OLD_SLOT: u32 = 1;
export const OLD_RECORD: u32 = 2;

export function nameLength(name: u32): u32 {
  return <u32>load<u16>(name);
}

export function nameBytes(name: u32): u32 {
  return name + LENGTH_BYTES;
}

export function nameHash(slot: u32): u64 {
  const name = nameAt(slotAddress(slot));
  return sipHash(nameBytes(name), nameLength(name));
}

/** Whether a name record holds these bytes. Compares by words, the last one overlapping. */
export function nameEquals(name: u32, pointer: u32, length: u32): bool {
  if (nameLength(name) !== length) return false;
  const bytes = nameBytes(name);
  if (length < WORD) {
    const mask = ((<u64>1) << (length << 3)) - 1;
    return ((load<u64>(bytes) ^ load<u64>(pointer)) & mask) === 0;
  }
  const last = length - WORD;
  for (let i: u32 = 0; i < last; i += WORD) {
    if (load<u64>(bytes + i) !== load<u64>(pointer + i)) return false;
  }
  return load<u64>(bytes + last) === load<u64>(pointer + last);
}

/** Whether the name of a record begins with these bytes. */
export function nameStartsWith(name: u32, prefix: u32, length: u32): bool {
  if (nameLength(name) < length) return false;
  const bytes = nameBytes(name);
  let i: u32 = 0;
  for (; i + WORD <= length; i += WORD) {
    if (load<u64>(bytes + i) !== load<u64>(prefix + i)) return false;
  }
  const rest = length - i;
  const mask = ((<u64>1) << (rest << 3)) - 1;
  return ((load<u64>(bytes + i) ^ load<u64>(prefix + i)) & mask) === 0;
}

/** The slot of a name plus one, or 0. */
export function findName(hash: u64, pointer: u32, length: u32): u32 {
  for (let bucket = bucketOf(NAME_INDEX, hash); bucket; bucket = overflowOf(bucket)) {
    for (let bits = matches(bucket, hash); bits; bits &= bits - 1) {
      const item = itemAt(bucket, ctz<u32>(bits));
      if (item && nameEquals(nameAt(slotAddress(item - 1)), pointer, length)) return item;
    }
  }
  return 0;
}

/** Whether a name that is not in the index may be: OK, WRONG_PARTITION or NAME_INVALID. A name that is in it was checked then. */
export function checkNewName(pointer: u32, length: u32): u32 {
  if (partitionHash(pointer, length) % load<u32>(H_PARTITIONS) !== load<u32>(H_PARTITION)) return WRONG_PARTITION;
  return isUtf8(pointer, pointer + length) ? OK : NAME_INVALID;
}

function recordBytes(length: u32): u32 {
  return max<u32>(LEAST_RECORD, (LENGTH_BYTES + length + 1) & ~1);
}

/** Where the list of holes begins that a name of this length fits. */
function holesOf(length: u32): u32 {
  return NAME_HOLES + (recordBytes(length) << 1);
}

/** Whether the page that takes names has room for one of this length. */
function fitsOnPage(length: u32): bool {
  const next = load<u32>(H_NAME_NEXT);
  return next !== 0 && next + recordBytes(length) <= load<u32>(H_NAME_END);
}

/** Whether another name of this length can be added: with new memory, or within what deleted ones have left. */
export function hasNameRoom(length: u32): bool {
  if (hasRoom()) return hasFreeSlot() || load<u32>(H_SLOTS) < MAX_SLOTS;
  return hasFreeSlot() && (load<u32>(holesOf(length)) !== 0 || fitsOnPage(length)) && canInsert();
}

/** What the next name of this length will take of what deleted ones have left: OLD_SLOT, OLD_RECORD. */
export function leftFor(length: u32): u32 {
  return (hasFreeSlot() ? OLD_SLOT : 0) | (load<u32>(holesOf(length)) ? OLD_RECORD : 0);
}

/** Adds a name that is not in the index and gives its slot. The caller has asked hasNameRoom(). */
export function addName(hash: u64, pointer: u32, length: u32): u32 {
  const name = takeRecord(length);
  store<u16>(name, <u16>length);
  memory.copy(nameBytes(name), pointer, length);
  const slot = takeSlot(name);
  if (load<u32>(H_CLASSES)) setClass(slotAddress(slot), classOf(pointer, length));
  insert(NAME_INDEX, hash, slot);
  return slot;
}

function takeRecord(length: u32): u32 {
  const holes = holesOf(length);
  const hole = load<u32>(holes);
  if (hole) {
    store<u32>(holes, load<u32>(hole));
    store<u32>(hole, 0);
    return hole;
  }
  if (!fitsOnPage(length)) {
    const page = allocatePages(1);
    if (!page) unreachable();
    store<u32>(H_NAME_NEXT, page);
    store<u32>(H_NAME_END, page + PAGE - WORD);
  }
  const name = load<u32>(H_NAME_NEXT);
  store<u32>(H_NAME_NEXT, name + recordBytes(length));
  return name;
}

/** Makes the record of a name a hole. */
function leaveHole(name: u32): void {
  const length = nameLength(name);
  const holes = holesOf(length);
  memory.fill(name, 0, recordBytes(length));
  store<u32>(name, load<u32>(holes));
  store<u32>(holes, name);
}

/** Takes a counter's name out of the index, and ends the counter. */
export function deleteName(slot: u32): void {
  const name = nameAt(slotAddress(slot));
  if (isWatched()) touchGone(slot, nameBytes(name), nameLength(name));
  remove(NAME_INDEX, nameHash(slot), slot);
  endTrack(slot);
  emitGone(slot);
  freeSlot(slot);
  leaveHole(name);
}

/** Undoes the last addName(); `left` is what leftFor() said before it. */
export function unaddName(hash: u64, slot: u32, left: u32): void {
  const name = nameAt(slotAddress(slot));
  remove(NAME_INDEX, hash, slot);
  untakeSlot(slot, (left & OLD_SLOT) !== 0);
  if (left & OLD_RECORD) {
    leaveHole(name);
    return;
  }
  memory.fill(name, 0, LENGTH_BYTES + nameLength(name));
  const page = name & ~(PAGE - 1);
  const newest = (load<u32>(H_NAME_END) - 1) & ~(PAGE - 1);
  if (page !== newest) freePage(newest); // the names on it were undone before
  store<u32>(H_NAME_NEXT, name);
  store<u32>(H_NAME_END, page + PAGE - WORD);
}

/** RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
export function isUtf8(pointer: u32, end: u32): bool {
  let p = pointer;
  while (p < end) {
    const lead = <u32>load<u8>(p++);
    if (lead < 0x80) continue;
    let rest: u32 = 0;
    let low: u32 = 0x80;
    let high: u32 = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) rest = 1;
    else if (lead >= 0xe0 && lead <= 0xef) rest = 2;
    else if (lead >= 0xf0 && lead <= 0xf4) rest = 3;
    else return false;
    if (lead === 0xe0) low = 0xa0;
    if (lead === 0xed) high = 0x9f;
    if (lead === 0xf0) low = 0x90;
    if (lead === 0xf4) high = 0x8f;
    if (p + rest > end) return false;
    for (; rest; rest--) {
      const byte = <u32>load<u8>(p++);
      if (byte < low || byte > high) return false;
      low = 0x80;
      high = 0xbf;
    }
  }
  return true;
}
