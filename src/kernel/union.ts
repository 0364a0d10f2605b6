import { blockHashes, blockItems, bucketsOf, chainOf, nextBlock } from './item-buckets';
import { HASH_SHIFT } from './items';
import { hasSeen, SORTED, uniquesBlock, uniquesCount, uniquesForm } from './uniques';

/** The union of exact sets, which are looked up in each other and stay as they are. A list has the addresses of the sets, 4 bytes each. */

/** How many items of the set at `place` are in none of those before it, from `first` on. */
export function countNew(first: u32, place: u32): u32 {
  const set = load<u32>(place);
  const block = uniquesBlock(set);
  if (uniquesForm(set) === SORTED) return writeUnseen(first, place, block, uniquesCount(set), 0);
  let count: u32 = 0;
  for (let bucket: u32 = 0, buckets = bucketsOf(block); bucket < buckets; bucket++) {
    for (let chain = chainOf(block, bucket); chain; chain = nextBlock(chain)) {
      count += writeUnseen(first, place, blockHashes(chain), blockItems(chain), 0);
    }
  }
  return count;
}

/** Writes the hashes of those items: where they end. */
export function writeNew(first: u32, place: u32, to: u32): u32 {
  const set = load<u32>(place);
  const block = uniquesBlock(set);
  if (uniquesForm(set) === SORTED) return to + (writeUnseen(first, place, block, uniquesCount(set), to) << HASH_SHIFT);
  let p = to;
  for (let bucket: u32 = 0, buckets = bucketsOf(block); bucket < buckets; bucket++) {
    for (let chain = chainOf(block, bucket); chain; chain = nextBlock(chain)) {
      p += writeUnseen(first, place, blockHashes(chain), blockItems(chain), p) << HASH_SHIFT;
    }
  }
  return p;
}

/** How many of some hashes are in none of the sets from `first` to `place`; writes them where `to` is not 0. */
function writeUnseen(first: u32, place: u32, hashes: u32, count: u32, to: u32): u32 {
  let found: u32 = 0;
  for (let p = hashes, end = hashes + (count << HASH_SHIFT); p < end; p += 8) {
    const hash = load<u64>(p);
    let before = first;
    while (before < place && !hasSeen(load<u32>(before), hash)) before += 4;
    if (before < place) continue;
    if (to) store<u64>(to + (found << HASH_SHIFT), hash);
    found++;
  }
  return found;
}
