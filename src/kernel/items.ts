import { giveSized, openGap } from './blocks';
import { raise, rankOf, registerOf } from './sketch';

/**
 * A small set of items, as their hashes of 64 bits: a sorted block (blocks.ts) that grows in steps, of 8 bytes an item and at most a quarter
 * more. Ten items take 80 bytes.
 *
 *   | u64 hash | u64 hash | …          ascending
 *
 * What is counted are hashes: of n items two have the same one with a probability of n² / 2^65, which is 3 in a million for ten million items.
 */
export const HASH_SHIFT: u32 = 3;
/** More go into buckets (item-buckets.ts): the block is 12,288 bytes. */
export const MOST_SORTED: u32 = 1536;

/** Where a hash would be if all were spread evenly. */
export function guessItem(count: u32, hash: u64): u32 {
  return <u32>((<u64>count * (hash >> 32)) >> 32);
}

/** The first hash that is not lower. They are uniform, so that it is near the guess: eight places off among 256. */
function placeOf(hashes: u32, count: u32, hash: u64): u32 {
  let index = guessItem(count, hash);
  while (index < count && load<u64>(hashes + (index << HASH_SHIFT)) < hash) index++;
  while (index > 0 && load<u64>(hashes + ((index - 1) << HASH_SHIFT)) >= hash) index--;
  return index;
}

/** Whether a sorted set has a hash. */
export function hasItem(hashes: u32, count: u32, hash: u64): bool {
  const index = placeOf(hashes, count, hash);
  return index < count && load<u64>(hashes + (index << HASH_SHIFT)) === hash;
}

/** Adds a hash that is not there: where the block is now; 0, and all as it was, without memory. */
export function addItem(block: u32, count: u32, hash: u64): u32 {
  const place = placeOf(block, count, hash) << HASH_SHIFT;
  const grown = openGap(block, count << HASH_SHIFT, place, 1 << HASH_SHIFT);
  if (grown) store<u64>(grown + place, hash);
  return grown;
}

export function dropItems(block: u32, count: u32): void {
  if (count) giveSized(block, count << HASH_SHIFT);
}

/** Brings hashes that follow each other into a dense sketch. */
export function raiseHashes(sketch: u32, hashes: u32, count: u32): void {
  for (let p = hashes, end = hashes + (count << HASH_SHIFT); p < end; p += 8) {
    const hash = load<u64>(p);
    raise(sketch, registerOf(hash), rankOf(hash));
  }
}
