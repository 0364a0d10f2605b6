/** Names and random picks for the load scripts: seeded, so that a run can be repeated. */

/** Mulberry32 (Tommy Ettinger): a 32-bit generator, good enough to pick names. */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** That many different names of `length` random letters. */
export function randomNames(count, length, next) {
  const names = new Set();
  while (names.size < count) {
    let name = '';
    for (let i = 0; i < length; i++) name += LETTERS[Math.floor(next() * LETTERS.length)];
    names.add(Buffer.from(name, 'latin1').toString('latin1')); // flat, as a name that came from outside is
  }
  return [...names];
}

/**
 * Picks 0 … count - 1 by Zipf's law with exponent s < 1 (Gray et al., "Quickly Generating Billion-Record Synthetic Databases",
 * SIGMOD 1994).
 */
export function zipf(count, s, next) {
  let zeta = 0;
  for (let i = 1; i <= count; i++) zeta += 1 / i ** s;
  const alpha = 1 / (1 - s);
  const eta = (1 - (2 / count) ** (1 - s)) / (1 - (1 + 0.5 ** s) / zeta);
  return () => {
    const u = next();
    const uz = u * zeta;
    if (uz < 1) return 0;
    if (uz < 1 + 0.5 ** s) return 1;
    return Math.min(count - 1, Math.floor(count * (eta * u - eta + 1) ** alpha));
  };
}
