import { giveSized, hasSizedRoom, openGap, sizedBytes, takeSized } from './blocks';

/**
 * The items that a counter has counted once, until their time is over, in the order in which they came:
 *
 *   0           8                    12         16
 *   | u64 hash  | u32 seconds of the | u32 next |      an entry
 *   |           | clock, rounded up  |          |
 *
 * That is the order in which they expire: all of a class are kept for the same time, the kernel's clock never goes back, and none is kept from a second before
 * that of the one before it (those that were brought from another partition may be a second ahead). An item's time is over when
 * the clock has come to its seconds and that time: never early, at most a second late. What is over is forgotten as others come, and by ticks; until
 * then it is passed over.
 *
 * Two forms, told by the head of the set, whose other word is the address of the block:
 *
 *   SMALL  up to 63 entries in a block, which are looked through     head: | u8 entries | u8 that the block has room for |
 *   LARGE  a queue of chunks, and an index of chains                 head: 1 << 31
 *
 *   root   0           4                8             12                    16
 *          | u32 items | u32 level mask | u32 split   | u32 segments in use | u32 segments that the root has |
 *          20                   24                   28               32              36
 *          | u32 first chunk,   | u32 first entry    | u32 last chunk | u32 where the | u32 segment × …
 *          |                    |                    |                | next entry is |
 *   chunk  | u32 next chunk, 0 … 16 | entry × 63 |
 *
 * The index is linear hashing: a segment is 64 words, each the first entry of a chain through `next`; there are about as many chains as items, at most
 * twice as many. An entry whose item came again after its time was over is on no chain, and DEAD. An item takes 16 to 20 bytes in a small set, 20.3 in a large
 * one that has been filled.
 */
export const ENTRY_BYTES: u32 = 16;
const SECONDS: u32 = 8;
const NEXT: u32 = 12;
const DEAD: u32 = 1;

const HEAD: u32 = 4;
const LARGE: u32 = 1 << 31;
const MOST_SMALL: u32 = 63;
const ROOM_SHIFT: u32 = 8;
const COUNT_MASK: u32 = 255;

const ITEMS: u32 = 0;
const MASK: u32 = 4;
const SPLIT: u32 = 8;
const SEGMENTS: u32 = 12;
const ROOT_SEGMENTS: u32 = 16;
const FIRST_CHUNK: u32 = 20;
const FIRST: u32 = 24;
const LAST_CHUNK: u32 = 28;
const END: u32 = 32;
const ROOT_BYTES: u32 = 36;

const CHUNK_BYTES: u32 = 1024;
const CHUNK_HEAD: u32 = 16;
const SEGMENT_SHIFT: u32 = 6;
const SEGMENT_CHAINS: u32 = 64;
const SEGMENT_BYTES: u32 = 256;

/** As many as all segments that a root can list have chains for. */
export const MOST_ONCE: u32 = 1000000;

function isLarge(set: u32): bool {
  return (load<u32>(set + HEAD) & LARGE) !== 0;
}

/** Entries of a small set. */
function smallCount(set: u32): u32 {
  return load<u32>(set + HEAD) & COUNT_MASK;
}

/** How many items there are, with those whose time is over and that are not forgotten yet. */
export function onceCount(set: u32): u32 {
  return isLarge(set) ? load<u32>(load<u32>(set) + ITEMS) : smallCount(set);
}

function isOver(entry: u32, clock: i64, within: i64): bool {
  return <i64>load<u32>(entry + SECONDS) * 1000 + within <= clock;
}

/** The entry of an item, whose time may be over; 0 where there is none. */
function entryOf(set: u32, hash: u64): u32 {
  const block = load<u32>(set);
  if (isLarge(set)) {
    let entry = load<u32>(chainOf(block, hash));
    while (entry && load<u64>(entry) !== hash) entry = load<u32>(entry + NEXT);
    return entry;
  }
  for (let entry = block, end = block + smallCount(set) * ENTRY_BYTES; entry < end; entry += ENTRY_BYTES) {
    if (load<u64>(entry) === hash) return entry;
  }
  return 0;
}

/** Whether an item was counted and its time is not over. */
export function hasCounted(set: u32, hash: u64, clock: i64, within: i64): bool {
  const entry = entryOf(set, hash);
  return entry !== 0 && !isOver(entry, clock, within);
}

/** Loads from where looking for an item begins: any word, which means nothing. */
export function touchOnce(set: u32, hash: u64): u32 {
  const block = load<u32>(set);
  if (!block) return 0;
  return load<u32>(isLarge(set) ? chainOf(block, hash) : block);
}

