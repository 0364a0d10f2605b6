import { FREE_BLOCKS, PAGE } from './layout';
import { allocatePages, freePage, giveBlock, hasPage, takeBlock } from './memory';

/**
 * Blocks of any size up to a page, for what belongs to one counter and grows with it: tracks, windows, sketches. Sizes are rounded up to one of 34, at
 * most a fifth more beyond 128 bytes:
 *
 *   16 32 48 64 80 96 112 128 | 160 192 224 256 | 320 384 448 512 | … | 10,240 12,288
 *
 * A page is cut into blocks of one size, and the free ones of a size are linked from FREE_BLOCKS. Beyond 12,288 bytes a block is a page.
 */
const GRAIN_SHIFT: u32 = 4;
const FINE: u32 = 128;
/** Sizes up to FINE; above, four to each doubling. */
const FINE_SIZES: u32 = 8;
const LARGEST: u32 = 12288;

/** The address of a zeroed block, 0 without memory. */
export function takeSized(bytes: u32): u32 {
  if (bytes > PAGE) unreachable();
  if (bytes > LARGEST) return allocatePages(1);
  const size = sizeNumber(bytes);
  return takeBlock(FREE_BLOCKS + (size << 2), sizeOf(size));
}

/** Gives a block back that was taken with so many bytes; what is in it goes. */
export function giveSized(block: u32, bytes: u32): void {
  if (bytes > LARGEST) {
    memory.fill(block, 0, PAGE);
    freePage(block);
    return;
  }
  const size = sizeNumber(bytes);
  memory.fill(block, 0, sizeOf(size));
  giveBlock(FREE_BLOCKS + (size << 2), block);
}

/** Whether a block can be taken without touching the pages that existing counters and producers have in reserve. */
export function hasSizedRoom(bytes: u32): bool {
  return hasPage() || (bytes <= LARGEST && load<u32>(FREE_BLOCKS + (sizeNumber(bytes) << 2)) !== 0);
}

/**
 * Opens a gap in a block of which so many bytes are used, and which is as large as they need: where it is now; 0, and all as it was, without
 * memory. A block of no bytes is 0.
 */
export function openGap(block: u32, used: u32, at: u32, bytes: u32): u32 {
  if (used && used + bytes <= sizedBytes(used)) {
    memory.copy(block + at + bytes, block + at, used - at);
    return block;
  }
  if (used + bytes > PAGE || !hasSizedRoom(used + bytes)) return 0;
  const fresh = takeSized(used + bytes);
  if (!used) return fresh;
  memory.copy(fresh, block, at);
  memory.copy(fresh + at + bytes, block + at, used - at);
  giveSized(block, used);
  return fresh;
}

/** What a block of so many bytes really takes. */
export function sizedBytes(bytes: u32): u32 {
  return bytes > LARGEST ? PAGE : sizeOf(sizeNumber(bytes));
}

function sizeNumber(bytes: u32): u32 {
  if (bytes <= FINE) return (max<u32>(bytes, 1) - 1) >> GRAIN_SHIFT;
  const doubling = 31 - clz<u32>(bytes - 1); // 7 for 129 to 256
  const quarter = (bytes - 1 - (1 << doubling)) >> (doubling - 2);
  return FINE_SIZES + ((doubling - 7) << 2) + quarter;
}

function sizeOf(size: u32): u32 {
  if (size < FINE_SIZES) return (size + 1) << GRAIN_SHIFT;
  const doubling = 7 + ((size - FINE_SIZES) >> 2);
  return (1 << doubling) + ((((size - FINE_SIZES) & 3) + 1) << (doubling - 2));
}
