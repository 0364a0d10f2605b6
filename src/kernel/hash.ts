import { H_KEY0, H_KEY1 } from './layout';

/**
 * The hashes of a kernel, each for its own purpose:
 *   sipHash   keyed, 64 bits: where a name lies in the index; nobody outside can aim names at one bucket
 *   itemHash  keyed, 64 bits: an item that was seen; the same in all partitions, whose sketches can so be united
 *   murmur3   unkeyed, 32 bits: which partition a name belongs to (protocol.md)
 *   xxh64     fast over many bytes: whether a repeated batch has the payload it had the first time; state hash
 */

/** What makes the key of items another than that of names: any number but 0. */
const ITEM_KEY: u64 = 0x736d65746920666f;

/** SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012), under the directory's secret. */
// @inline
export function sipHash(pointer: u32, length: u32): u64 {
  return keyedHash(pointer, length, load<u64>(H_KEY0), load<u64>(H_KEY1));
}

/** The same under a key that is another: answers show hashes of items, and they must not tell where names lie. */
export function itemHash(pointer: u32, length: u32): u64 {
  return keyedHash(pointer, length, load<u64>(H_KEY0) ^ ITEM_KEY, load<u64>(H_KEY1));
}

function keyedHash(pointer: u32, length: u32, key0: u64, key1: u64): u64 {
  let v0: u64 = key0 ^ 0x736f6d6570736575;
  let v1: u64 = key1 ^ 0x646f72616e646f6d;
  let v2: u64 = key0 ^ 0x6c7967656e657261;
  let v3: u64 = key1 ^ 0x7465646279746573;
  const rest = length & 7;
  const end = pointer + length - rest;
  let p = pointer;
  for (let last = false; ; ) {
    let m: u64;
    if (p < end) {
      m = load<u64>(p);
      p += 8;
    } else {
      // The word may reach past the name into bytes that are readable but not part of it.
      m = ((<u64>length) << 56) | (rest ? load<u64>(p) & (((<u64>1) << (rest << 3)) - 1) : 0);
      last = true;
    }
    v3 ^= m;
    v0 += v1;
    v1 = rotl<u64>(v1, 13);
    v1 ^= v0;
    v0 = rotl<u64>(v0, 32);
    v2 += v3;
    v3 = rotl<u64>(v3, 16);
    v3 ^= v2;
    v0 += v3;
    v3 = rotl<u64>(v3, 21);
    v3 ^= v0;
    v2 += v1;
    v1 = rotl<u64>(v1, 17);
    v1 ^= v2;
    v2 = rotl<u64>(v2, 32);
    v0 ^= m;
    if (last) break;
  }
  v2 ^= 0xff;
  for (let i = 0; i < 3; i++) {
    v0 += v1;
    v1 = rotl<u64>(v1, 13);
    v1 ^= v0;
    v0 = rotl<u64>(v0, 32);
    v2 += v3;
    v3 = rotl<u64>(v3, 16);
    v3 ^= v2;
    v0 += v3;
    v3 = rotl<u64>(v3, 21);
    v3 ^= v0;
    v2 += v1;
    v1 = rotl<u64>(v1, 17);
    v1 ^= v2;
    v2 = rotl<u64>(v2, 32);
  }
  return v0 ^ v1 ^ v2 ^ v3;
}

/** MurmurHash3_x86_32, seed 0 (Austin Appleby, SMHasher). */
export function murmur3(pointer: u32, length: u32): u32 {
  let h: u32 = 0;
  const end = pointer + (length & ~3);
  let p = pointer;
  for (; p < end; p += 4) {
    h ^= rotl<u32>(load<u32>(p) * 0xcc9e2d51, 15) * 0x1b873593;
    h = rotl<u32>(h, 13) * 5 + 0xe6546b64;
  }
  const rest = length & 3;
  if (rest) {
    const tail = load<u32>(p) & ((1 << (rest << 3)) - 1);
    h ^= rotl<u32>(tail * 0xcc9e2d51, 15) * 0x1b873593;
  }
  h ^= length;
  h = (h ^ (h >> 16)) * 0x85ebca6b;
  h = (h ^ (h >> 13)) * 0xc2b2ae35;
  return h ^ (h >> 16);
}

/** The partition hash of a name: of its {tag} if it has one (protocol.md, "Partitions and names"). */
export function partitionHash(name: u32, length: u32): u32 {
  const end = name + length;
  for (let open = name; open < end; open++) {
    if (load<u8>(open) !== 0x7b) continue;
    for (let close = open + 1; close < end; close++) {
      if (load<u8>(close) !== 0x7d) continue;
      if (close > open + 1) return murmur3(open + 1, close - open - 1);
      break;
    }
    break;
  }
  return murmur3(name, length);
}

const PRIME1: u64 = 0x9e3779b185ebca87;
const PRIME2: u64 = 0xc2b2ae3d27d4eb4f;
const PRIME3: u64 = 0x165667b19e3779f9;
const PRIME4: u64 = 0x85ebca77c2b2ae63;
const PRIME5: u64 = 0x27d4eb2f165667c5;

function round(accumulator: u64, input: u64): u64 {
  return rotl<u64>(accumulator + input * PRIME2, 31) * PRIME1;
}

/** XXH64 (Yann Collet, xxHash specification). */
export function xxh64(pointer: u32, length: u32, seed: u64): u64 {
  const end = pointer + length;
  let p = pointer;
  let h: u64;
  if (length >= 32) {
    let a = seed + PRIME1 + PRIME2;
    let b = seed + PRIME2;
    let c = seed;
    let d = seed - PRIME1;
    for (const limit = end - 32; p <= limit; p += 32) {
      a = round(a, load<u64>(p));
      b = round(b, load<u64>(p, 8));
      c = round(c, load<u64>(p, 16));
      d = round(d, load<u64>(p, 24));
    }
    h = rotl<u64>(a, 1) + rotl<u64>(b, 7) + rotl<u64>(c, 12) + rotl<u64>(d, 18);
    h = (h ^ round(0, a)) * PRIME1 + PRIME4;
    h = (h ^ round(0, b)) * PRIME1 + PRIME4;
    h = (h ^ round(0, c)) * PRIME1 + PRIME4;
    h = (h ^ round(0, d)) * PRIME1 + PRIME4;
  } else {
    h = seed + PRIME5;
  }
  h += <u64>length;
  for (; p + 8 <= end; p += 8) h = rotl<u64>(h ^ round(0, load<u64>(p)), 27) * PRIME1 + PRIME4;
  if (p + 4 <= end) {
    h = rotl<u64>(h ^ (<u64>load<u32>(p) * PRIME1), 23) * PRIME2 + PRIME3;
    p += 4;
  }
  for (; p < end; p++) h = rotl<u64>(h ^ (<u64>load<u8>(p) * PRIME5), 11) * PRIME1;
  h = (h ^ (h >> 33)) * PRIME2;
  h = (h ^ (h >> 29)) * PRIME3;
  return h ^ (h >> 32);
}
