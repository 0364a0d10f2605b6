/** SHA-256 as FIPS 180-4 has it: synchronous and without Node, for the ids of operations. */

const BLOCK_BYTES = 64;
const LENGTH_BYTES = 8;
const ROUNDS = 64;

/** The first 32 bits of the fractional parts of the roots (`exponent` 1/2 or 1/3) of the first primes. */
function fractionsOfRoots(count: number, exponent: number): Uint32Array {
  const fractions: number[] = [];
  const primes: number[] = [];
  for (let candidate = 2; fractions.length < count; candidate++) {
    if (primes.some((prime) => candidate % prime === 0)) continue;
    primes.push(candidate);
    const root = candidate ** exponent;
    fractions.push((root - Math.floor(root)) * 2 ** 32);
  }
  return Uint32Array.from(fractions);
}

const INITIAL_HASH = fractionsOfRoots(8, 1 / 2);
const ROUND_CONSTANTS = fractionsOfRoots(ROUNDS, 1 / 3);

const rotate = (word: number, bits: number) => (word >>> bits) | (word << (32 - bits));

/** The 32 bytes of the hash. */
export function sha256(message: Uint8Array): Uint8Array {
  const paddedBytes = Math.ceil((message.length + 1 + LENGTH_BYTES) / BLOCK_BYTES) * BLOCK_BYTES;
  const padded = new Uint8Array(paddedBytes);
  padded.set(message);
  padded[message.length] = 0x80;
  const words = new DataView(padded.buffer);
  words.setUint32(paddedBytes - 8, Math.floor(message.length / 2 ** 29));
  words.setUint32(paddedBytes - 4, message.length << 3);

  const hash = INITIAL_HASH.slice();
  const schedule = new Uint32Array(ROUNDS);
  for (let block = 0; block < paddedBytes; block += BLOCK_BYTES) {
    expand(schedule, words, block);
    compress(hash, schedule);
  }
  const digest = new DataView(new ArrayBuffer(32));
  hash.forEach((word, i) => {
    digest.setUint32(4 * i, word);
  });
  return new Uint8Array(digest.buffer);
}

function expand(schedule: Uint32Array, words: DataView, block: number): void {
  for (let t = 0; t < 16; t++) schedule[t] = words.getUint32(block + 4 * t);
  for (let t = 16; t < ROUNDS; t++) {
    const w2 = schedule[t - 2] as number;
    const w15 = schedule[t - 15] as number;
    const sigma1 = rotate(w2, 17) ^ rotate(w2, 19) ^ (w2 >>> 10);
    const sigma0 = rotate(w15, 7) ^ rotate(w15, 18) ^ (w15 >>> 3);
    schedule[t] = sigma1 + (schedule[t - 7] as number) + sigma0 + (schedule[t - 16] as number);
  }
}

function compress(hash: Uint32Array, schedule: Uint32Array): void {
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = hash;
  for (let t = 0; t < ROUNDS; t++) {
    const sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const choice = (e & f) ^ (~e & g);
    const t1 = (h + sum1 + choice + (ROUND_CONSTANTS[t] as number) + (schedule[t] as number)) | 0;
    const sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const majority = (a & b) ^ (a & c) ^ (b & c);
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + sum0 + majority) | 0;
  }
  [a, b, c, d, e, f, g, h].forEach((word, i) => {
    hash[i] = (hash[i] as number) + word;
  });
}
