import {
  H_MAXIMUM_PAGES,
  H_NEXT_PAGE,
  NAME_INDEX,
  NAME_INDEX_DIRECTORY,
  OPERATION_INDEX_DIRECTORY,
  PRODUCER_INDEX,
  PRODUCER_INDEX_DIRECTORY,
} from './layout';
import { allocatePages, giveBlock, takeBlock } from './memory';
import { nameHash } from './names';
import { operationHash } from './operations';
import { producerHash } from './producers';

/**
 * A hash index from 64-bit hashes to item numbers (slots, producers, operation ids), by linear hashing (Litwin, "Linear Hashing:
 * A New Tool for File and Table Addressing", VLDB 1980): it grows by one bucket at a time, each insertion pays for at most one
 * split, nothing is ever doubled or cleared in bulk. Buckets are one cache line:
 *
 *   0                    20             24                       64
 *   | u16 tag × 10       | u32 overflow | u32 item + 1 × 10      |
 *
 * An entry is free where its item is 0. The tag is bits 12 to 27 of the hash: it tells entries apart within a bucket, and in an index of
 * 4,096 buckets or more it holds the bit that decides a split, so that splitting does not touch the items.
 *
 * Struct of an index (32 B; three of them in the header):
 *   0 u32 buckets (0 = none yet)   4 u32 level mask   8 u32 next bucket to split
 *  12 u32 entries                 16 u32 free overflow buckets, linked through their first word
 */
const BUCKETS: u32 = 0;
const MASK: u32 = 4;
const SPLIT: u32 = 8;
const ENTRIES: u32 = 12;
const FREE: u32 = 16;

const BUCKET_BYTES: u32 = 64;
const BUCKET_ENTRIES: u32 = 10;
const OVERFLOW: u32 = 20;
const ITEMS: u32 = 24;
const SEGMENT_BUCKETS: u32 = 1024; // one page
const TAG_SHIFT: u64 = 12;
const TAG_BITS: u32 = 16;

/** Pages that an insertion may take: overflow for the item, buckets for the split, overflow for what the split moves. */
const INSERTION_PAGES: u32 = 3;

/** The mean number of entries a bucket at which the index takes another bucket: 6 of 10. */
const LOAD: u32 = 6;

function directoryOf(index: u32): u32 {
  if (index === NAME_INDEX) return NAME_INDEX_DIRECTORY;
  return index === PRODUCER_INDEX ? PRODUCER_INDEX_DIRECTORY : OPERATION_INDEX_DIRECTORY;
}

function hashOfItem(index: u32, item: u32): u64 {
  if (index === NAME_INDEX) return nameHash(item);
  return index === PRODUCER_INDEX ? producerHash(item) : operationHash(item);
}

function bucketAt(index: u32, number: u32): u32 {
  return load<u32>(directoryOf(index) + ((number / SEGMENT_BUCKETS) << 2)) + (number % SEGMENT_BUCKETS) * BUCKET_BYTES;
}

/** The address of the bucket that holds a hash; 0 while the index is empty. */
export function bucketOf(index: u32, hash: u64): u32 {
  if (!load<u32>(index + BUCKETS)) return 0;
  const mask = load<u32>(index + MASK);
  let number = <u32>hash & mask;
  if (number < load<u32>(index + SPLIT)) number = <u32>hash & ((mask << 1) | 1);
  return bucketAt(index, number);
}

/**
 * Which entries of a bucket carry the tag of a hash, one bit each. Free entries have tag 0 and may match: their item is 0.
 */
export function matches(bucket: u32, hash: u64): u32 {
  const wanted = i16x8.splat(<i16>(hash >> TAG_SHIFT));
  const first = i16x8.bitmask(i16x8.eq(v128.load(bucket), wanted));
  const last = i16x8.bitmask(i16x8.eq(v128.load(bucket, 16), wanted)) & 3; // the other lanes are no tags
  return <u32>(first | (last << 8));
}

/** Item + 1 of an entry of a bucket. */
export function itemAt(bucket: u32, entry: u32): u32 {
  return load<u32>(bucket + ITEMS + (entry << 2));
}

export function overflowOf(bucket: u32): u32 {
  return load<u32>(bucket + OVERFLOW);
}

/** The first item + 1 whose tag matches, as a candidate to look at early; 0 if the bucket has none. */
export function candidate(bucket: u32, hash: u64): u32 {
  const bits = matches(bucket, hash);
  return bits ? itemAt(bucket, ctz<u32>(bits)) : 0;
}

/** Whether an insertion has the memory that it may need even where hasRoom() says no. */
export function canInsert(): bool {
  return load<u32>(H_NEXT_PAGE) + INSERTION_PAGES <= load<u32>(H_MAXIMUM_PAGES);
}

