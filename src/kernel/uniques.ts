import { giveSized, hasSizedRoom, sizedBytes, takeSized } from './blocks';
import {
  addToBuckets,
  bucketItems,
  bucketOf,
  bucketsHave,
  createBuckets,
  dropBuckets,
  raiseBuckets,
  takeSketch,
  touchBucket,
} from './item-buckets';
import { addItem, dropItems, guessItem, HASH_SHIFT, hasItem, MOST_SORTED, raiseHashes } from './items';
import { SKETCHES } from './layout';
import { countRanks, estimate, mergeSketch, raise, rankOf, registerOf, registerPlace, SKETCH_BYTES } from './sketch';
import {
  ADDED,
  addEntry,
  countEntryRanks,
  ENTRY_SHIFT,
  guessEntry,
  judgeEntry,
  KNOWN,
  MOST_ENTRIES,
  putEntry,
  raiseEntries,
  raiseEntry,
} from './sparse';

/**
 * A set of items, of which it is known how many different ones there are. It takes four forms, from the first item on:
 *
 *   SORTED (items.ts)  ──►  BUCKETS (item-buckets.ts)        exact: which items, up to the threshold of the class
 *       │  └────────────────────────────┐  │
 *       ▼                               ▼  ▼
 *   SPARSE (sparse.ts)  ──────────►  DENSE (sketch.ts)       an estimate, for any number of them
 *
 *   0                           4        30                                           a set, wherever it lies (sets.ts)
 *   | u32 block of the form, 0  | u30 count | u2 form |   items of SORTED, entries of SPARSE
 *
 * All of it 0 is a set of no items. A form never goes back, and what follows from its block is the same whichever way led there:
 * the registers are those of all items that were ever seen.
 */
export const SORTED: u32 = 0;
export const BUCKETS: u32 = 1;
export const SPARSE: u32 = 2;
export const DENSE: u32 = 3;
const HEAD: u32 = 4;
const FORM_SHIFT: u32 = 30;
const COUNT_MASK: u32 = 0x3fffffff;
/** An item of BUCKETS takes no more. */
const BUCKETS_ITEM_BYTES: u32 = 16;

/** What became of an item: whether it was new, and whether that is an estimate, which may take a new one for an old one. */
export const NEW: u32 = 1;
export const ESTIMATED: u32 = 2;
/** It was new, and there was no memory for it: nothing has changed. */
export const NO_MEMORY: u32 = 4;

// Volatile, behind the records of a batch: where a sparse sketch is made, and the histogram of an estimate.
const ENTRIES: u32 = SKETCHES + 0x4000;
export const HISTOGRAM: u32 = SKETCHES + 0x6000;

export function uniquesForm(set: u32): u32 {
  return load<u32>(set + HEAD) >> FORM_SHIFT;
}

/** Items of SORTED, entries of SPARSE. */
export function uniquesCount(set: u32): u32 {
  return load<u32>(set + HEAD) & COUNT_MASK;
}

export function uniquesBlock(set: u32): u32 {
  return load<u32>(set);
}

function setForm(set: u32, form: u32, count: u32, block: u32): void {
  store<u32>(set, block);
  store<u32>(set + HEAD, (form << FORM_SHIFT) | count);
}

export function isExact(set: u32): bool {
  return uniquesForm(set) <= BUCKETS;
}

/** How many items there are of an exact set. */
export function exactCount(set: u32): u32 {
  return uniquesForm(set) === SORTED ? uniquesCount(set) : bucketItems(uniquesBlock(set));
}

/** How many items were seen, exactly or by estimate. */
export function countItems(set: u32): u64 {
  if (isExact(set)) return <u64>exactCount(set);
  if (uniquesForm(set) === SPARSE) countEntryRanks(uniquesBlock(set), uniquesCount(set), HISTOGRAM);
  else countRanks(uniquesBlock(set), HISTOGRAM);
  return estimate(HISTOGRAM);
}

/** Whether an exact set has an item. */
export function hasSeen(set: u32, hash: u64): bool {
  const block = uniquesBlock(set);
  return uniquesForm(set) === SORTED ? hasItem(block, uniquesCount(set), hash) : bucketsHave(block, hash);
}

/** Loads from near where seeing an item will look: any word, which means nothing. */
export function touchItem(set: u32, hash: u64): u32 {
  const form = uniquesForm(set);
  const block = uniquesBlock(set);
  if (form === DENSE) return load<u8>(registerPlace(block, registerOf(hash)));
  if (form === BUCKETS) return touchBucket(bucketOf(block, hash));
  const count = uniquesCount(set);
  if (form === SORTED) return load<u32>(block + (guessItem(count, hash) << HASH_SHIFT));
  return load<u32>(block + (guessEntry(count, registerOf(hash)) << ENTRY_SHIFT));
}

/** Sees an item, of which at most `threshold` different ones are kept exactly: NEW, ESTIMATED, or NO_MEMORY. */
export function seeItem(set: u32, hash: u64, threshold: u32): u32 {
  const form = uniquesForm(set);
  if (form === DENSE) return ESTIMATED | (raise(uniquesBlock(set), registerOf(hash), rankOf(hash)) ? NEW : 0);
  if (form === SPARSE) return seeSparse(set, hash);
  if (hasSeen(set, hash)) return 0;
  if (exactCount(set) >= threshold)
    return estimateFrom(set) ? NEW | (seeItem(set, hash, threshold) & NO_MEMORY) : NO_MEMORY;
  if (form === SORTED && uniquesCount(set) === MOST_SORTED && !toBuckets(set)) return NO_MEMORY;
  return add(set, hash) ? NEW : NO_MEMORY;
}

