/**
 * HyperLogLog: how many different items there were, from 12,288 bytes, however many there were (Flajolet, Fusy, Gandouet, Meunier,
 * "HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm", 2007).
 *
 * Each item is a hash of 64 bits, as random as coin tosses. The low 14 bits choose one of 16,384 registers; the others are tosses, and their rank
 * is the number of the first that is a one. A register keeps the highest rank that it has met: one that has met n items has met about log2(n).
 *
 *   bit  63                                                      14 13                    0
 *        | 50 tosses, the first is bit 14                          | number of the register |
 *          … 1 0 1 1 0 1 0 0 0                    rank 4: the first one is the fourth
 *          … 0 0 0 0 0 0 0 0 0                    rank 51: there was no one in 50
 *
 * A rank of 0 is a register that met nothing, so that 6 bits hold 0 to 51. Registers follow each other, low bits first, four in three bytes:
 *
 *   byte 0            byte 1            byte 2            byte 3
 *   | 1 1 0 0 0 0 0 0 | 2 2 2 2 1 1 1 1 | 3 3 3 3 3 3 2 2 | 5 5 4 4 4 4 4 4 | …    the highest bit of a byte on the left
 *
 * Register i lies at bit 6i, in the two bytes from byte 6i / 8 on. Eight registers are six bytes, and 2,048 times six bytes are the sketch.
 *
 * What was seen twice changes nothing, the order of the items does not matter, and the registers of two sketches, the higher of each two, are
 * just those of a sketch that saw the items of both. That is why a union commutes, associates and is idempotent bit for bit.
 *
 * The estimate is a function of how many registers have each rank, and of nothing else: so other forms of the same registers (sparse.ts)
 * give the same estimate. It is Ertl's improved raw estimator ("New cardinality estimation algorithms for HyperLogLog sketches", 2017,
 * arXiv:1702.01284, section 4), which needs neither the tables nor the change to linear counting of older ones, and has no bump where they
 * change. Its relative standard error is sqrt(3 ln 2 - 1) / 128 = 0.812%, and less below some ten thousand items.
 *
 * Estimating is the kernel's only floating point. It happens in reads alone and never reaches the persistent state; WebAssembly
 * gives the same bits for it everywhere.
 */
export const SKETCH_BYTES: u32 = 12288;
const PRECISION: u32 = 14;
export const SKETCH_REGISTERS: u32 = 16384;
const TOSSES: u32 = 50;
const REGISTER_BITS: u32 = 6;
const REGISTER_MASK: u32 = 63;

/** A histogram: how many registers have each rank, 52 u32. */
export const HISTOGRAM_BYTES: u32 = 208;

/** 1 / (2 ln 2) */
const ALPHA: f64 = 0.7213475204444817;

/** The register of a hash. */
export function registerOf(hash: u64): u32 {
  return <u32>hash & (SKETCH_REGISTERS - 1);
}

/** The rank of a hash, 1 to 51. */
export function rankOf(hash: u64): u32 {
  return <u32>ctz<u64>((hash >> PRECISION) | ((<u64>1) << TOSSES)) + 1;
}

/** A hash with a register and a rank. */
export function hashWith(register: u32, rank: u32): u64 {
  return <u64>register | (<u64>rank > TOSSES ? 0 : (<u64>1) << (PRECISION + rank - 1));
}

/**
 * Raises a register to a rank: whether it was lower. The word of the last register reaches one byte beyond the sketch, and leaves it as
 * it is.
 */
export function raise(sketch: u32, register: u32, rank: u32): bool {
  const bit = register * REGISTER_BITS;
  const address = sketch + (bit >> 3);
  const shift = bit & 7;
  const word = <u32>load<u16>(address);
  if (((word >> shift) & REGISTER_MASK) >= rank) return false;
  store<u16>(address, <u16>((word & ~(REGISTER_MASK << shift)) | (rank << shift)));
  return true;
}

