import { DELTA, HASH, KEY, KEY_LENGTH, RECORD_BYTES, SLOT, STATUS } from './batch';
import { classAt, slotAddress, trackAt, valueAt, writeValue } from './cells';
import { classOf, keepsOf, markUntracked, thresholdOf, UNIQUE_WINDOWS, UNIQUES } from './classes';
import { nowMinute } from './event-time';
import { hasClassRoom, noteChange } from './expiring';
import { ABSENT, ANSWER, MEMORY_FULL, NOT_TRACKED, OK, REGISTER_SINK, SCRATCH, STAGE, VALUES } from './layout';
import { addName, findName, hasNameRoom, leftFor, unaddName } from './names';
import { noteOperations, writeBits, writeRefused } from './outcomes';
import { prefixOf } from './prefixes';
import { foldSets, openWindowsWord, seenSet } from './sets';
import { dropIfIdle, openTrack } from './tracks';
import { seeInWindows } from './unique-windows';
import { NO_MEMORY, seeItem, touchItem, uniquesBlock } from './uniques';

/**
 * SEE: items that were seen under names. Each is an operation with a record as batch.ts draws it; in the place of the delta is the item's
 * hash, and when it is applied, what became of it in the place of the name's hash: NEW, ESTIMATED (uniques.ts).
 */
const OUTCOME: u32 = 0;

/** Applies the decoded items in SCRATCH and writes the answer; its length. */
export function applySee(count: u32, flags: u32): u32 {
  const end = SCRATCH + count * RECORD_BYTES;
  let refused: u32 = 0;
  for (let from = SCRATCH; from < end; from += STAGE * RECORD_BYTES) {
    const to = min<u32>(from + STAGE * RECORD_BYTES, end);
    touchStage(from, to);
    for (let record = from; record < to; record += RECORD_BYTES) {
      const status = see(record);
      store<u32>(record + STATUS, status);
      if (!status) continue;
      store<u32>(record + OUTCOME, 0);
      refused++;
    }
  }
  noteOperations(count, refused);
  return writeAnswer(end, refused, (flags & VALUES) !== 0);
}

/** Loads what the items of a stage will look at, in loops whose loads do not depend on each other, so that their misses overlap. */
function touchStage(from: u32, to: u32): void {
  let sink: u32 = 0;
  for (let record = from; record < to; record += RECORD_BYTES) {
    const slot = load<u32>(record + SLOT);
    const track = slot ? trackAt(slotAddress(slot - 1)) : 0;
    if (track) sink += uniquesBlock(seenSet(track));
  }
  for (let record = from; record < to; record += RECORD_BYTES) {
    const slot = load<u32>(record + SLOT);
    const track = slot ? trackAt(slotAddress(slot - 1)) : 0;
    if (track) sink += touchItem(seenSet(track), load<u64>(record + DELTA));
  }
  store<u32>(REGISTER_SINK, sink);
}

function see(record: u32): u32 {
  let slot = load<u32>(record + SLOT);
  const status = load<u32>(record + STATUS);
  if (status === ABSENT)
    slot = findName(load<u64>(record + HASH), load<u32>(record + KEY), load<u32>(record + KEY_LENGTH));
  else if (status) return status;
  return slot ? seeUnder(record, slot - 1) : seeUnderNew(record);
}

/** Sees the item of a record under a name that has a slot. The name exists from now on, as a counter with its value. */
function seeUnder(record: u32, slot: u32): u32 {
  const address = slotAddress(slot);
  const known = classAt(address);
  if (!(keepsOf(known) & UNIQUES)) return NOT_TRACKED;
  if (!hasClassRoom(slot + 1, known)) return MEMORY_FULL;
  const track = openTrack(slot);
  if (!track) return MEMORY_FULL;
  const outcome = seeItem(seenSet(track), load<u64>(record + DELTA), thresholdOf(known));
  if (outcome & NO_MEMORY) {
    dropIfIdle(track);
    return MEMORY_FULL;
  }
  if (keepsOf(known) & UNIQUE_WINDOWS) {
    const word = openWindowsWord(track);
    if (word) seeInWindows(word, track, load<u64>(record + DELTA));
    else markUntracked(known, nowMinute());
    if (word && !load<u32>(word)) foldSets(track);
  }
  store<u32>(record + OUTCOME, outcome);
  store<u32>(record + SLOT, slot + 1);
  writeValue(address, valueAt(address));
  noteChange(slot, known);
  return OK;
}

/** An item that is refused leaves no name behind. */
function seeUnderNew(record: u32): u32 {
  const hash = load<u64>(record + HASH);
  const name = load<u32>(record + KEY);
  const length = load<u32>(record + KEY_LENGTH);
  if (!(keepsOf(classOf(name, length)) & UNIQUES)) return NOT_TRACKED;
  if (!hasNameRoom(name, length)) return MEMORY_FULL;
  const prefix = prefixOf(name, length);
  const left = leftFor(length, prefix);
  const slot = addName(hash, name, length, prefix);
  const status = seeUnder(record, slot);
  if (status) unaddName(hash, slot, left);
  return status;
}

/** Two bits an item, the first in the lowest bits. */
function writeAnswer(end: u32, refused: u32, outcomes: bool): u32 {
  const p = writeRefused(end, refused);
  return (outcomes ? writeBits(p, end, OUTCOME, 2) : p) - ANSWER;
}
