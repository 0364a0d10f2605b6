import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import asc from 'assemblyscript/asc';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { ERRORS } from '../../src/errors.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { murmur3, partitionHash, partitionOf } from '../../src/protocol/partition-hash.js';
import { configuration, Kernel, NOBODY, START } from './fixture.js';

/** The hashes of the kernel against published answers and plain references. */

const ENTRY = `
import { sipHash, xxh64, murmur3, partitionHash } from './src/kernel/hash';
import { H_KEY0, H_KEY1 } from './src/kernel/layout';
export function setKey(key0: u64, key1: u64): void { store<u64>(H_KEY0, key0); store<u64>(H_KEY1, key1); }
export { sipHash, xxh64, murmur3, partitionHash };
`;

interface Hashes {
  setKey(key0: bigint, key1: bigint): void;
  sipHash(pointer: number, length: number): bigint;
  xxh64(pointer: number, length: number, seed: bigint): bigint;
  murmur3(pointer: number, length: number): number;
  partitionHash(pointer: number, length: number): number;
}

const AT = 0x1001; // at no boundary of a word
const utf8 = (text: string) => new TextEncoder().encode(text);
const u64 = (value: bigint) => BigInt.asUintN(64, value);
const rotate = (value: bigint, bits: bigint) => u64((value << bits) | (u64(value) >> (64n - bits)));

let hashes: Hashes;
let bytes: Uint8Array;

beforeAll(async () => {
  const memory = new WebAssembly.Memory({ initial: 128, maximum: 128, shared: true });
  hashes = new WebAssembly.Instance(await compileEntry(), { env: { memory } }).exports as unknown as Hashes;
  bytes = new Uint8Array(memory.buffer);
});

/** Compiles ENTRY beside the kernel's sources, with the options of the kernel. */
async function compileEntry(): Promise<WebAssembly.Module> {
  const output = mkdtempSync(join(tmpdir(), 'tallystick-hash-'));
  try {
    const target = join(output, 'hash.wasm');
    const args = ['entry.ts', '--config', 'asconfig.json', '--target', 'kernel', '--outFile', target];
    const read = (path: string) => {
      if (path === 'entry.ts') return ENTRY;
      return /^(src\/kernel\/\w+\.ts|asconfig\.json)$/.test(path) ? readFileSync(path, 'utf8') : null;
    };
    const { error, stderr } = await asc.main(args, { readFile: read });
    if (error) throw new Error(`${error.message}\n${stderr.toString()}`);
    return new WebAssembly.Module(readFileSync(target));
  } finally {
    rmSync(output, { recursive: true });
  }
}

function put(content: Uint8Array): [pointer: number, length: number] {
  bytes.fill(0xa5, AT - 8, AT + content.length + 16); // what lies around must not matter
  bytes.set(content, AT);
  return [AT, content.length];
}

/** SipHash-c-d as the paper has it. */
function sipHashReference(c: number, d: number, key0: bigint, key1: bigint, data: Uint8Array): bigint {
  const v = [
    key0 ^ 0x736f6d6570736575n,
    key1 ^ 0x646f72616e646f6dn,
    key0 ^ 0x6c7967656e657261n,
    key1 ^ 0x7465646279746573n,
  ];
  let [v0, v1, v2, v3] = v as [bigint, bigint, bigint, bigint];
  const rounds = (count: number) => {
    for (let i = 0; i < count; i++) {
      v0 = u64(v0 + v1);
      v2 = u64(v2 + v3);
      v1 = rotate(v1, 13n) ^ v0;
      v3 = rotate(v3, 16n) ^ v2;
      v0 = rotate(v0, 32n);
      v2 = u64(v2 + v1);
      v0 = u64(v0 + v3);
      v1 = rotate(v1, 17n) ^ v2;
      v3 = rotate(v3, 21n) ^ v0;
      v2 = rotate(v2, 32n);
    }
  };
  const padded = new Uint8Array(Math.floor(data.length / 8) * 8 + 8);
  padded.set(data);
  padded[padded.length - 1] = data.length;
  const view = new DataView(padded.buffer);
  for (let at = 0; at < padded.length; at += 8) {
    const m = view.getBigUint64(at, true);
    v3 ^= m;
    rounds(c);
    v0 ^= m;
  }
  v2 ^= 0xffn;
  rounds(d);
  return v0 ^ v1 ^ v2 ^ v3;
}

const P1 = 0x9e3779b185ebca87n;
const P2 = 0xc2b2ae3d27d4eb4fn;
const P3 = 0x165667b19e3779f9n;
const P4 = 0x85ebca77c2b2ae63n;
const P5 = 0x27d4eb2f165667c5n;

