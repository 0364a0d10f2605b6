/** The partition of a name: normative in protocol.md, the same in every client and in the kernel. */

const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/**
 * MurmurHash3_x86_32 with seed 0 of the bytes from `start` to `end`, as an unsigned 32-bit number.
 * Source: Austin Appleby, SMHasher, `MurmurHash3.cpp` (public domain).
 */
export function murmur3(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  const blocksEnd = start + (length & ~3);
  let hash = 0;
  for (let at = start; at < blocksEnd; at += 4) {
    const block =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    hash ^= scramble(block);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let at = end - 1; at >= blocksEnd; at--) tail = (tail << 8) | (bytes[at] as number);
  hash ^= scramble(tail);

  hash ^= length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function scramble(block: number): number {
  const mixed = Math.imul(block, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}

/** The hash of a name: of what stands in its first `{…}`, if anything does, else of the whole name. */
export function partitionHash(name: Uint8Array, start: number, end: number): number {
  const open = find(name, OPEN_BRACE, start, end);
  const close = find(name, CLOSE_BRACE, open + 1, end);
  return close < end && close > open + 1 ? murmur3(name, open + 1, close) : murmur3(name, start, end);
}

/** The partition, of so many, that owns the name in the bytes from `start` to `end`. */
export function partitionOf(name: Uint8Array, start: number, end: number, partitions: number): number {
  return partitionHash(name, start, end) % partitions;
}

/** Where the byte is, or `end`. */
function find(bytes: Uint8Array, byte: number, start: number, end: number): number {
  let at = start;
  while (at < end && bytes[at] !== byte) at++;
  return at;
}