/** Adds an item that was not counted, or whose time is over: whether there was memory for it. */
export function addOnce(set: u32, hash: u64, clock: i64): bool {
  return appendOnce(set, hash, <u32>((clock + 999) / 1000));
}

/** The same by the seconds that an item is kept from, unless the last one's are later. */
export function appendOnce(set: u32, hash: u64, seconds: u32): bool {
  if (!isLarge(set)) {
    const old = entryOf(set, hash);
    if (old) removeSmall(set, (old - load<u32>(set)) / ENTRY_BYTES + 1); // what came before it is over too
    if (smallCount(set) < MOST_SMALL) return addSmall(set, hash, seconds);
    if (!toLarge(set)) return false;
  }
  const root = load<u32>(set);
  const old = entryOf(set, hash);
  const entry = append(root, hash, seconds);
  if (!entry) return false;
  if (old) bury(root, old);
  chain(root, entry);
  store<u32>(root + ITEMS, load<u32>(root + ITEMS) + 1);
  if (load<u32>(root + ITEMS) > chainsOf(root)) store<u32>(set, split(root));
  return true;
}

/** Forgets up to `most` entries whose time is over, the first ones: how many. A set that has no items any more is empty, and gives all back. */
export function sweepOnce(set: u32, clock: i64, within: i64, most: u32): u32 {
  const block = load<u32>(set);
  if (!block) return 0;
  let swept: u32 = 0;
  if (!isLarge(set)) {
    const count = min<u32>(smallCount(set), most);
    while (swept < count && isOver(block + swept * ENTRY_BYTES, clock, within)) swept++;
    if (swept) removeSmall(set, swept);
    return swept;
  }
  while (swept < most && load<u32>(block + ITEMS) && isOver(load<u32>(block + FIRST), clock, within)) {
    const entry = load<u32>(block + FIRST);
    if (load<u32>(entry + NEXT) !== DEAD) {
      bury(block, entry);
      shrink(block);
    }
    leave(block);
    swept++;
  }
  if (!load<u32>(block + ITEMS)) dropOnce(set);
  return swept;
}

/** Gives all memory of a set back: it has no items. */
export function dropOnce(set: u32): void {
  const block = load<u32>(set);
  if (!block) return;
  if (isLarge(set)) dropLarge(block);
  else giveSized(block, (load<u32>(set + HEAD) >> ROOM_SHIFT) * ENTRY_BYTES);
  store<u64>(set, 0);
}

/** The entry behind one, 0 for the first, of those that are not dead; 0 behind the last. */
export function nextOnce(set: u32, entry: u32): u32 {
  const block = load<u32>(set);
  if (!block) return 0;
  if (!isLarge(set)) {
    const next = entry ? entry + ENTRY_BYTES : block;
    return next < block + smallCount(set) * ENTRY_BYTES ? next : 0;
  }
  let next = entry ? following(entry) : load<u32>(block + FIRST);
  while (next && next !== load<u32>(block + END) && load<u32>(next + NEXT) === DEAD) next = following(next);
  return next === load<u32>(block + END) ? 0 : next;
}

/** From when on an item is kept, in seconds of the clock. */
export function onceSeconds(entry: u32): u32 {
  return load<u32>(entry + SECONDS);
}

/** The place behind an entry of a large set: chunks lie at multiples of their size. */
function following(entry: u32): u32 {
  const next = entry + ENTRY_BYTES;
  if (next & (CHUNK_BYTES - 1)) return next;
  const chunk = load<u32>(next - CHUNK_BYTES);
  return chunk ? chunk + CHUNK_HEAD : next;
}

// --- small ---

function addSmall(set: u32, hash: u64, seconds: u32): bool {
  const count = smallCount(set);
  const room = load<u32>(set + HEAD) >> ROOM_SHIFT;
  let block = load<u32>(set);
  let fresh = room;
  if (count === room) {
    block = openGap(block, count * ENTRY_BYTES, count * ENTRY_BYTES, ENTRY_BYTES);
    if (!block) return false;
    fresh = sizedBytes((count + 1) * ENTRY_BYTES) / ENTRY_BYTES;
    store<u32>(set, block);
  }
  store<u32>(set + HEAD, (count + 1) | (fresh << ROOM_SHIFT));
  const entry = block + count * ENTRY_BYTES;
  putEntry(entry, hash, count ? max<u32>(seconds, onceSeconds(entry - ENTRY_BYTES)) : seconds);
  return true;
}

