import { giveSized, hasSizedRoom, takeSized } from './blocks';
import { slotAddress, trackAt } from './cells';
import { withinOf } from './classes';
import { H_CLOCK, H_SETS, H_SETS_HAND } from './layout';
import { dropOnce, sweepOnce } from './once-items';
import { linkNode, nextNode, unlinkNode } from './ring';
import { classOfTrack, dropIfIdle, slotOfTrack, UNIQUES } from './tracks';
import { dropWindows, sweepWindows } from './unique-windows';
import { dropUniques } from './uniques';

/**
 * The sets of items of a counter. Each is a pair of words, the address of a block and a head, and all zero while it is empty. The items that were
 * ever seen (uniques.ts) are in the track itself, which has no more room; a counter that keeps other sets too has all of them in a block, and the pair in
 * its track is the block's address and a head that no set has:
 *
 *   0            8                         16                        24          32         40
 *   | ever seen  | counted once, lately    | by hour and day, 0      | u32 next, | u32 slot | 0 … 48
 *   |            | (once-items.ts)         | (unique-windows.ts)     | previous  |          |
 *
 * All these blocks are linked in one ring, round which the ticks go.
 */
const HEAD: u32 = 4;
const IN_BLOCK: u32 = 0xffffffff;
const ONCE: u32 = 8;
const WINDOWS: u32 = 16;
const LINKS: u32 = 24;
const SLOT: u32 = 32;
const BLOCK_BYTES: u32 = 48;

/** A tick looks at the sets of so many counters, and forgets so many of their items, in about two milliseconds. */
const TICK_SETS: u32 = 4096;
const TICK_ITEMS: u32 = 32768;
/** A bucket of an hour or a day counts as so many of them. */
const BUCKET_ITEMS: u32 = 64;

/** The block of a track's sets; 0 where the track has them itself. */
function blockOf(track: u32): u32 {
  return load<u32>(track + UNIQUES + HEAD) === IN_BLOCK ? load<u32>(track + UNIQUES) : 0;
}

/** The set of the items that were ever seen. */
export function seenSet(track: u32): u32 {
  const block = blockOf(track);
  return block ? block : track + UNIQUES;
}

/** The set of the items that were counted once; 0 where the track has none. */
export function onceSet(track: u32): u32 {
  const block = blockOf(track);
  return block ? block + ONCE : 0;
}

/** The set of the items that were counted once, which may be empty; 0 without memory. */
export function openOnceSet(track: u32): u32 {
  const block = openBlock(track);
  return block ? block + ONCE : 0;
}

/** The word on which what a counter has seen by hour and day hangs; 0 where the track has no such word. */
export function windowsWord(track: u32): u32 {
  const block = blockOf(track);
  return block ? block + WINDOWS : 0;
}

/** The same, which may be empty; 0 without memory. */
export function openWindowsWord(track: u32): u32 {
  const block = openBlock(track);
  return block ? block + WINDOWS : 0;
}

function openBlock(track: u32): u32 {
  const known = blockOf(track);
  if (known) return known;
  if (!hasSizedRoom(BLOCK_BYTES)) return 0;
  const block = takeSized(BLOCK_BYTES);
  store<u64>(block, load<u64>(track + UNIQUES));
  store<u32>(block + SLOT, slotOfTrack(track));
  store<u32>(track + UNIQUES, block);
  store<u32>(track + UNIQUES + HEAD, IN_BLOCK);
  linkNode(H_SETS_HAND, LINKS, block);
  store<u32>(H_SETS, load<u32>(H_SETS) + 1);
  return block;
}

/** Gives the block of a track's sets back where it needs none, and the track where nothing hangs on it any more. */
export function foldSets(track: u32): void {
  const block = blockOf(track);
  if (block && !load<u32>(block + ONCE) && !load<u32>(block + WINDOWS)) {
    unlinkNode(H_SETS_HAND, LINKS, block);
    store<u64>(track + UNIQUES, load<u64>(block));
    giveSized(block, BLOCK_BYTES);
    store<u32>(H_SETS, load<u32>(H_SETS) - 1);
  }
  dropIfIdle(track);
}

/** Gives back the sets of a track that another class does not keep, and what is needed for none any more. What is by hour and day begins anew. */
export function dropSets(track: u32, keepsSeen: bool, keepsOnce: bool): void {
  if (!keepsSeen) dropUniques(seenSet(track));
  const once = onceSet(track);
  if (once && !keepsOnce) dropOnce(once);
  if (once) dropWindows(windowsWord(track));
  foldSets(track);
}

/** Lets time go over a part of the sets. One that has more to forget than a tick may is where the next one goes on. */
export function sweepSets(): void {
  const clock = load<i64>(H_CLOCK);
  let items = TICK_ITEMS;
  for (let left = min<u32>(load<u32>(H_SETS), TICK_SETS); left; left--) {
    const block = load<u32>(H_SETS_HAND);
    const track = trackAt(slotAddress(load<u32>(block + SLOT)));
    items -= sweepOnce(block + ONCE, clock, withinOf(classOfTrack(track)), items);
    const dropped = sweepWindows(block + WINDOWS, track) * BUCKET_ITEMS;
    items -= min<u32>(items, dropped);
    if (!items) return;
    nextNode(H_SETS_HAND, LINKS);
    foldSets(track);
  }
}
