import { RECORD_BYTES, SLOT } from './batch';
import { existsAt, slotAddress } from './cells';
import { ANSWER, DIRTY, DIRTY_BYTES, MERGE, REGISTER_DIRTY, REGISTER_OPERATIONS, SCRATCH, SET } from './layout';
import { slotOfRecord } from './records';
import { readVarint, VALUE_MASK } from './varint';

/**
 * Which counters bodies have touched that are not on the device yet, for a host that shows all others at once to those who ask for what is durable. None
 * of it is part of the state, and nothing of it is kept until a host wants it.
 *
 *   DIRTY   COLLECTING   65,536 bits: of bodies in the group that collects, the bit of a slot being that of its lowest 16 bits
 *           SEALED       the same of the group before that one, which is on its way to the device
 *
 * A slot that shares its bit is dirty without need, and no harm is done. A counter that is not there may have been deleted by such a body, so it is
 * never known to be clean: what a body deletes needs no bit.
 */
const COLLECTING: u32 = DIRTY;
const SEALED: u32 = DIRTY + DIRTY_BYTES;
const BITS: u32 = DIRTY_BYTES * 8;

export function keepsDirty(): bool {
  return load<u32>(REGISTER_DIRTY) !== 0;
}

/** Begins to keep them, or ends. Of the two groups that there are when it begins nothing is known, so that all bits are set. */
export function keepDirty(isWanted: bool): void {
  store<u32>(REGISTER_DIRTY, isWanted ? 1 : 0);
  if (isWanted) memory.fill(COLLECTING, 0xff, 2 * DIRTY_BYTES);
}

/** The group that collects is sealed, and the one before it is on the device. */
export function sealDirty(): void {
  memory.copy(SEALED, COLLECTING, DIRTY_BYTES);
  memory.fill(COLLECTING, 0, DIRTY_BYTES);
}

/** Notes what the body has touched that was applied, by its records in SCRATCH. What a TICK lets begin anew is noted where that happens, in rollOver(). */
export function noteDirty(kind: u32): void {
  const count: u32 = kind === SET || kind === MERGE ? 1 : load<u32>(REGISTER_OPERATIONS);
  for (let index: u32 = 0; index < count; index++) {
    const slot = slotOfRecord(index);
    if (slot) noteSlot(slot - 1);
  }
}

export function noteSlot(slot: u32): void {
  const word = COLLECTING + wordOf(slot);
  store<u32>(word, load<u32>(word) | (1 << (slot & 31)));
}

/** Whether all counters of the GET that was answered last are there, and none is dirty. */
export function areClean(): bool {
  const keys = <u32>(readVarint(ANSWER) & VALUE_MASK);
  const end = SCRATCH + keys * RECORD_BYTES;
  for (let record = SCRATCH; record < end; record += RECORD_BYTES) {
    const slot = load<u32>(record + SLOT);
    if (!slot || !existsAt(slotAddress(slot - 1)) || isDirty(slot - 1)) return false;
  }
  return true;
}

function isDirty(slot: u32): bool {
  const word = wordOf(slot);
  return ((load<u32>(COLLECTING + word) | load<u32>(SEALED + word)) & (1 << (slot & 31))) !== 0;
}

function wordOf(slot: u32): u32 {
  return ((slot % BITS) >>> 5) * 4;
}