function putEntry(entry: u32, hash: u64, seconds: u32): void {
  store<u64>(entry, hash);
  store<u32>(entry + SECONDS, seconds);
}

/** Removes the first entries of a small set, and takes a smaller block for the rest where that is half as large. */
function removeSmall(set: u32, count: u32): void {
  const left = smallCount(set) - count;
  if (!left) {
    dropOnce(set);
    return;
  }
  const block = load<u32>(set);
  const room = load<u32>(set + HEAD) >> ROOM_SHIFT;
  const bytes = left * ENTRY_BYTES;
  memory.copy(block, block + count * ENTRY_BYTES, bytes);
  memory.fill(block + bytes, 0, count * ENTRY_BYTES);
  store<u32>(set + HEAD, left | (room << ROOM_SHIFT));
  if (sizedBytes(bytes) * 2 > room * ENTRY_BYTES || !hasSizedRoom(bytes)) return;
  const smaller = takeSized(bytes);
  memory.copy(smaller, block, bytes);
  giveSized(block, room * ENTRY_BYTES);
  store<u32>(set, smaller);
  store<u32>(set + HEAD, left | ((sizedBytes(bytes) / ENTRY_BYTES) << ROOM_SHIFT));
}

/** Makes a small set a large one: whether there was memory for it; else all is as it was. */
function toLarge(set: u32): bool {
  const block = load<u32>(set);
  const count = smallCount(set);
  if (!hasSizedRoom(ROOT_BYTES)) return false;
  let root = takeSized(ROOT_BYTES);
  store<u32>(root + MASK, SEGMENT_CHAINS - 1);
  const grown = addSegment(root);
  if (!grown) {
    dropLarge(root);
    return false;
  }
  root = grown;
  for (let from = block, end = block + count * ENTRY_BYTES; from < end; from += ENTRY_BYTES) {
    const entry = append(root, load<u64>(from), load<u32>(from + SECONDS));
    if (!entry) {
      dropLarge(root);
      return false;
    }
    chain(root, entry);
  }
  store<u32>(root + ITEMS, count);
  giveSized(block, (load<u32>(set + HEAD) >> ROOM_SHIFT) * ENTRY_BYTES);
  store<u32>(set, root);
  store<u32>(set + HEAD, LARGE);
  return true;
}

// --- the queue ---

/** Appends an entry that is on no chain yet: where it is, 0 without memory. */
function append(root: u32, hash: u64, seconds: u32): u32 {
  const last = load<u32>(root + LAST_CHUNK);
  const from = last ? max<u32>(seconds, onceSeconds(load<u32>(root + END) - ENTRY_BYTES)) : seconds;
  if (load<u32>(root + END) === (last ? last + CHUNK_BYTES : 0)) {
    if (!hasSizedRoom(CHUNK_BYTES)) return 0;
    const chunk = takeSized(CHUNK_BYTES);
    if (last) {
      store<u32>(last, chunk);
    } else {
      store<u32>(root + FIRST_CHUNK, chunk);
      store<u32>(root + FIRST, chunk + CHUNK_HEAD);
    }
    store<u32>(root + LAST_CHUNK, chunk);
    store<u32>(root + END, chunk + CHUNK_HEAD);
  }
  const entry = load<u32>(root + END);
  store<u32>(root + END, entry + ENTRY_BYTES);
  putEntry(entry, hash, from);
  return entry;
}

/** Takes the first entry, which is on no chain any more, from the queue. */
function leave(root: u32): void {
  const chunk = load<u32>(root + FIRST_CHUNK);
  const first = following(load<u32>(root + FIRST));
  store<u32>(root + FIRST, first);
  const next = load<u32>(chunk);
  if (first !== next + CHUNK_HEAD) return;
  giveSized(chunk, CHUNK_BYTES);
  store<u32>(root + FIRST_CHUNK, next);
}

// --- the index ---

function chainsOf(root: u32): u32 {
  return load<u32>(root + MASK) + 1 + load<u32>(root + SPLIT);
}

/** The address of the word that begins a chain. */
function chainAt(root: u32, number: u32): u32 {
  const segment = load<u32>(root + ROOT_BYTES + ((number >> SEGMENT_SHIFT) << 2));
  return segment + ((number & (SEGMENT_CHAINS - 1)) << 2);
}

