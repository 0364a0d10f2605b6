import { DELTA, EXTENSION, HASH, KEY, KEY_LENGTH, MARKS, RECORD_BYTES, SLOT, STATUS, VALUE } from './batch';
import { classAt, overflows, slotAddress, trackAt, valueAt, writeValue } from './cells';
import { classOf, keepsOf, mostItemsOf, ONCE, withinOf } from './classes';
import { nowMinute } from './event-time';
import { hasClassRoom, noteChange } from './expiring';
import {
  ABSENT,
  ANSWER,
  H_CLOCK,
  ITEMS_FULL,
  MEMORY_FULL,
  NOT_TRACKED,
  OK,
  OVERFLOW,
  REGISTER_NEXT,
  REGISTER_SINK,
  SCRATCH,
  STAGE,
  VALUES,
} from './layout';
import { addName, findName, hasNameRoom, leftFor, unaddName } from './names';
import { addOnce, hasCounted, onceCount, sweepOnce, touchOnce } from './once-items';
import { noteOperations, writeBits, writeRefused } from './outcomes';
import { prefixOf } from './prefixes';
import { foldSets, onceSet, openOnceSet } from './sets';
import { trackChange } from './tracking';
import { openTrack } from './tracks';
import { readVarint64, readZigzag, writeZigzag } from './varint';

/**
 * ONCE: increments that count unless the item with which they come was counted already, within the time of the counter's class. Each is an operation
 * with a record as batch.ts draws it; in the place of the delta is the item's hash, which `delta | within` follow in the body where the key is extended.
 * When it is applied, the counter's value is in the place of the name's hash, and in MARKS whether it counted.
 */
const COUNTED: u32 = 1;
/** What an item that counts forgets of those whose time is over: more than one, so that a counter that goes on keeps nothing that is over. */
const SWEEP: u32 = 4;

/** Applies the decoded operations in SCRATCH and writes the answer; its length. */
export function applyOnce(count: u32, flags: u32): u32 {
  const end = SCRATCH + count * RECORD_BYTES;
  let refused: u32 = 0;
  for (let from = SCRATCH; from < end; from += STAGE * RECORD_BYTES) {
    const to = min<u32>(from + STAGE * RECORD_BYTES, end);
    touchStage(from, to);
    for (let record = from; record < to; record += RECORD_BYTES) {
      const status = once(record);
      store<u32>(record + STATUS, status);
      if (status) refused++;
    }
  }
  noteOperations(count, refused);
  return writeAnswer(end, refused, (flags & VALUES) !== 0);
}

/** Loads what the operations of a stage will look at, in loops whose loads do not depend on each other, so that their misses overlap. */
function touchStage(from: u32, to: u32): void {
  let sink: u32 = 0;
  for (let record = from; record < to; record += RECORD_BYTES) {
    const set = setOf(load<u32>(record + SLOT));
    if (set) sink += load<u32>(load<u32>(set));
  }
  for (let record = from; record < to; record += RECORD_BYTES) {
    const set = setOf(load<u32>(record + SLOT));
    if (set) sink += touchOnce(set, load<u64>(record + DELTA));
  }
  store<u32>(REGISTER_SINK, sink);
}

/** The set of a slot + 1; 0 where there is none. */
function setOf(slot: u32): u32 {
  const track = slot ? trackAt(slotAddress(slot - 1)) : 0;
  return track ? onceSet(track) : 0;
}

function once(record: u32): u32 {
  let slot = load<u32>(record + SLOT);
  const status = load<u32>(record + STATUS);
  store<u32>(record + MARKS, 0);
  if (status === ABSENT)
    slot = findName(load<u64>(record + HASH), load<u32>(record + KEY), load<u32>(record + KEY_LENGTH));
  if (slot) return countUnder(record, slot - 1);
  const counted = status === ABSENT ? countUnderNew(record) : status;
  if (counted) store<i64>(record + VALUE, 0);
  return counted;
}

/** Whether a class counts the item of a record once, within the time that the operation asks for. */
function keeps(known: u32, record: u32): bool {
  if (!(keepsOf(known) & ONCE)) return false;
  const extension = load<u32>(record + EXTENSION);
  if (!extension) return true;
  readZigzag(extension);
  const within = <i64>readVarint64(load<u32>(REGISTER_NEXT));
  return !within || within === withinOf(known);
}

/** Counts the item of a record under a name that has a slot, unless it was counted already. */
function countUnder(record: u32, slot: u32): u32 {
  const address = slotAddress(slot);
  const known = classAt(address);
  const value = valueAt(address);
  store<i64>(record + VALUE, value);
  if (!keeps(known, record)) return NOT_TRACKED;
  const hash = load<u64>(record + DELTA);
  const set = setOf(slot + 1);
  store<u32>(record + SLOT, slot + 1);
  if (set && hasCounted(set, hash, load<i64>(H_CLOCK), withinOf(known))) return OK;
  const delta = load<u32>(record + EXTENSION) ? readZigzag(load<u32>(record + EXTENSION)) : 1;
  if (overflows(value, delta)) return OVERFLOW;
  if (set && isFull(set, known)) return ITEMS_FULL;
  if (!hasClassRoom(slot + 1, known) || !keep(slot, hash)) return MEMORY_FULL;
  store<u32>(record + MARKS, COUNTED);
  store<i64>(record + VALUE, value + delta);
  writeValue(address, value + delta);
  trackChange(slot, delta, nowMinute(), nowMinute(), 0);
  noteChange(slot, known);
  return OK;
}

/** Whether a set has the most items of its class, once it has forgotten some whose time is over. */
function isFull(set: u32, known: u32): bool {
  const clock = load<i64>(H_CLOCK);
  sweepOnce(set, clock, withinOf(known), SWEEP);
  while (onceCount(set) >= mostItemsOf(known)) if (!sweepOnce(set, clock, withinOf(known), 1)) return true;
  return false;
}

/** Keeps an item of a slot's counter; false, and it has what it had, without memory. */
function keep(slot: u32, hash: u64): bool {
  const track = openTrack(slot);
  if (!track) return false;
  const set = openOnceSet(track);
  if (set && addOnce(set, hash, load<i64>(H_CLOCK))) return true;
  foldSets(track);
  return false;
}

/** An item that is refused leaves no name behind. */
function countUnderNew(record: u32): u32 {
  const hash = load<u64>(record + HASH);
  const name = load<u32>(record + KEY);
  const length = load<u32>(record + KEY_LENGTH);
  if (!keeps(classOf(name, length), record)) return NOT_TRACKED;
  if (!hasNameRoom(name, length)) return MEMORY_FULL;
  const prefix = prefixOf(name, length);
  const left = leftFor(length, prefix);
  const slot = addName(hash, name, length, prefix);
  const status = countUnder(record, slot);
  if (!status) return OK;
  unaddName(hash, slot, left);
  store<u32>(record + SLOT, 0);
  return status;
}

/** `refused | refused × (index, status) | a bit an operation, the first in the lowest bit | with VALUES: the values` */
function writeAnswer(end: u32, refused: u32, values: bool): u32 {
  let p = writeBits(writeRefused(end, refused), end, MARKS, 1);
  if (values) {
    for (let record = SCRATCH; record < end; record += RECORD_BYTES) p = writeZigzag(p, load<i64>(record + VALUE));
  }
  return p - ANSWER;
}
