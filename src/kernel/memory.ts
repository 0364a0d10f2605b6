import { H_FREE_PAGE, H_MAXIMUM_PAGES, H_NEXT_PAGE, MAX_PAGES, PAGE, RESERVED_PAGES } from './layout';

/** WebAssembly memory grows in steps of this many pages (1 MiB). */
const GROWTH: u32 = 16;

/**
 * Takes consecutive zeroed pages: their address, or 0 when the configured maximum is reached. Only the configuration in
 * the log decides, so replay decides the same; a host that cannot give what the configuration allows is a trap, and the process
 * ends.
 */
export function allocatePages(count: u32): u32 {
  const free = load<u32>(H_FREE_PAGE);
  if (count === 1 && free) {
    store<u32>(H_FREE_PAGE, load<u32>(free));
    store<u32>(free, 0);
    return free;
  }
  const first = load<u32>(H_NEXT_PAGE);
  const next = first + count;
  if (next > load<u32>(H_MAXIMUM_PAGES)) return 0;
  growTo(next);
  store<u32>(H_NEXT_PAGE, next);
  return first * PAGE;
}

/** Makes the linear memory at least that many pages long. */
export function growTo(pages: u32): void {
  const size = <u32>memory.size();
  if (pages <= size) return;
  const wanted = min<u32>(max<u32>(pages, size + GROWTH), MAX_PAGES);
  if (memory.grow(wanted - size) < 0) unreachable();
}

/** Gives a page back; it must be all zero. */
export function freePage(page: u32): void {
  store<u32>(page, load<u32>(H_FREE_PAGE));
  store<u32>(H_FREE_PAGE, page);
}

/** Whether a page may be taken that is not of the reserve. */
export function hasPage(): bool {
  return load<u32>(H_FREE_PAGE) !== 0 || hasRoom();
}

/** Whether so many pages may be taken that are not of the reserve. */
export function hasPages(count: u32): bool {
  return load<u32>(H_NEXT_PAGE) + RESERVED_PAGES + count <= load<u32>(H_MAXIMUM_PAGES);
}

/** Whether names and producers that do not exist yet may still take memory. */
export function hasRoom(): bool {
  return hasPages(0);
}

/** Takes a block of a page that is cut into equal blocks, linked through their first word from `list`; 0 = no memory. */
export function takeBlock(list: u32, bytes: u32): u32 {
  const free = load<u32>(list);
  if (free) {
    store<u32>(list, load<u32>(free));
    store<u32>(free, 0);
    return free;
  }
  const page = allocatePages(1);
  if (!page) return 0;
  for (let block = page + bytes; block + bytes <= page + PAGE; block += bytes) giveBlock(list, block);
  return page;
}

/** Gives a block back; all but its first word must be zero. */
export function giveBlock(list: u32, block: u32): void {
  store<u32>(block, load<u32>(list));
  store<u32>(list, block);
}
