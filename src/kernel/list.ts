import { existsAt, nameAt, slotAddress, valueAt } from './cells';
import {
  ANSWER,
  BAD_REQUEST,
  H_SLOTS,
  LIST_BYTES,
  LIST_NAMES,
  LIST_SLOTS,
  MAX_NAME,
  OK,
  REGISTER_ANSWER_LENGTH,
  SCRATCH,
} from './layout';
import { copyName, nameLength, nameStartsWith } from './names';
import { readVarint, TOO_LONG, VALUE_MASK, writeVarint, writeZigzag } from './varint';

/**
 * LIST goes through the slots in their order, a part of them at a time; its cursor is the number of the next slot, 0 at both ends. A
 * counter keeps its slot as long as it lives, so one that lives through the whole scan is shown once, as with SCAN of Redis. The
 * cells that are to be shown are gathered in SCRATCH, 4 bytes each, before their count is written.
 */

/** What a name and its value take besides the name's bytes. */
const ITEM_BYTES: u32 = 12;

/** Answers `prefix length | prefix | cursor | limit`: OK, or the status that refuses it. */
export function listCounters(start: u32, end: u32): u32 {
  const prefixHead = readVarint(start);
  const prefixLength = prefixHead & VALUE_MASK;
  if (prefixHead === TOO_LONG || prefixLength > <u64>MAX_NAME) return BAD_REQUEST;
  const prefix = start + <u32>(prefixHead >> 56);
  let p = prefix + <u32>prefixLength;
  const cursor = readVarint(p);
  p += <u32>(cursor >> 56);
  if (!isWord(cursor) || p >= end) return BAD_REQUEST;
  const limit = readVarint(p);
  p += <u32>(limit >> 56);
  if (!isWord(limit) || p !== end || !(<u32>limit)) return BAD_REQUEST;
  const slots = load<u32>(H_SLOTS);
  scan(min<u32>(<u32>cursor, slots), slots, prefix, <u32>prefixLength, min<u32>(<u32>limit, LIST_NAMES));
  return OK;
}

/** Whether a varint was read that has 32 bits at most. */
function isWord(packed: u64): bool {
  return packed !== TOO_LONG && !((packed & VALUE_MASK) >> 32);
}

function scan(first: u32, slots: u32, prefix: u32, prefixLength: u32, most: u32): void {
  const stop = min<u32>(first + LIST_SLOTS, slots);
  let slot = first;
  let found = SCRATCH;
  let bytes: u32 = 0;
  for (; slot < stop && found < SCRATCH + (most << 2); slot++) {
    const cell = slotAddress(slot);
    if (!existsAt(cell)) continue;
    const name = nameAt(cell);
    if (!nameStartsWith(name, prefix, prefixLength)) continue;
    bytes += ITEM_BYTES + nameLength(name);
    if (bytes > LIST_BYTES) break;
    store<u32>(found, cell);
    found += 4;
  }
  writeAnswer(slot < slots ? slot : 0, found);
}

function writeAnswer(cursor: u32, end: u32): void {
  let p = writeVarint(ANSWER, cursor);
  p = writeVarint(p, (end - SCRATCH) >> 2);
  for (let found = SCRATCH; found < end; found += 4) {
    const cell = load<u32>(found);
    const name = nameAt(cell);
    const length = nameLength(name);
    p = writeVarint(p, length);
    copyName(name, p);
    p = writeZigzag(p + length, valueAt(cell));
  }
  store<u32>(REGISTER_ANSWER_LENGTH, p - ANSWER);
}
