import { areSame } from './bytes';
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
  LOOKS,
  MAX_SLOTS,
  NAME_HOLES,
  NAME_INDEX,
  NAME_INVALID,
  OK,
  OTHER_NAME,
  PAGE,
  WHOLE_NAME,
  WRONG_PARTITION,
} from './layout';
import { allocatePages, freePage, hasRoom } from './memory';
import { willNeed } from './prefetch';
import { learnPrefix, prefixBytes, prefixLength, prefixOf } from './prefixes';
import { isWatched, touchGone } from './touched';
import { endTrack } from './tracking';

/**
 * The names, one after another in pages of their own. Where a name begins with one of the prefixes (prefixes.ts), its record has the number of that, and the
 * bytes behind it:
 *
 *   0                         2                              at least 4, and even
 *   | u16 length of the name, | bytes behind the prefix … |  |
 *   | prefix × 2,048          |                    0 or a 0  |
 *
 * A name never crosses a page's end, and the last 8 bytes of a page stay free, so that names can be read by whole words.
 *
 * A name that is deleted leaves a hole of its size, which the next record of just that size takes. The holes of each size are linked:
 *
 *   0                 4            size              the list of a size begins at NAME_HOLES + 2 × size: sizes are even,
 *   | u32 next, or 0  | 0 …        |                 from 4 to 1,026, so that 514 words hold the heads
 */
const LENGTH_BYTES: u32 = 2;
const LEAST_RECORD: u32 = 4;
const LENGTH_MASK: u32 = 2047;
const PREFIX_SHIFT: u32 = 11;
const WORD: u32 = 8;
/** After so many slots the newest name is looked at, and one that is anywhere: names may come in turns. */
const LOOK_SHIFT: u32 = 8;
const SPREAD: u32 = 2654435761;

/** What a name that was added took of what deleted names had left, for unaddName(). */
export const OLD_SLOT: u32 = 1;
export const OLD_RECORD: u32 = 2;

export function nameLength(name: u32): u32 {
  return <u32>load<u16>(name) & LENGTH_MASK;
}

function prefixAt(name: u32): u32 {
  return <u32>load<u16>(name) >> PREFIX_SHIFT;
}

/** Copies a name, and gives its length. */
export function copyName(name: u32, target: u32): u32 {
  const length = nameLength(name);
  const prefix = prefixAt(name);
  const shared = prefixLength(prefix);
  memory.copy(target, prefixBytes(prefix), shared);
  memory.copy(target + shared, name + LENGTH_BYTES, length - shared);
  return length;
}

/** The address of the bytes of a name, valid until the next call. */
export function wholeName(name: u32): u32 {
  if (!prefixAt(name)) return name + LENGTH_BYTES;
  copyName(name, WHOLE_NAME);
  return WHOLE_NAME;
}

/** Notes what comparing a record, 0 where there is none, with a name of so many bytes needs: two cache lines, as a record begins anywhere. */
export function willNeedName(p: u32, name: u32, length: u32): u32 {
  // With a prefix the record ends before that. Behind its page may be nothing.
  return willNeed(willNeed(p, name), min<u32>(name + length, (name | (PAGE - 1)) - 3));
}

export function nameHash(slot: u32): u64 {
  const name = nameAt(slotAddress(slot));
  return sipHash(wholeName(name), nameLength(name));
}

/** Whether a name record holds these bytes. What is behind the prefix is compared in line, by words, the last one overlapping. */
// @inline
export function nameEquals(name: u32, pointer: u32, length: u32): bool {
  const head = <u32>load<u16>(name);
  let bytes = pointer;
  let kept = length;
  if (head !== length) {
    if ((head & LENGTH_MASK) !== length) return false;
    const prefix = head >> PREFIX_SHIFT;
    const shared = prefixLength(prefix);
    if (!areSame(prefixBytes(prefix), pointer, shared)) return false;
    bytes += shared;
    kept -= shared;
  }
  const rest = name + LENGTH_BYTES;
  if (kept < WORD) {
    const mask = ((<u64>1) << (kept << 3)) - 1;
    return ((load<u64>(rest) ^ load<u64>(bytes)) & mask) === 0;
  }
  const last = kept - WORD;
  for (let i: u32 = 0; i < last; i += WORD) {
    if (load<u64>(rest + i) !== load<u64>(bytes + i)) return false;
  }
  return load<u64>(rest + last) === load<u64>(bytes + last);
}