/** Adds an item under a hash. The caller has made sure that it is not there and that memory has room. */
export function insert(index: u32, hash: u64, item: u32): void {
  if (!load<u32>(index + BUCKETS)) {
    store<u32>(directoryOf(index), allocatePages(1));
    store<u32>(index + BUCKETS, SEGMENT_BUCKETS);
    store<u32>(index + MASK, SEGMENT_BUCKETS - 1);
  }
  put(index, bucketOf(index, hash), <u16>(hash >> TAG_SHIFT), item + 1);
  const entries = load<u32>(index + ENTRIES) + 1;
  store<u32>(index + ENTRIES, entries);
  if (entries > load<u32>(index + BUCKETS) * LOAD) split(index);
}

function put(index: u32, start: u32, tag: u16, item: u32): void {
  let bucket = start;
  while (true) {
    for (let entry: u32 = 0; entry < BUCKET_ENTRIES; entry++) {
      if (itemAt(bucket, entry)) continue;
      store<u16>(bucket + (entry << 1), tag);
      store<u32>(bucket + ITEMS + (entry << 2), item);
      return;
    }
    let next = overflowOf(bucket);
    if (!next) {
      next = takeBlock(index + FREE, BUCKET_BYTES);
      if (!next) unreachable(); // hasRoom() was asked first
      store<u32>(bucket + OVERFLOW, next);
    }
    bucket = next;
  }
}

/** Splits the next bucket in two. Without a page for the new one it stays as it is: chains grow, answers do not change. */
function split(index: u32): void {
  const fresh = load<u32>(index + BUCKETS);
  if (fresh % SEGMENT_BUCKETS === 0) {
    const page = allocatePages(1);
    if (!page) return;
    store<u32>(directoryOf(index) + ((fresh / SEGMENT_BUCKETS) << 2), page);
  }
  const mask = load<u32>(index + MASK);
  const number = load<u32>(index + SPLIT);
  store<u32>(index + BUCKETS, fresh + 1);
  if (number === mask) {
    store<u32>(index + SPLIT, 0);
    store<u32>(index + MASK, (mask << 1) | 1);
  } else {
    store<u32>(index + SPLIT, number + 1);
  }
  distribute(index, bucketAt(index, number), bucketAt(index, fresh), ctz<u32>(mask + 1));
}

/** Moves the entries of a bucket whose hash has the bit to another, and the rest to the chain's front. */
function distribute(index: u32, low: u32, high: u32, bit: u32): void {
  const inTag = bit >= <u32>TAG_SHIFT && bit < <u32>TAG_SHIFT + TAG_BITS;
  let source = low;
  let first = true;
  while (source) {
    const next = overflowOf(source);
    for (let entry: u32 = 0; entry < BUCKET_ENTRIES; entry++) {
      const item = itemAt(source, entry);
      if (!item) continue;
      const tag = load<u16>(source + (entry << 1));
      const moves = inTag ? (tag >> <u16>(bit - <u32>TAG_SHIFT)) & 1 : <u16>((hashOfItem(index, item - 1) >> bit) & 1);
      if (first && !moves) continue; // it stays where it is
      store<u16>(source + (entry << 1), 0);
      store<u32>(source + ITEMS + (entry << 2), 0);
      put(index, moves ? high : low, tag, item);
    }
    store<u32>(source + OVERFLOW, 0);
    if (!first) giveBlock(index + FREE, source);
    first = false;
    source = next;
  }
}

/** Takes an item out; it must be there. */
export function remove(index: u32, hash: u64, item: u32): void {
  let before: u32 = 0;
  for (let bucket = bucketOf(index, hash); bucket; bucket = overflowOf(bucket)) {
    for (let entry: u32 = 0; entry < BUCKET_ENTRIES; entry++) {
      if (itemAt(bucket, entry) !== item + 1) continue;
      store<u16>(bucket + (entry << 1), 0);
      store<u32>(bucket + ITEMS + (entry << 2), 0);
      store<u32>(index + ENTRIES, load<u32>(index + ENTRIES) - 1);
      if (before && isEmpty(bucket)) unlink(index, before, bucket);
      return;
    }
    before = bucket;
  }
  unreachable();
}

function isEmpty(bucket: u32): bool {
  for (let entry: u32 = 0; entry < BUCKET_ENTRIES; entry++) {
    if (itemAt(bucket, entry)) return false;
  }
  return true;
}

/** Gives an overflow bucket back, so that items that come and go for ever do not lengthen every chain. */
function unlink(index: u32, before: u32, bucket: u32): void {
  store<u32>(before + OVERFLOW, overflowOf(bucket));
  store<u32>(bucket + OVERFLOW, 0);
  giveBlock(index + FREE, bucket);
}
