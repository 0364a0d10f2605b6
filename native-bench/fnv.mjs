/** FNV-1a, 32 bits (Fowler, Noll, Vo), as the C programs compute it: that both sides made the same. */

export const FNV_START = 0x811c9dc5;

export function fnv(hash, bytes) {
  let h = hash;
  for (let i = 0; i < bytes.length; i++) h = Math.imul(h ^ bytes[i], 0x01000193);
  return h >>> 0;
}

/** The hash of signed 64-bit values in their order. */
export function hashOfValues(values) {
  const cell = new Uint8Array(8);
  const view = new DataView(cell.buffer);
  let hash = FNV_START;
  for (const value of values) {
    view.setBigInt64(0, value, true);
    hash = fnv(hash, cell);
  }
  return hash;
}
