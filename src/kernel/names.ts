import { nameAt, slotAddress, takeSlot, untakeSlot } from './cells';
import { partitionHash, sipHash } from './hash';
import { bucketOf, insert, itemAt, matches, overflowOf, remove } from './index';
import {
  H_NAME_END,
  H_NAME_NEXT,
  H_PARTITION,
  H_PARTITIONS,
  H_SLOTS,
  MAX_SLOTS,
  NAME_INDEX,
  NAME_INVALID,
  OK,
  PAGE,
  WRONG_PARTITION,
} from './layout';
import { allocatePages, freePage, hasRoom } from './memory';

/**
 * The names, one after another in pages of their own:
 *
 *   0             2
 *   | u16 length  | bytes … |
 *
 * A name never crosses a page's end, and the last 8 bytes of a page stay free, so that names can be read by whole words.
 */
const LENGTH_BYTES: u32 = 2;
const WORD: u32 = 8;

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

/** Whether another name can be added. */
export function hasNameRoom(): bool {
  return hasRoom() && load<u32>(H_SLOTS) < MAX_SLOTS;
}

/** Adds a name that is not in the index and gives its slot. The caller has asked hasNameRoom(). */
export function addName(hash: u64, pointer: u32, length: u32): u32 {
  let name = load<u32>(H_NAME_NEXT);
  if (!name || name + LENGTH_BYTES + length > load<u32>(H_NAME_END)) {
    name = allocatePages(1);
    if (!name) unreachable();
    store<u32>(H_NAME_END, name + PAGE - WORD);
  }
  store<u16>(name, <u16>length);
  memory.copy(nameBytes(name), pointer, length);
  store<u32>(H_NAME_NEXT, name + LENGTH_BYTES + length);
  const slot = takeSlot(name);
  insert(NAME_INDEX, hash, slot);
  return slot;
}

/** Undoes the last addName(). */
export function unaddName(hash: u64, slot: u32): void {
  const name = nameAt(slotAddress(slot));
  remove(NAME_INDEX, hash, slot);
  untakeSlot(slot);
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