/** Whether the name of a record begins with these bytes. */
export function nameStartsWith(name: u32, pointer: u32, length: u32): bool {
  if (nameLength(name) < length) return false;
  const prefix = prefixAt(name);
  const shared = min<u32>(prefixLength(prefix), length);
  return (
    areSame(prefixBytes(prefix), pointer, shared) && areSame(name + LENGTH_BYTES, pointer + shared, length - shared)
  );
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

/** Of a record with so many bytes behind the prefix. */
function recordBytes(kept: u32): u32 {
  return max<u32>(LEAST_RECORD, (LENGTH_BYTES + kept + 1) & ~1);
}

/** The bytes that a record has behind the prefix. */
function keptAt(name: u32): u32 {
  return nameLength(name) - prefixLength(prefixAt(name));
}

/** Where the list of holes of a size begins. */
function holesOf(bytes: u32): u32 {
  return NAME_HOLES + (bytes << 1);
}

/** Whether the page that takes names has room for a record. */
function fitsOnPage(bytes: u32): bool {
  const next = load<u32>(H_NAME_NEXT);
  return next !== 0 && next + bytes <= load<u32>(H_NAME_END);
}

/** Whether another name can be added: with new memory, or within what deleted ones have left. */
export function hasNameRoom(pointer: u32, length: u32): bool {
  if (hasRoom()) return hasFreeSlot() || load<u32>(H_SLOTS) < MAX_SLOTS;
  const bytes = recordBytes(length - prefixLength(prefixOf(pointer, length)));
  return hasFreeSlot() && (load<u32>(holesOf(bytes)) !== 0 || fitsOnPage(bytes)) && canInsert();
}

/** What a name with a prefix would take of what deleted ones have left: OLD_SLOT, OLD_RECORD. */
export function leftFor(length: u32, prefix: u32): u32 {
  const holes = holesOf(recordBytes(length - prefixLength(prefix)));
  return (hasFreeSlot() ? OLD_SLOT : 0) | (load<u32>(holes) ? OLD_RECORD : 0);
}

/** Adds a name that is not in the index, with its prefixOf(), and gives its slot. The caller has asked hasNameRoom(). */
export function addName(hash: u64, pointer: u32, length: u32, prefix: u32): u32 {
  const shared = prefixLength(prefix);
  const name = takeRecord(recordBytes(length - shared));
  store<u16>(name, <u16>(length | (prefix << PREFIX_SHIFT)));
  memory.copy(name + LENGTH_BYTES, pointer + shared, length - shared);
  const slot = takeSlot(name);
  if (load<u32>(H_CLASSES)) setClass(slotAddress(slot), classOf(pointer, length));
  insert(NAME_INDEX, hash, slot);
  return slot;
}

function takeRecord(bytes: u32): u32 {
  const holes = holesOf(bytes);
  const hole = load<u32>(holes);
  if (hole) {
    store<u32>(holes, load<u32>(hole));
    store<u32>(hole, 0);
    return hole;
  }
  if (!fitsOnPage(bytes)) {
    const page = allocatePages(1);
    if (!page) unreachable();
    store<u32>(H_NAME_NEXT, page);
    store<u32>(H_NAME_END, page + PAGE - WORD);
  }
  const name = load<u32>(H_NAME_NEXT);
  store<u32>(H_NAME_NEXT, name + bytes);
  return name;
}

/** Makes the record of a name a hole. */
function leaveHole(name: u32): void {
  const bytes = recordBytes(keptAt(name));
  const holes = holesOf(bytes);
  memory.fill(name, 0, bytes);
  store<u32>(name, load<u32>(holes));
  store<u32>(holes, name);
}

/** Takes a counter's name out of the index, and ends the counter. */
export function deleteName(slot: u32): void {
  const name = nameAt(slotAddress(slot));
  if (isWatched()) touchGone(slot, wholeName(name), nameLength(name));
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
  memory.fill(name, 0, LENGTH_BYTES + keptAt(name));
  const page = name & ~(PAGE - 1);
  const newest = (load<u32>(H_NAME_END) - 1) & ~(PAGE - 1);
  if (page !== newest) freePage(newest); // the names on it were undone before
  store<u32>(H_NAME_NEXT, name);
  store<u32>(H_NAME_END, page + PAGE - WORD);
}

/**
 * Looks for what names begin with, by holding the newest one against some other. To be called when a body has been applied, and nothing of it is undone
 * any more.
 */
export function learnFromNames(): void {
  const slots = load<u32>(H_SLOTS);
  const look = slots >> LOOK_SHIFT;
  if (look <= load<u32>(LOOKS)) return;
  store<u32>(LOOKS, look);
  const name = nameAt(slotAddress(slots - 1));
  const other = nameAt(slotAddress((look * SPREAD) % slots));
  if (!name || !other) return;
  const length = copyName(other, OTHER_NAME);
  learnPrefix(wholeName(name), nameLength(name), OTHER_NAME, length);
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
