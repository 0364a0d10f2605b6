/**
 * Sketches of unique items as answers bring them, united by a client whose names lie in several partitions. The registers and the
 * estimator are those of the kernel (src/kernel/sketch.ts is the essay): the same items give the same number here and there.
 */

export const SKETCH_BYTES = 12_288;
const REGISTERS = 16_384;
const TOSSES = 50;
const ALPHA = 1 / (2 * Math.LN2);

/** Of an estimate, relative: sqrt(3 ln 2 - 1) / sqrt(16,384). */
export const STANDARD_ERROR = Math.sqrt(3 * Math.LN2 - 1) / 128;

/** The items of a union: their hashes, or the registers of a sketch of them. */
export type UniqueItems =
  | { readonly hashes: readonly bigint[]; readonly registers?: never }
  | { readonly registers: Uint8Array; readonly hashes?: never };

/** How many different items there are in all; exact where all of them are known by their hashes. */
export function countUnion(parts: readonly UniqueItems[]): { count: number; exact: boolean } {
  if (parts.every(({ hashes }) => hashes)) {
    return { count: new Set(parts.flatMap(({ hashes }) => hashes ?? [])).size, exact: true };
  }
  const ranks = new Uint8Array(REGISTERS);
  for (const { hashes, registers } of parts) {
    if (registers) raiseRegisters(ranks, registers);
    else for (const hash of hashes) raiseHash(ranks, hash);
  }
  return { count: estimate(ranks), exact: false };
}

/** Eight registers are six bytes, low bits first. */
function raiseRegisters(ranks: Uint8Array, registers: Uint8Array): void {
  for (let i = 0; i < REGISTERS; i++) {
    const bit = i * 6;
    const word = (registers[bit >> 3] ?? 0) | ((registers[(bit >> 3) + 1] ?? 0) << 8);
    raise(ranks, i, (word >> (bit & 7)) & 63);
  }
}

function raiseHash(ranks: Uint8Array, hash: bigint): void {
  let tosses = BigInt.asUintN(64, hash) >> 14n;
  let rank = 1;
  while (rank <= TOSSES && !(tosses & 1n)) {
    tosses >>= 1n;
    rank++;
  }
  raise(ranks, Number(hash & BigInt(REGISTERS - 1)), rank);
}

function raise(ranks: Uint8Array, register: number, rank: number): void {
  if ((ranks[register] ?? 0) < rank) ranks[register] = rank;
}

/** Ertl, arXiv:1702.01284, algorithm 6, to the nearest whole. */
export function estimate(ranks: Uint8Array): number {
  const registersOf = new Array<number>(TOSSES + 2).fill(0);
  for (const rank of ranks) registersOf[rank] = (registersOf[rank] ?? 0) + 1;
  const most = registersOf[TOSSES + 1] ?? 0;
  let z = REGISTERS * tau(1 - most / REGISTERS);
  for (let rank = TOSSES; rank >= 1; rank--) z = 0.5 * (z + (registersOf[rank] ?? 0));
  z += REGISTERS * sigma((registersOf[0] ?? 0) / REGISTERS);
  return roundToEven((ALPHA * REGISTERS * REGISTERS) / z);
}

/** As WebAssembly's `nearest`: a half goes to the even number. */
function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

function sigma(share: number): number {
  if (share === 1) return Number.POSITIVE_INFINITY;
  let x = share;
  let y = 1;
  let z = share;
  for (let before = -1; z !== before; ) {
    x *= x;
    before = z;
    z += x * y;
    y += y;
  }
  return z;
}

function tau(share: number): number {
  if (share === 0 || share === 1) return 0;
  let x = share;
  let y = 1;
  let z = 1 - share;
  for (let before = -1; z !== before; ) {
    x = Math.sqrt(x);
    before = z;
    y *= 0.5;
    z -= (1 - x) ** 2 * y;
  }
  return z / 3;
}
