import { giveSized, hasSizedRoom, takeSized } from './blocks';
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
import { UNIQUES, UNIQUES_HEAD } from './tracks';

/**
 * How many different items were seen under a name. What a track has of it takes four forms, from the first item on:
 *
 *   SORTED (items.ts)  ──►  BUCKETS (item-buckets.ts)        exact: which items, up to the threshold of the class
 *       │  └────────────────────────────┐  │
 *       ▼                               ▼  ▼
 *   SPARSE (sparse.ts)  ──────────►  DENSE (sketch.ts)       an estimate, for any number of them
 *
 *   head, beside the address of the form's block in the track:  | u2 form | u30 count: items of SORTED, entries of SPARSE |
 *
 * The head and address 0 are a set of no items. A form never goes back, and what follows from its block is the same whichever way led there:
 * the registers are those of all items that were ever seen.
 */
export const SORTED: u32 = 0;
export const BUCKETS: u32 = 1;
export const SPARSE: u32 = 2;
export const DENSE: u32 = 3;
const FORM_SHIFT: u32 = 30;
const COUNT_MASK: u32 = 0x3fffffff;

/** What became of an item: whether it was new, and whether that is an estimate, which may take a new one for an old one. */
export const NEW: u32 = 1;
export const ESTIMATED: u32 = 2;
/** It was new, and there was no memory for it: nothing has changed. */
export const NO_MEMORY: u32 = 4;

// Volatile, behind the records of a batch: where a sparse sketch is made, and the histogram of an estimate.
const ENTRIES: u32 = SKETCHES + 0x4000;
export const HISTOGRAM: u32 = SKETCHES + 0x6000;

export function uniquesForm(track: u32): u32 {
  return load<u32>(track + UNIQUES_HEAD) >> FORM_SHIFT;
}

/** Items of SORTED, entries of SPARSE. */
export function uniquesCount(track: u32): u32 {
  return load<u32>(track + UNIQUES_HEAD) & COUNT_MASK;
}

export function uniquesBlock(track: u32): u32 {
  return load<u32>(track + UNIQUES);
}

function setForm(track: u32, form: u32, count: u32, block: u32): void {
  store<u32>(track + UNIQUES, block);
  store<u32>(track + UNIQUES_HEAD, (form << FORM_SHIFT) | count);
}

export function isExact(track: u32): bool {
  return uniquesForm(track) <= BUCKETS;
}

/** How many items there are of an exact set. */
export function exactCount(track: u32): u32 {
  return uniquesForm(track) === SORTED ? uniquesCount(track) : bucketItems(uniquesBlock(track));
}

/** How many items were seen, exactly or by estimate. */
export function countItems(track: u32): u64 {
  if (isExact(track)) return <u64>exactCount(track);
  if (uniquesForm(track) === SPARSE) countEntryRanks(uniquesBlock(track), uniquesCount(track), HISTOGRAM);
  else countRanks(uniquesBlock(track), HISTOGRAM);
  return estimate(HISTOGRAM);
}

/** Whether an exact set has an item. */
export function hasSeen(track: u32, hash: u64): bool {
  const block = uniquesBlock(track);
  return uniquesForm(track) === SORTED ? hasItem(block, uniquesCount(track), hash) : bucketsHave(block, hash);
}

/** Loads from near where seeing an item will look: any word, which means nothing. */
export function touchItem(track: u32, hash: u64): u32 {
  const form = uniquesForm(track);
  const block = uniquesBlock(track);
  if (form === DENSE) return load<u8>(registerPlace(block, registerOf(hash)));
  if (form === BUCKETS) return touchBucket(bucketOf(block, hash));
  const count = uniquesCount(track);
  if (form === SORTED) return load<u32>(block + (guessItem(count, hash) << HASH_SHIFT));
  return load<u32>(block + (guessEntry(count, registerOf(hash)) << ENTRY_SHIFT));
}

