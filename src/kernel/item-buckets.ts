import { giveSized, hasSizedRoom, openGap, takeSized } from './blocks';
import { HASH_SHIFT, raiseHashes } from './items';
import { hasPage } from './memory';
import { mergeSketch, raise, rankOf, registerOf, SKETCH_BYTES } from './sketch';

/**
 * A large set of items, as their hashes of 64 bits, by linear hashing as in index.ts: it grows by one bucket at a time, nothing is ever doubled or
 * cleared in bulk. A bucket is two cache lines:
 *
 *   0           4              8                            128
 *   | u32 count | u32 overflow | u64 hash × 15               |
 *
 * `overflow` is the address of another such block, 0 = none; all blocks of a chain but the last are full. The root lists the segments of
 * buckets: 128 of 32 buckets (4 KiB), then pages of 512, so that the last one, which may be empty, is a small part of the set.
 *
 *   0           4                8           12             16             20
 *   | u32 items | u32 level mask | u32 split | u32 segments | u32 registers | u32 segment × …
 *
 * `split` is the next bucket to split. From 16,384 items on a dense sketch of all of them (sketch.ts) is kept beside the set, so that turning into one
 * and being part of a union take no longer for ten million items than for one. An item takes 13 to 16 bytes with all that.
 */
const ITEMS: u32 = 0;
const MASK: u32 = 4;
const SPLIT: u32 = 8;
const SEGMENTS: u32 = 12;
const SKETCH: u32 = 16;
const ROOT_BYTES: u32 = 20;

const BUCKET_BYTES: u32 = 128;
const BUCKET_HASHES: u32 = 15;
const OVERFLOW: u32 = 4;
const HASHES: u32 = 8;

const SMALL_SEGMENTS: u32 = 128;
const SMALL_BUCKETS: u32 = 32;
const SMALL_BUCKETS_ALL: u32 = 4096;
const PAGE_BUCKETS: u32 = 512;
const FIRST_BUCKETS: u32 = 128;

/** The mean number of items a bucket at which the set takes another bucket: 12 of 15. */
const LOAD: u32 = 12;
const SKETCH_FROM: u32 = 16384;

function rootBytes(root: u32): u32 {
  return ROOT_BYTES + (load<u32>(root + SEGMENTS) << 2);
}

function segmentBytes(segment: u32): u32 {
  return (segment < SMALL_SEGMENTS ? SMALL_BUCKETS : PAGE_BUCKETS) * BUCKET_BYTES;
}

function segmentOf(bucket: u32): u32 {
  if (bucket < SMALL_BUCKETS_ALL) return bucket / SMALL_BUCKETS;
  return SMALL_SEGMENTS + (bucket - SMALL_BUCKETS_ALL) / PAGE_BUCKETS;
}

/** The first block of the chain of a bucket. */
export function chainOf(root: u32, bucket: u32): u32 {
  const segment = segmentOf(bucket);
  const within = bucket & ((segment < SMALL_SEGMENTS ? SMALL_BUCKETS : PAGE_BUCKETS) - 1);
  return load<u32>(root + ROOT_BYTES + (segment << 2)) + within * BUCKET_BYTES;
}

/** The first block of the chain that a hash belongs to. */
export function bucketOf(root: u32, hash: u64): u32 {
  const mask = load<u32>(root + MASK);
  let number = <u32>hash & mask;
  if (number < load<u32>(root + SPLIT)) number = <u32>hash & ((mask << 1) | 1);
  return chainOf(root, number);
}

/** Loads from both lines of a bucket. */
export function touchBucket(bucket: u32): u32 {
  return load<u32>(bucket) + load<u32>(bucket + (BUCKET_BYTES >> 1));
}

export function bucketsOf(root: u32): u32 {
  return load<u32>(root + MASK) + 1 + load<u32>(root + SPLIT);
}

/** The block that follows in a chain; 0 behind the last. */
export function nextBlock(block: u32): u32 {
  return load<u32>(block + OVERFLOW);
}

export function blockItems(block: u32): u32 {
  return load<u32>(block);
}

export function blockHashes(block: u32): u32 {
  return block + HASHES;
}

export function bucketItems(root: u32): u32 {
  return load<u32>(root + ITEMS);
}

export function bucketsHave(root: u32, hash: u64): bool {
  for (let block = bucketOf(root, hash); block; block = load<u32>(block + OVERFLOW)) {
    const end = block + HASHES + (load<u32>(block) << HASH_SHIFT);
    for (let p = block + HASHES; p < end; p += 8) if (load<u64>(p) === hash) return true;
  }
  return false;
}

/** Makes a set of sorted hashes, which stay as they are: its root, 0 without memory. */
export function createBuckets(hashes: u32, count: u32): u32 {
  if (!hasSizedRoom(ROOT_BYTES)) return 0;
  let root = takeSized(ROOT_BYTES);
  store<u32>(root + MASK, FIRST_BUCKETS - 1);
  for (let bucket: u32 = 0; bucket < FIRST_BUCKETS; bucket += SMALL_BUCKETS) {
    const grown = addSegment(root);
    if (!grown) {
      dropBuckets(root);
      return 0;
    }
    root = grown;
  }
  for (let p = hashes, end = hashes + (count << HASH_SHIFT); p < end; p += 8) {
    if (append(bucketOf(root, load<u64>(p)), load<u64>(p))) continue;
    dropBuckets(root);
    return 0;
  }
  store<u32>(root + ITEMS, count);
  return root;
}

