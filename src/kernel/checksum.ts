export { xxh64 } from './hash';

/**
 * The two checksums of the log, over bytes that lie in this module's memory: CRC32C against damage, XXH64 for the chain
 * of records. The memory is imported, not shared, and its first 64 KiB page belongs to the tables.
 *
 *  0          16,384         65,536
 *  +----------+--------------+------------------ - -
 *  |  tables  |    unused    |  bytes of the host
 *  | 16 x 256 |              |
 *  |   x u32  |              |
 *  +----------+--------------+------------------ - -
 */

/** The Castagnoli polynomial, its bits reversed (RFC 3720, section 12.1; test values in appendix B.4). */
const POLYNOMIAL: u32 = 0x82f63b78;

/**
 * Builds the tables for slicing by 16: table k holds the CRC of a byte that is followed by k zero bytes (M. Kounavis
 * and F. Berry, "A Systematic Approach to Building High Performance Software-based CRC Generators", 2005). To be
 * called once, before crc32c.
 */
export function initialize(): void {
  for (let byte: u32 = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (POLYNOMIAL & (0 - (crc & 1)));
    store<u32>(byte << 2, crc);
  }
  for (let entry: u32 = 1 << 10; entry < 16 << 10; entry += 4) {
    const previous = load<u32>(entry - (1 << 10));
    store<u32>(entry, (previous >>> 8) ^ load<u32>((previous & 0xff) << 2));
  }
}

function first(word: u32): usize {
  return (word & 0xff) << 2;
}

function second(word: u32): usize {
  return (word >>> 6) & 0x3fc;
}

function third(word: u32): usize {
  return (word >>> 14) & 0x3fc;
}

function fourth(word: u32): usize {
  return (word >>> 24) << 2;
}

/** CRC32C of the bytes that had the CRC `seed` so far (0 at the start), followed by these. */
export function crc32c(pointer: usize, length: u32, seed: u32): u32 {
  let crc = ~seed;
  const end = pointer + length;
  const wideEnd = pointer + (length & ~15);
  while (pointer < wideEnd) {
    const a = load<u32>(pointer) ^ crc;
    const b = load<u32>(pointer, 4);
    const c = load<u32>(pointer, 8);
    const d = load<u32>(pointer, 12);
    crc =
      load<u32>(first(a), 15 << 10) ^
      load<u32>(second(a), 14 << 10) ^
      load<u32>(third(a), 13 << 10) ^
      load<u32>(fourth(a), 12 << 10) ^
      load<u32>(first(b), 11 << 10) ^
      load<u32>(second(b), 10 << 10) ^
      load<u32>(third(b), 9 << 10) ^
      load<u32>(fourth(b), 8 << 10) ^
      load<u32>(first(c), 7 << 10) ^
      load<u32>(second(c), 6 << 10) ^
      load<u32>(third(c), 5 << 10) ^
      load<u32>(fourth(c), 4 << 10) ^
      load<u32>(first(d), 3 << 10) ^
      load<u32>(second(d), 2 << 10) ^
      load<u32>(third(d), 1 << 10) ^
      load<u32>(fourth(d));
    pointer += 16;
  }
  while (pointer < end) {
    crc = (crc >>> 8) ^ load<u32>(first(crc ^ load<u8>(pointer)));
    pointer++;
  }
  return ~crc;
}