/** Sees an item, of which at most `threshold` different ones are kept exactly: NEW, ESTIMATED, or NO_MEMORY. */
export function seeItem(track: u32, hash: u64, threshold: u32): u32 {
  const form = uniquesForm(track);
  if (form === DENSE) return ESTIMATED | (raise(uniquesBlock(track), registerOf(hash), rankOf(hash)) ? NEW : 0);
  if (form === SPARSE) return seeSparse(track, hash);
  if (hasSeen(track, hash)) return 0;
  if (exactCount(track) >= threshold)
    return estimateFrom(track) ? NEW | (seeItem(track, hash, threshold) & NO_MEMORY) : NO_MEMORY;
  if (form === SORTED && uniquesCount(track) === MOST_SORTED && !toBuckets(track)) return NO_MEMORY;
  return add(track, hash) ? NEW : NO_MEMORY;
}

/** Adds an item to an exact set that does not have it: whether there was memory for it. */
function add(track: u32, hash: u64): bool {
  const count = uniquesCount(track);
  if (uniquesForm(track) === SORTED) {
    const block = addItem(uniquesBlock(track), count, hash);
    if (block) setForm(track, SORTED, count + 1, block);
    return block !== 0;
  }
  const root = addToBuckets(uniquesBlock(track), hash);
  if (root) setForm(track, BUCKETS, 0, root);
  return root !== 0;
}

function seeSparse(track: u32, hash: u64): u32 {
  const block = uniquesBlock(track);
  const count = uniquesCount(track);
  const judged = judgeEntry(block, count, hash);
  if (judged === KNOWN) return ESTIMATED;
  if (judged !== ADDED) {
    raiseEntry(block, count, hash);
    return ESTIMATED | NEW;
  }
  if (count === MOST_ENTRIES) {
    if (!toDense(track)) return NO_MEMORY;
    raise(uniquesBlock(track), registerOf(hash), rankOf(hash));
    return ESTIMATED | NEW;
  }
  const grown = addEntry(block, count, hash);
  if (!grown) return NO_MEMORY;
  setForm(track, SPARSE, count + 1, grown);
  return ESTIMATED | NEW;
}

function toBuckets(track: u32): bool {
  const block = uniquesBlock(track);
  const count = uniquesCount(track);
  const root = createBuckets(block, count);
  if (!root) return false;
  dropItems(block, count);
  setForm(track, BUCKETS, 0, root);
  return true;
}

/** Makes an exact set a sketch: whether there was memory for it. */
function estimateFrom(track: u32): bool {
  if (uniquesForm(track) === BUCKETS || uniquesCount(track) >= MOST_ENTRIES) return toDense(track);
  const hashes = uniquesBlock(track);
  const count = uniquesCount(track);
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
  setForm(track, SPARSE, entries, block);
  return true;
}

/** Makes what a track has dense: whether there was memory for it. */
function toDense(track: u32): bool {
  const form = uniquesForm(track);
  if (form === DENSE) return true;
  const kept = form === BUCKETS ? takeSketch(uniquesBlock(track)) : 0;
  if (!kept && !hasSizedRoom(SKETCH_BYTES)) return false;
  const sketch = kept ? kept : takeSized(SKETCH_BYTES);
  if (!kept) raiseAll(sketch, track);
  dropUniques(track);
  setForm(track, DENSE, 0, sketch);
  return true;
}

/** Raises the registers of a dense sketch to those of all items of a track, which stays as it is. */
export function raiseAll(sketch: u32, track: u32): void {
  const form = uniquesForm(track);
  const block = uniquesBlock(track);
  if (form === SORTED) raiseHashes(sketch, block, uniquesCount(track));
  else if (form === BUCKETS) raiseBuckets(sketch, block);
  else if (form === SPARSE) raiseEntries(sketch, block, uniquesCount(track));
  else mergeSketch(sketch, block);
}

/** Merges a dense sketch into what a track has, which is one then: whether there was memory for it. */
export function absorbSketch(track: u32, sketch: u32): bool {
  if (!toDense(track)) return false;
  mergeSketch(uniquesBlock(track), sketch);
  return true;
}

/** Gives all that a track has of items back: none were seen. */
export function dropUniques(track: u32): void {
  const form = uniquesForm(track);
  const block = uniquesBlock(track);
  if (form === SORTED) dropItems(block, uniquesCount(track));
  else if (form === BUCKETS) dropBuckets(block);
  else if (form === DENSE) giveSized(block, SKETCH_BYTES);
  else if (block) giveSized(block, uniquesCount(track) << ENTRY_SHIFT);
  setForm(track, SORTED, 0, 0);
}