/** Where a register lies. */
export function registerPlace(sketch: u32, register: u32): u32 {
  return sketch + ((register * REGISTER_BITS) >> 3);
}

// Eight registers of six bytes: those with even numbers in the low half of a lane of 12 bits each, so that a bit is free above each.
const LANES: u64 = 0x03f03f03f03f;
const GUARDS: u64 = 0x040040040040;

/** The higher of each two of four registers in lanes of 12 bits: a guard above a register survives a subtraction that does not borrow. */
function higher(a: u64, b: u64): u64 {
  const guards = ((a | GUARDS) - b) & GUARDS;
  const mask = guards - (guards >> REGISTER_BITS);
  return (a & mask) | (b & ~mask & LANES);
}

/** Raises each register of a sketch to that of another: the sketch of the union. */
export function mergeSketch(sketch: u32, other: u32): void {
  for (let i: u32 = 0; i < SKETCH_BYTES; i += 6) {
    const a = load<u64>(sketch + i);
    const b = load<u64>(other + i);
    const even = higher(a & LANES, b & LANES);
    const odd = higher((a >> REGISTER_BITS) & LANES, (b >> REGISTER_BITS) & LANES);
    const merged = even | (odd << REGISTER_BITS);
    store<u32>(sketch + i, <u32>merged);
    store<u16>(sketch + i + 4, <u16>(merged >> 32));
  }
}

/** Whether bytes are a sketch: no rank is higher than there are. */
export function isSketch(sketch: u32): bool {
  for (let register: u32 = 0; register < SKETCH_REGISTERS; register++) {
    const bit = register * REGISTER_BITS;
    if (((<u32>load<u16>(sketch + (bit >> 3)) >> (bit & 7)) & REGISTER_MASK) > TOSSES + 1) return false;
  }
  return true;
}

/** Counts the registers of a sketch by rank. */
export function countRanks(sketch: u32, histogram: u32): void {
  memory.fill(histogram, 0, HISTOGRAM_BYTES);
  for (let i: u32 = 0; i < SKETCH_BYTES; i += 6) {
    let registers = load<u64>(sketch + i);
    for (let j = 0; j < 8; j++) {
      countRank(histogram, <u32>registers & REGISTER_MASK, 1);
      registers >>= REGISTER_BITS;
    }
  }
}

export function countRank(histogram: u32, rank: u32, registers: i32): void {
  const place = histogram + (rank << 2);
  store<u32>(place, load<u32>(place) + registers);
}

/** The number of items from a histogram: Ertl's algorithm 6, to the nearest whole. */
export function estimate(histogram: u32): u64 {
  const registers = <f64>SKETCH_REGISTERS;
  let z = registers * tau(1 - <f64>load<u32>(histogram + ((TOSSES + 1) << 2)) / registers);
  for (let rank = TOSSES; rank >= 1; rank--) z = 0.5 * (z + <f64>load<u32>(histogram + (rank << 2)));
  z += registers * sigma(<f64>load<u32>(histogram) / registers);
  return <u64>nearest<f64>((ALPHA * registers * registers) / z);
}

/** x + the sum of x^(2^k) 2^(k-1) over k >= 1; infinite for 1, where all registers are empty and the estimate is 0. */
function sigma(x: f64): f64 {
  if (x === 1) return Infinity;
  let y: f64 = 1;
  let z = x;
  for (let before: f64 = -1; z !== before; ) {
    x *= x;
    before = z;
    z += x * y;
    y += y;
  }
  return z;
}

/** (1 - x - the sum of (1 - x^(2^-k))^2 2^-k over k >= 1) / 3 */
function tau(x: f64): f64 {
  if (x === 0 || x === 1) return 0;
  let y: f64 = 1;
  let z = 1 - x;
  for (let before: f64 = -1; z !== before; ) {
    x = sqrt<f64>(x);
    before = z;
    y *= 0.5;
    const rest = 1 - x;
    z -= rest * rest * y;
  }
  return z / 3;
}
