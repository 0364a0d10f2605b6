import { REGISTER_NEXT } from './layout';

/**
 * Reading varints (protocol.md, "Numbers"). A read may look at up to ten bytes past the body's end, which stay within the
 * receive area; callers compare where they are with the end after each step.
 */

/** The value in the low 56 bits and the number of bytes above them, or TOO_LONG for a value that needs more, or a malformed one. */
export function readVarint(p: u32): u64 {
  const word = load<u64>(p);
  const ends = ~word & 0x8080808080808080;
  if (!ends) return readLongVarint(p);
  const bits = ctz<u64>(ends) + 1; // a multiple of 8
  let x = word & 0x7f7f7f7f7f7f7f7f;
  if (bits < 64) x &= ((<u64>1) << bits) - 1;
  x = (x & 0x007f007f007f007f) | ((x & 0x7f007f007f007f00) >> 1);
  x = (x & 0x00003fff00003fff) | ((x & 0x3fff00003fff0000) >> 2);
  x = (x & 0x000000000fffffff) | ((x & 0x0fffffff00000000) >> 4);
  return x | (bits << 53);
}

/** The number of a varint of up to four bytes, without what is above it. */
export function joinSevens(bits: u32): u32 {
  return (bits & 0x7f) | ((bits & 0x7f00) >> 1) | ((bits & 0x7f0000) >> 2) | ((bits & 0x7f000000) >> 3);
}

/** The other way round, for numbers below 2^28; more than any of those for others. */
export function sevensOf(value: u32): u32 {
  if (value >> 28) return 0x80000000;
  return (value & 0x7f) | ((value & 0x3f80) << 1) | ((value & 0x1fc000) << 2) | ((value & 0xfe00000) << 3);
}

/** A varint of nine or ten bytes: a small value in a form that is not the shortest one is legal. */
function readLongVarint(p: u32): u64 {
  const value = readVarint64(p);
  const end = load<u32>(REGISTER_NEXT);
  return !end || value > VALUE_MASK ? TOO_LONG : value | ((<u64>(end - p)) << 56);
}

export const TOO_LONG: u64 = 0xffffffffffffffff;
export const VALUE_MASK: u64 = 0x00ffffffffffffff;

/** A varint of up to ten bytes; where it ends goes to REGISTER_NEXT, 0 there if it is malformed. */
export function readVarint64(p: u32): u64 {
  let value: u64 = 0;
  for (let shift: u64 = 0; shift < 70; shift += 7) {
    const byte = <u64>load<u8>(p++);
    if (shift === 63 && byte > 1) break;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      store<u32>(REGISTER_NEXT, p);
      return value;
    }
  }
  store<u32>(REGISTER_NEXT, 0);
  return 0;
}

/** A zigzag number; where it ends goes to REGISTER_NEXT, 0 there if it is malformed. */
export function readZigzag(p: u32): i64 {
  const value = readVarint64(p);
  return <i64>(value >> 1) ^ -(<i64>(value & 1));
}

/** Writes a varint and gives where it ends. */
export function writeVarint(p: u32, value: u64): u32 {
  while (value >= 0x80) {
    store<u8>(p++, <u8>(value | 0x80));
    value >>= 7;
  }
  store<u8>(p++, <u8>value);
  return p;
}

export function writeZigzag(p: u32, value: i64): u32 {
  return writeVarint(p, zigzagOf(value));
}

export function zigzagOf(value: i64): u64 {
  return <u64>((value << 1) ^ (value >> 63));
}
