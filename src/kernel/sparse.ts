import { openGap } from './blocks';
import { countRank, HISTOGRAM_BYTES, hashWith, raise, rankOf, registerOf, SKETCH_REGISTERS } from './sketch';

/**
 * A sketch of which few registers have met something: those alone, in a sorted block (blocks.ts) that grows in steps.
 *
 *   bit  31            6 5      0
 *        | u26 register | u6 rank |        sorted by register; at most one entry for each
 *
 * They are the registers of the dense form, so that both give the same estimate, and an entry becomes a register without knowing its
 * item.
 */
export const ENTRY_SHIFT: u32 = 2;
/** Half of a dense sketch; one register more, and it becomes one. */
export const MOST_ENTRIES: u32 = 1536;
const RANK_BITS: u32 = 6;
const RANK_MASK: u32 = 63;

/** What became of a rank in a sorted list of entries. */
export const KNOWN: u32 = 0;
export const RAISED: u32 = 1;
export const ADDED: u32 = 2;

function entryAt(entries: u32, index: u32): u32 {
  return load<u32>(entries + (index << ENTRY_SHIFT));
}

/** Where the entry of a register would be if all were spread evenly. */
export function guessEntry(count: u32, register: u32): u32 {
  return (count * register) / SKETCH_REGISTERS;
}

/** The first entry whose register is not lower. They are uniform, so that it is near the guess. */
function placeOf(entries: u32, count: u32, register: u32): u32 {
  const least = register << RANK_BITS;
  let index = guessEntry(count, register);
  while (index < count && entryAt(entries, index) < least) index++;
  while (index > 0 && entryAt(entries, index - 1) >= least) index--;
  return index;
}

/** Whether a hash would change a sparse sketch: KNOWN, RAISED where it would only raise a register, ADDED where it would add an entry. */
export function judgeEntry(entries: u32, count: u32, hash: u64): u32 {
  const register = registerOf(hash);
  const index = placeOf(entries, count, register);
  if (index === count || entryAt(entries, index) >> RANK_BITS !== register) return ADDED;
  return (entryAt(entries, index) & RANK_MASK) >= rankOf(hash) ? KNOWN : RAISED;
}

/** Raises the register of a hash that was judged RAISED. */
export function raiseEntry(entries: u32, count: u32, hash: u64): void {
  const register = registerOf(hash);
  const index = placeOf(entries, count, register);
  store<u32>(entries + (index << ENTRY_SHIFT), (register << RANK_BITS) | rankOf(hash));
}

/** Adds the entry of a hash that was judged ADDED: where the block is now; 0, and all as it was, without memory. */
export function addEntry(block: u32, count: u32, hash: u64): u32 {
  const place = placeOf(block, count, registerOf(hash)) << ENTRY_SHIFT;
  const grown = openGap(block, count << ENTRY_SHIFT, place, 1 << ENTRY_SHIFT);
  if (grown) store<u32>(grown + place, (registerOf(hash) << RANK_BITS) | rankOf(hash));
  return grown;
}

/** Puts a hash into entries that have room for one more: how many there are now. */
export function putEntry(entries: u32, count: u32, hash: u64): u32 {
  const judged = judgeEntry(entries, count, hash);
  if (judged === KNOWN) return count;
  if (judged === RAISED) {
    raiseEntry(entries, count, hash);
    return count;
  }
  const place = placeOf(entries, count, registerOf(hash)) << ENTRY_SHIFT;
  memory.copy(entries + place + (1 << ENTRY_SHIFT), entries + place, (count << ENTRY_SHIFT) - place);
  store<u32>(entries + place, (registerOf(hash) << RANK_BITS) | rankOf(hash));
  return count + 1;
}

/** A hash with the register and the rank of an entry. */
export function hashOfEntry(entry: u32): u64 {
  return hashWith(entry >> RANK_BITS, entry & RANK_MASK);
}

/** Raises the registers of a dense sketch to those of a sparse one. */
export function raiseEntries(sketch: u32, entries: u32, count: u32): void {
  for (let index: u32 = 0; index < count; index++) {
    const entry = entryAt(entries, index);
    raise(sketch, entry >> RANK_BITS, entry & RANK_MASK);
  }
}

/** Counts the registers of a sparse sketch by rank. */
export function countEntryRanks(entries: u32, count: u32, histogram: u32): void {
  memory.fill(histogram, 0, HISTOGRAM_BYTES);
  countRank(histogram, 0, SKETCH_REGISTERS - count);
  for (let index: u32 = 0; index < count; index++) countRank(histogram, entryAt(entries, index) & RANK_MASK, 1);
}