/** Adds an item to an exact set that does not have it: whether there was memory for it. */
function add(set: u32, hash: u64): bool {
  const count = uniquesCount(set);
  if (uniquesForm(set) === SORTED) {
    const block = addItem(uniquesBlock(set), count, hash);
    if (block) setForm(set, SORTED, count + 1, block);
    return block !== 0;
  }
  const root = addToBuckets(uniquesBlock(set), hash);
  if (root) setForm(set, BUCKETS, 0, root);
  return root !== 0;
}

function seeSparse(set: u32, hash: u64): u32 {
  const block = uniquesBlock(set);
  const count = uniquesCount(set);
  const judged = judgeEntry(block, count, hash);
  if (judged === KNOWN) return ESTIMATED;
  if (judged !== ADDED) {
    raiseEntry(block, count, hash);
    return ESTIMATED | NEW;
  }
  if (count === MOST_ENTRIES) {
    if (!toDense(set)) return NO_MEMORY;
    raise(uniquesBlock(set), registerOf(hash), rankOf(hash));
    return ESTIMATED | NEW;
  }
  const grown = addEntry(block, count, hash);
  if (!grown) return NO_MEMORY;
  setForm(set, SPARSE, count + 1, grown);
  return ESTIMATED | NEW;
}

function toBuckets(set: u32): bool {
  const block = uniquesBlock(set);
  const count = uniquesCount(set);
  const root = createBuckets(block, count);
  if (!root) return false;
  dropItems(block, count);
  setForm(set, BUCKETS, 0, root);
  return true;
}

/** Makes an exact set a sketch: whether there was memory for it. */
function estimateFrom(set: u32): bool {
  if (uniquesForm(set) === BUCKETS || uniquesCount(set) >= MOST_ENTRIES) return toDense(set);
  const hashes = uniquesBlock(set);
  const count = uniquesCount(set);
  let entries: u32 = 0;
  for (let p = hashes, end = hashes + (count << HASH_SHIFT); p < end; p += 8) {
    entries = putEntry(ENTRIES, entries, load<u64>(p));
  }
  let block: u32 = 0;
  if (entries) {
    if (!hasSizedRoom(entries << ENTRY_SHIFT)) return false;
    block = takeSized(entries << ENTRY_SHIFT);
    memory.copy(block, ENTRIES, entries << ENTRY_SHIFT);
  }
  dropItems(hashes, count);
  setForm(set, SPARSE, entries, block);
  return true;
}

/** Makes a set dense: whether there was memory for it. */
function toDense(set: u32): bool {
  const form = uniquesForm(set);
  if (form === DENSE) return true;
  const kept = form === BUCKETS ? takeSketch(uniquesBlock(set)) : 0;
  if (!kept && !hasSizedRoom(SKETCH_BYTES)) return false;
  const sketch = kept ? kept : takeSized(SKETCH_BYTES);
  if (!kept) raiseAll(sketch, set);
  dropUniques(set);
  setForm(set, DENSE, 0, sketch);
  return true;
}

/** Raises the registers of a dense sketch to those of all items of a set, which stays as it is. */
export function raiseAll(sketch: u32, set: u32): void {
  const form = uniquesForm(set);
  const block = uniquesBlock(set);
  if (form === SORTED) raiseHashes(sketch, block, uniquesCount(set));
  else if (form === BUCKETS) raiseBuckets(sketch, block);
  else if (form === SPARSE) raiseEntries(sketch, block, uniquesCount(set));
  else mergeSketch(sketch, block);
}

/** Merges a dense sketch into a set, which is one then: whether there was memory for it. */
export function absorbSketch(set: u32, sketch: u32): bool {
  if (!toDense(set)) return false;
  mergeSketch(uniquesBlock(set), sketch);
  return true;
}

/** Gives all memory of a set back: it has no items. */
export function dropUniques(set: u32): void {
  const form = uniquesForm(set);
  const block = uniquesBlock(set);
  if (form === SORTED) dropItems(block, uniquesCount(set));
  else if (form === BUCKETS) dropBuckets(block);
  else if (form === DENSE) giveSized(block, SKETCH_BYTES);
  else if (block) giveSized(block, uniquesCount(set) << ENTRY_SHIFT);
  setForm(set, SORTED, 0, 0);
}

/** Bytes that a set takes; of buckets, the most that they do. */
export function bytesOfSet(set: u32): u32 {
  const form = uniquesForm(set);
  if (form === DENSE) return SKETCH_BYTES;
  if (form === BUCKETS) return bucketItems(uniquesBlock(set)) * BUCKETS_ITEM_BYTES;
  const count = uniquesCount(set);
  return count ? sizedBytes(count << (form === SORTED ? HASH_SHIFT : ENTRY_SHIFT)) : 0;
}

/** How many more the next item can make them, at most. */
export function growthOfSet(set: u32): u32 {
  const form = uniquesForm(set);
  if (form === DENSE) return 0;
  if (form === BUCKETS) return BUCKETS_ITEM_BYTES;
  const count = uniquesCount(set);
  if (form === SORTED && count === MOST_SORTED) return (MOST_SORTED + 1) * BUCKETS_ITEM_BYTES;
  if (form === SPARSE && count === MOST_ENTRIES) return SKETCH_BYTES;
  return sizedBytes((count + 1) << (form === SORTED ? HASH_SHIFT : ENTRY_SHIFT));
}
