const WORD: u32 = 8;
const VECTOR: u32 = 16;

/**
 * Whether bytes are the same. The last words overlap, so that nothing is read behind them: that may be in a cache line which nobody has touched. Of
 * fewer than 8 bytes 8 are read.
 */
export function areSame(one: u32, other: u32, length: u32): bool {
  if (length < WORD) {
    const mask = ((<u64>1) << (length << 3)) - 1;
    return ((load<u64>(one) ^ load<u64>(other)) & mask) === 0;
  }
  if (length < VECTOR) {
    const last = length - WORD;
    return ((load<u64>(one) ^ load<u64>(other)) | (load<u64>(one + last) ^ load<u64>(other + last))) === 0;
  }
  const last = length - VECTOR;
  for (let i: u32 = 0; i < last; i += VECTOR) {
    if (v128.any_true(v128.xor(v128.load(one + i), v128.load(other + i)))) return false;
  }
  return !v128.any_true(v128.xor(v128.load(one + last), v128.load(other + last)));
}