/** The same for the chain that a hash belongs to. */
function chainOf(root: u32, hash: u64): u32 {
  const mask = load<u32>(root + MASK);
  let number = <u32>hash & mask;
  if (number < load<u32>(root + SPLIT)) number = <u32>hash & ((mask << 1) | 1);
  return chainAt(root, number);
}

function chain(root: u32, entry: u32): void {
  const first = chainOf(root, load<u64>(entry));
  store<u32>(entry + NEXT, load<u32>(first));
  store<u32>(first, entry);
}

/** Takes an entry from its chain: its item is there no more. */
function bury(root: u32, entry: u32): void {
  let link = chainOf(root, load<u64>(entry));
  while (load<u32>(link) !== entry) link = load<u32>(link) + NEXT;
  store<u32>(link, load<u32>(entry + NEXT));
  store<u32>(entry + NEXT, DEAD);
  store<u32>(root + ITEMS, load<u32>(root + ITEMS) - 1);
}

/** Adds a segment of empty chains: where the root is now; 0, and all as it was, without memory. */
function addSegment(root: u32): u32 {
  const segments = load<u32>(root + SEGMENTS);
  if (!hasSizedRoom(SEGMENT_BYTES)) return 0;
  const segment = takeSized(SEGMENT_BYTES);
  let grown = root;
  if (segments === load<u32>(root + ROOT_SEGMENTS)) {
    const bytes = ROOT_BYTES + (segments << 2);
    grown = openGap(root, bytes, bytes, 4);
    if (!grown) {
      giveSized(segment, SEGMENT_BYTES);
      return 0;
    }
    store<u32>(grown + ROOT_SEGMENTS, segments + 1);
  }
  store<u32>(grown + ROOT_BYTES + (segments << 2), segment);
  store<u32>(grown + SEGMENTS, segments + 1);
  return grown;
}

/** Splits the next chain in two: where the root is now. Without memory for it the chain stays as it is, and chains grow. */
function split(root: u32): u32 {
  const fresh = chainsOf(root);
  if (fresh >> SEGMENT_SHIFT === load<u32>(root + SEGMENTS)) {
    const grown = addSegment(root);
    if (!grown) return root;
    root = grown;
  }
  const mask = load<u32>(root + MASK);
  const number = load<u32>(root + SPLIT);
  const isLast = number === mask;
  store<u32>(root + SPLIT, isLast ? 0 : number + 1);
  if (isLast) store<u32>(root + MASK, (mask << 1) | 1);
  let entry = load<u32>(chainAt(root, number));
  store<u32>(chainAt(root, number), 0);
  while (entry) {
    const next = load<u32>(entry + NEXT);
    chain(root, entry);
    entry = next;
  }
  return root;
}

/** Undoes splits while there are more than twice as many chains as items, two at most: as many as an item that goes can ask for. */
function shrink(root: u32): void {
  for (let i = 0; i < 2; i++) {
    const last = chainsOf(root) - 1;
    if (last < SEGMENT_CHAINS || load<u32>(root + ITEMS) << 1 > last) return;
    let entry = load<u32>(chainAt(root, last));
    store<u32>(chainAt(root, last), 0);
    if (!load<u32>(root + SPLIT)) {
      const mask = load<u32>(root + MASK) >> 1;
      store<u32>(root + MASK, mask);
      store<u32>(root + SPLIT, mask + 1);
    }
    store<u32>(root + SPLIT, load<u32>(root + SPLIT) - 1);
    while (entry) {
      const next = load<u32>(entry + NEXT);
      chain(root, entry);
      entry = next;
    }
    if (last & (SEGMENT_CHAINS - 1)) continue;
    const place = root + ROOT_BYTES + ((last >> SEGMENT_SHIFT) << 2);
    giveSized(load<u32>(place), SEGMENT_BYTES);
    store<u32>(place, 0);
    store<u32>(root + SEGMENTS, last >> SEGMENT_SHIFT);
  }
}

/** Gives all memory of a large set back, also of one in the making. */
function dropLarge(root: u32): void {
  for (let chunk = load<u32>(root + FIRST_CHUNK); chunk; ) {
    const next = load<u32>(chunk);
    giveSized(chunk, CHUNK_BYTES);
    chunk = next;
  }
  for (let segment: u32 = 0; segment < load<u32>(root + SEGMENTS); segment++) {
    giveSized(load<u32>(root + ROOT_BYTES + (segment << 2)), SEGMENT_BYTES);
  }
  giveSized(root, ROOT_BYTES + (load<u32>(root + ROOT_SEGMENTS) << 2));
}
