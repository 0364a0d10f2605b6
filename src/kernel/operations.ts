import { sipHash } from './hash';
import { bucketOf, canInsert, insert, itemAt, matches, overflowOf, remove } from './index';
import {
  H_CLOCK,
  H_FREE_OPERATION,
  H_MAXIMUM_OPERATION_IDS,
  H_NEWEST_OPERATION,
  H_OLDEST_OPERATION,
  H_OPERATION_ENTRIES,
  H_OPERATION_IDS,
  H_OPERATION_LIFE,
  OPERATION_DIRECTORY,
  OPERATION_INDEX,
} from './layout';
import { allocatePages, hasRoom } from './memory';

/**
 * Operation ids: a set bounded in time and in number. An entry is 48 bytes; 4,096 of them make a segment of three pages.
 *
 *   0       16                 24          32           40           44           48
 *   | id    | u64 payload hash | i64 value | i64 expires | u32 next+1 | u32 status |
 *
 * `next` links the live entries from the oldest to the newest, which is the order in which they expire, and the free ones. Value
 * and status are the first answer.
 */
const ENTRY_BYTES: u32 = 48;
const SEGMENT_SHIFT: u32 = 12;
const SEGMENT_MASK: u32 = 4095;
const SEGMENT_PAGES: u32 = 3;
const PAYLOAD: u32 = 16;
const VALUE: u32 = 24;
const EXPIRES: u32 = 32;
const NEXT: u32 = 40;
const STATUS: u32 = 44;
const ID_BYTES: u32 = 16;

/** Each batch and each tick forgets at most so many expired ids, and two more for each that the batch adds. */
export const EXPIRE_STEP: u32 = 64;

function entryAt(item: u32): u32 {
  return load<u32>(OPERATION_DIRECTORY + ((item >> SEGMENT_SHIFT) << 2)) + (item & SEGMENT_MASK) * ENTRY_BYTES;
}

export function operationHash(item: u32): u64 {
  return sipHash(entryAt(item), ID_BYTES);
}

/** The address of the entry of an id, or 0. */
export function findOperation(id: u32): u32 {
  const hash = sipHash(id, ID_BYTES);
  for (let bucket = bucketOf(OPERATION_INDEX, hash); bucket; bucket = overflowOf(bucket)) {
    for (let bits = matches(bucket, hash); bits; bits &= bits - 1) {
      const item = itemAt(bucket, ctz<u32>(bits));
      if (!item) continue;
      const entry = entryAt(item - 1);
      if (load<u64>(entry) === load<u64>(id) && load<u64>(entry, 8) === load<u64>(id, 8)) return entry;
    }
  }
  return 0;
}

export function operationPayload(entry: u32): u64 {
  return load<u64>(entry + PAYLOAD);
}

export function operationValue(entry: u32): i64 {
  return load<i64>(entry + VALUE);
}

export function operationStatus(entry: u32): u32 {
  return load<u32>(entry + STATUS);
}

/** Whether another id can be remembered. Live ones are never forgotten early. */
export function hasOperationRoom(): bool {
  if (load<u32>(H_OPERATION_IDS) >= load<u32>(H_MAXIMUM_OPERATION_IDS)) return false;
  return hasRoom() || (load<u32>(H_FREE_OPERATION) !== 0 && canInsert());
}

/** Remembers an id with its first answer. The caller has asked hasOperationRoom(). */
export function rememberOperation(id: u32, payload: u64, status: u32, value: i64): void {
  const item = takeEntry();
  const entry = entryAt(item);
  memory.copy(entry, id, ID_BYTES);
  store<u64>(entry + PAYLOAD, payload);
  store<i64>(entry + VALUE, value);
  store<i64>(entry + EXPIRES, load<i64>(H_CLOCK) + load<i64>(H_OPERATION_LIFE));
  store<u32>(entry + STATUS, status);
  const newest = load<u32>(H_NEWEST_OPERATION);
  if (newest) store<u32>(entryAt(newest - 1) + NEXT, item + 1);
  else store<u32>(H_OLDEST_OPERATION, item + 1);
  store<u32>(H_NEWEST_OPERATION, item + 1);
  store<u32>(H_OPERATION_IDS, load<u32>(H_OPERATION_IDS) + 1);
  insert(OPERATION_INDEX, sipHash(id, ID_BYTES), item);
}

function takeEntry(): u32 {
  const free = load<u32>(H_FREE_OPERATION);
  if (free) {
    const entry = entryAt(free - 1);
    store<u32>(H_FREE_OPERATION, load<u32>(entry + NEXT));
    store<u32>(entry + NEXT, 0);
    return free - 1;
  }
  const item = load<u32>(H_OPERATION_ENTRIES);
  if ((item & SEGMENT_MASK) === 0) {
    const segment = allocatePages(SEGMENT_PAGES);
    if (!segment) unreachable();
    store<u32>(OPERATION_DIRECTORY + ((item >> SEGMENT_SHIFT) << 2), segment);
  }
  store<u32>(H_OPERATION_ENTRIES, item + 1);
  return item;
}

/** Forgets up to `most` of the oldest ids whose time is over. */
export function expireOperations(most: u32): void {
  const clock = load<i64>(H_CLOCK);
  for (let i: u32 = 0; i < most; i++) {
    const oldest = load<u32>(H_OLDEST_OPERATION);
    if (!oldest) return;
    const entry = entryAt(oldest - 1);
    if (load<i64>(entry + EXPIRES) > clock) return;
    const next = load<u32>(entry + NEXT);
    freeEntry(oldest - 1);
    store<u32>(H_OLDEST_OPERATION, next);
    if (!next) store<u32>(H_NEWEST_OPERATION, 0);
  }
}

/** The newest id + 1 (0 = none), for forgetAfter(). */
export function newestOperation(): u32 {
  return load<u32>(H_NEWEST_OPERATION);
}

/** Undoes what was remembered since `newest` was the newest, for an atomic batch that is refused. */
export function forgetAfter(newest: u32): void {
  const link = newest ? entryAt(newest - 1) + NEXT : H_OLDEST_OPERATION;
  for (let item = load<u32>(link); item; ) {
    const next = load<u32>(entryAt(item - 1) + NEXT);
    freeEntry(item - 1);
    item = next;
  }
  store<u32>(link, 0);
  store<u32>(H_NEWEST_OPERATION, newest);
}

function freeEntry(item: u32): void {
  const entry = entryAt(item);
  remove(OPERATION_INDEX, operationHash(item), item);
  memory.fill(entry, 0, ENTRY_BYTES);
  store<u32>(entry + NEXT, load<u32>(H_FREE_OPERATION));
  store<u32>(H_FREE_OPERATION, item + 1);
  store<u32>(H_OPERATION_IDS, load<u32>(H_OPERATION_IDS) - 1);
}