/** Adds a segment of empty buckets: where the root is now; 0, and all as it was, without memory. */
function addSegment(root: u32): u32 {
  const segment = load<u32>(root + SEGMENTS);
  if (!hasSizedRoom(segmentBytes(segment))) return 0;
  const buckets = takeSized(segmentBytes(segment));
  const bytes = rootBytes(root);
  const grown = openGap(root, bytes, bytes, 4);
  if (!grown) {
    giveSized(buckets, segmentBytes(segment));
    return 0;
  }
  store<u32>(grown + bytes, buckets);
  store<u32>(grown + SEGMENTS, segment + 1);
  return grown;
}

/** Puts a hash into the first block of a chain that has room: whether there was memory for it. */
function append(bucket: u32, hash: u64): bool {
  let block = bucket;
  while (load<u32>(block) === BUCKET_HASHES) {
    let next = load<u32>(block + OVERFLOW);
    if (!next) {
      if (!hasSizedRoom(BUCKET_BYTES)) return false;
      next = takeSized(BUCKET_BYTES);
      store<u32>(block + OVERFLOW, next);
    }
    block = next;
  }
  const count = load<u32>(block);
  store<u64>(block + HASHES + (count << HASH_SHIFT), hash);
  store<u32>(block, count + 1);
  return true;
}

/** Adds a hash that is not there: where the root is now; 0, and all as it was, without memory. */
export function addToBuckets(root: u32, hash: u64): u32 {
  if (!append(bucketOf(root, hash), hash)) return 0;
  const items = load<u32>(root + ITEMS) + 1;
  store<u32>(root + ITEMS, items);
  const sketch = load<u32>(root + SKETCH);
  if (sketch) raise(sketch, registerOf(hash), rankOf(hash));
  else if (items >= SKETCH_FROM) addSketch(root);
  return items > bucketsOf(root) * LOAD ? split(root) : root;
}

/** Without memory for it the set goes on without: it only takes longer then to turn into one. */
function addSketch(root: u32): void {
  if (!hasSizedRoom(SKETCH_BYTES)) return;
  const sketch = takeSized(SKETCH_BYTES);
  raiseBuckets(sketch, root);
  store<u32>(root + SKETCH, sketch);
}

/** Splits the next bucket in two: where the root is now. Without memory for it the bucket stays as it is, and chains grow. */
function split(root: u32): u32 {
  const fresh = bucketsOf(root);
  if (segmentOf(fresh) === load<u32>(root + SEGMENTS)) {
    const grown = addSegment(root);
    if (!grown) return root;
    root = grown;
  }
  if (!hasPage()) return root; // what moves may need overflow blocks
  const mask = load<u32>(root + MASK);
  const number = load<u32>(root + SPLIT);
  if (number === mask) {
    store<u32>(root + SPLIT, 0);
    store<u32>(root + MASK, (mask << 1) | 1);
  } else {
    store<u32>(root + SPLIT, number + 1);
  }
  distribute(chainOf(root, number), chainOf(root, fresh), <u64>mask + 1);
  return root;
}

/** Moves the hashes of a chain that have the bit to another, and the rest to the chain's front. */
function distribute(low: u32, high: u32, bit: u64): void {
  let to = low;
  let kept: u32 = 0;
  for (let from = low; from; from = load<u32>(from + OVERFLOW)) {
    const end = from + HASHES + (load<u32>(from) << HASH_SHIFT);
    for (let p = from + HASHES; p < end; p += 8) {
      const hash = load<u64>(p);
      if (hash & bit) {
        if (!append(high, hash)) unreachable(); // hasPage() was asked first
        continue;
      }
      if (kept === BUCKET_HASHES) {
        to = load<u32>(to + OVERFLOW);
        kept = 0;
      }
      store<u64>(to + HASHES + (kept++ << HASH_SHIFT), hash);
    }
  }
  for (let block = low; block !== to; block = load<u32>(block + OVERFLOW)) store<u32>(block, BUCKET_HASHES);
  const rest = to + HASHES + (kept << HASH_SHIFT);
  memory.fill(rest, 0, to + BUCKET_BYTES - rest);
  store<u32>(to, kept);
  dropChain(load<u32>(to + OVERFLOW));
  store<u32>(to + OVERFLOW, 0);
}

function dropChain(first: u32): void {
  for (let block = first; block; ) {
    const next = load<u32>(block + OVERFLOW);
    giveSized(block, BUCKET_BYTES);
    block = next;
  }
}

/** Brings a set into a dense sketch. */
export function raiseBuckets(sketch: u32, root: u32): void {
  const known = load<u32>(root + SKETCH);
  if (known) {
    mergeSketch(sketch, known);
    return;
  }
  const buckets = bucketsOf(root);
  for (let bucket: u32 = 0; bucket < buckets; bucket++) {
    for (let block = chainOf(root, bucket); block; block = load<u32>(block + OVERFLOW)) {
      raiseHashes(sketch, block + HASHES, load<u32>(block));
    }
  }
}

/** Takes the sketch away from a set that is going to be one. */
export function takeSketch(root: u32): u32 {
  const sketch = load<u32>(root + SKETCH);
  store<u32>(root + SKETCH, 0);
  return sketch;
}

/** Gives all memory of a set back, also of one in the making. */
export function dropBuckets(root: u32): void {
  const segments = load<u32>(root + SEGMENTS);
  for (let segment: u32 = 0; segment < segments; segment++) {
    const first = load<u32>(root + ROOT_BYTES + (segment << 2));
    const bytes = segmentBytes(segment);
    for (let bucket = first; bucket < first + bytes; bucket += BUCKET_BYTES) dropChain(load<u32>(bucket + OVERFLOW));
    giveSized(first, bytes);
  }
  const sketch = load<u32>(root + SKETCH);
  if (sketch) giveSized(sketch, SKETCH_BYTES);
  giveSized(root, rootBytes(root));
}