/** XXH64 as its specification has it. */
function xxh64Reference(data: Uint8Array, seed = 0n): bigint {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const round = (accumulator: bigint, input: bigint) => u64(rotate(u64(accumulator + input * P2), 31n) * P1);
  let at = 0;
  let hash = u64(seed + P5);
  if (data.length >= 32) {
    const lanes = [seed + P1 + P2, seed + P2, seed, seed - P1].map(u64);
    for (; at + 32 <= data.length; at += 32) {
      for (let lane = 0; lane < 4; lane++)
        lanes[lane] = round(lanes[lane] as bigint, view.getBigUint64(at + lane * 8, true));
    }
    hash = u64(lanes.reduce((sum, lane, i) => sum + rotate(lane, [1n, 7n, 12n, 18n][i] as bigint), 0n));
    for (const lane of lanes) hash = u64((hash ^ round(0n, lane)) * P1 + P4);
  }
  hash = u64(hash + BigInt(data.length));
  for (; at + 8 <= data.length; at += 8)
    hash = u64(rotate(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * P1 + P4);
  for (; at + 4 <= data.length; at += 4)
    hash = u64(rotate(hash ^ u64(BigInt(view.getUint32(at, true)) * P1), 23n) * P2 + P3);
  for (; at < data.length; at++) hash = u64(rotate(hash ^ u64(BigInt(data[at] as number) * P5), 11n) * P1);
  hash = u64((hash ^ (hash >> 33n)) * P2);
  hash = u64((hash ^ (hash >> 29n)) * P3);
  return hash ^ (hash >> 32n);
}

describe('The index hash', () => {
  const key0 = 0x0706050403020100n;
  const key1 = 0x0f0e0d0c0b0a0908n;

  test('has a reference that gives the answers of the paper for SipHash-2-4', () => {
    const first15 = Uint8Array.from({ length: 15 }, (_, i) => i);
    expect(sipHashReference(2, 4, key0, key1, first15)).toBe(0xa129ca6149be45e5n);
    expect(sipHashReference(2, 4, key0, key1, new Uint8Array())).toBe(0x726fdb47dd0e0e31n);
  });

  test('is SipHash-1-3, at every length of the last word and under any key', () => {
    const word = fc.bigInt(0n, 2n ** 64n - 1n);
    fc.assert(
      fc.property(word, word, fc.uint8Array({ maxLength: 70 }), (key0, key1, data) => {
        hashes.setKey(key0, key1);
        expect(u64(hashes.sipHash(...put(data)))).toBe(sipHashReference(1, 3, key0, key1, data));
      }),
      { numRuns: 500 },
    );
    hashes.setKey(key0, key1);
    expect(u64(hashes.sipHash(...put(new Uint8Array())))).toBe(0xabac0158050fc4dcn); // the first vector of Rust's core::hash
  });
});

describe('The payload and state hash', () => {
  test('is XXH64, with the published answers', () => {
    const answers: [text: string, hash: bigint][] = [
      ['', 0xef46db3751d8e999n],
      ['a', 0xd24ec4f1a98c6e5bn],
      ['abc', 0x44bc2cf5ad770999n],
    ];
    for (const [text, hash] of answers) {
      expect(xxh64Reference(utf8(text))).toBe(hash);
      expect(u64(hashes.xxh64(...put(utf8(text)), 0n))).toBe(hash);
    }
  });

  test('is XXH64 at any length and with any seed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200, size: 'max' }), fc.bigInt(0n, 2n ** 64n - 1n), (data, seed) => {
        expect(u64(hashes.xxh64(...put(data), seed))).toBe(xxh64Reference(data, seed));
      }),
      { numRuns: 500 },
    );
  });

  test('of the state covers exactly its bytes', () => {
    const kernel = new Kernel();
    kernel.step('a', 1n);
    expect(kernel.partition.stateHash).toBe(xxh64Reference(kernel.partition.state));
  });
});

describe('The partition hash', () => {
  test('is the one of the clients, for any bytes', () => {
    const brace = fc.constantFrom(0x7b, 0x7d, 0x61);
    fc.assert(
      fc.property(fc.array(fc.oneof(brace, fc.nat(255)), { minLength: 1, maxLength: 40 }), (list) => {
        const name = Uint8Array.from(list);
        expect(hashes.murmur3(...put(name)) >>> 0).toBe(murmur3(name, 0, name.length));
        expect(hashes.partitionHash(...put(name)) >>> 0).toBe(partitionHash(name, 0, name.length));
      }),
      { numRuns: 1000 },
    );
  });

  test('gives the table of protocol.md', () => {
    const page = readFileSync('protocol.md', 'utf8');
    const rows = [...page.matchAll(/^\| `([^`]+)` \| `[^`]+` \| `([0-9a-f]{8})` \|$/gm)];
    expect(rows.length).toBeGreaterThanOrEqual(7);
    for (const [, name = '', hash] of rows) {
      expect((hashes.partitionHash(...put(utf8(name))) >>> 0).toString(16).padStart(8, '0')).toBe(hash);
    }
  });

  test('decides in a partition which names are its own', () => {
    const kernels = Array.from(
      { length: 5 },
      (_, partition) => new Kernel({ ...configuration, partition, partitions: 5 }),
    );
    for (let i = 0; i < 300; i++) {
      const name = utf8(i % 2 ? `page:/${i}` : `likes{post:${i}}`);
      const body = Uint8Array.of(1, ...[name.length * 4], ...name, 2);
      const owner = partitionOf(name, 0, name.length, 5);
      kernels.forEach((kernel, partition) => {
        const status = kernel.call(Opcode.ADD, 0, NOBODY, START, body);
        expect(status).toBe(partition === owner ? 0 : ERRORS.WRONG_PARTITION.status);
      });
    }
  });
});
