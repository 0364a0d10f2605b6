import { PREFETCH, REGISTER_SINK } from './layout';

/**
 * WebAssembly has no instruction that prefetches: a load whose value nobody needs takes its place. The addresses that a stage will need
 * are noted first, in PREFETCH, and then loaded in a loop that does nothing else. A processor looks a few hundred instructions ahead:
 * where other work stands between the loads, fewer of them are within its reach, and fewer cache misses overlap.
 *
 *   0             4             8
 *   | u32 address | u32 address | … 2 × STAGE of them
 */
export const ADDRESS: u32 = 4;
/** What one turn of the loop loads. Behind the last address stand those of an older stage, or 0. */
const UNROLLED: u32 = 8 * ADDRESS;

/** Notes at `p` that an address will be needed; where the next one is to be noted. */
export function willNeed(p: u32, address: u32): u32 {
  store<u32>(p, address);
  return p + ADDRESS;
}

/** Loads a word at each of the addresses that were noted from PREFETCH to `end`. */
export function prefetch(end: u32): void {
  let sink: u32 = 0;
  for (let p = PREFETCH; p < end; p += UNROLLED) {
    sink += load<u32>(load<u32>(p));
    sink += load<u32>(load<u32>(p, ADDRESS));
    sink += load<u32>(load<u32>(p, 2 * ADDRESS));
    sink += load<u32>(load<u32>(p, 3 * ADDRESS));
    sink += load<u32>(load<u32>(p, 4 * ADDRESS));
    sink += load<u32>(load<u32>(p, 5 * ADDRESS));
    sink += load<u32>(load<u32>(p, 6 * ADDRESS));
    sink += load<u32>(load<u32>(p, 7 * ADDRESS));
  }
  store<u32>(REGISTER_SINK, sink); // so that the loads stay
}
