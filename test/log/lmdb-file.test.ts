import {
  closeSync,
  copyFileSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LmdbEnvironment } from '../../src/log/lmdb.js';
import { LmdbFile } from '../../src/log/lmdb-file.js';
import { LmdbReader, type LmdbRow } from '../../src/log/lmdb-reader.js';
import { temporaryDirectory } from './homes.js';
import { bodyOf } from './writer.js';

const NAMES = ['one', 'two'];
const PAGE_BYTES = 4_096;

/** By table and key, both as text, the value in hexadecimal. */
type Content = ReadonlyMap<string, string>;

interface Change {
  readonly table: number;
  readonly key: number;
  /** -1 removes. */
  readonly length: number;
}

let directory: string;
let path: string;

beforeEach(() => {
  directory = temporaryDirectory();
  path = join(directory, 'file.mdb');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const keyOf = (key: number): Uint8Array => Buffer.from(String(key).padStart(1 + (key % 60), 'k'));

/** Makes transactions of changes, and says what is in the file then. */
async function write(transactions: readonly (readonly Change[])[], reopen: boolean): Promise<Content> {
  const content = new Map<string, string>();
  let environment = new LmdbEnvironment(path, NAMES, { reserveBytes: 0 });
  for (const changes of transactions) {
    const outcome = await environment.commit({
      bytes: changes.reduce((sum, { length }) => sum + Math.max(0, length), 0),
      change: () => {
        for (const { table, key, length } of changes) {
          const name = `${NAMES[table]}:${Buffer.from(keyOf(key))}`;
          const database = environment.database(table);
          if (length < 0) {
            void database.remove(keyOf(key));
            content.delete(name);
          } else {
            void database.put(keyOf(key), bodyOf(length, key));
            content.set(name, Buffer.from(bodyOf(length, key)).toString('hex'));
          }
        }
      },
      isAbsent: () => false,
    });
    expect(outcome.kind).toBe('flushed');
    if (reopen) {
      await environment.close();
      environment = new LmdbEnvironment(path, NAMES, { reserveBytes: 0 });
    }
  }
  await environment.close();
  return content;
}

/** As LmdbReader reads it: in pieces, and each key for itself. */
function readContent(limit: number): Content {
  const reader = LmdbReader.open(path, NAMES);
  const content = new Map<string, string>();
  try {
    NAMES.forEach((name, index) => {
      let start: Uint8Array = Buffer.alloc(0);
      for (let rows = reader.range(index, { start, limit }); rows.length > 0; ) {
        for (const { key, value } of rows) {
          content.set(`${name}:${key}`, Buffer.from(value).toString('hex'));
          start = Buffer.concat([key, Buffer.alloc(1)]);
        }
        const [{ key, value }] = rows as [LmdbRow];
        expect(reader.get(index, key)).toEqual(value);
        expect(reader.get(index, Buffer.concat([key, Buffer.alloc(1)]))).toBeUndefined();
        rows = reader.range(index, { start, limit });
      }
      expect(reader.count(index)).toBe([...content.keys()].filter((key) => key.startsWith(`${name}:`)).length);
    });
    return content;
  } finally {
    reader.close();
  }
}

function contentOf(file: string): Content {
  const content = new Map<string, string>();
  LmdbFile.check(file, (tree, { key, value }) => content.set(`${tree}:${key}`, value().toString('hex')));
  return content;
}

describe('a file that LMDB has written', () => {
  const change = fc.record({
    table: fc.nat(1),
    key: fc.nat(300),
    length: fc.oneof(fc.constant(-1), fc.nat(100), fc.integer({ min: 1_000, max: 3_000 }), fc.nat(70_000)),
  });
  const transactions = fc.array(fc.array(change, { minLength: 1, maxLength: 60 }), { maxLength: 12 });

  test('is sound after any transactions, and has what they wrote', async () => {
    const property = fc.asyncProperty(transactions, fc.boolean(), async (each, reopen) => {
      rmSync(path, { force: true });
      const content = await write(each, reopen);
      expect(new Map([...contentOf(path)].sort())).toEqual(new Map([...content].sort()));
      for (const limit of [7, 1_000]) expect(readContent(limit)).toEqual(new Map([...content].sort()));
    });
    await fc.assert(property, { numRuns: 15 });
  });
});

/** Trees of several levels, values in pages of their own, and free pages. */
async function writeSample(): Promise<Content> {
  const put = (from: number, to: number, length: number): Change[] =>
    Array.from({ length: to - from }, (_, i) => ({ table: i % 2, key: from + i, length }));
  const remove = (from: number, to: number): Change[] => put(from, to, -1);
  return await write(
    [put(0, 300, 40), put(300, 303, 5_000), remove(0, 120), put(400, 420, 10), remove(300, 301)],
    true,
  );
}

/** Whether the two differ in nothing but one key or one value: both have checksums of their users. */
function differInOne(a: Content, b: Content): boolean {
  const others = (one: Content, other: Content) => [...one].filter(([key, value]) => other.get(key) !== value);
  const [[first, ...more], [second, ...evenMore]] = [others(a, b), others(b, a)];
  if (!first || !second || more.length + evenMore.length > 0) return !first && !second;
  return first[0] === second[0] || first[1] === second[1];
}

/** Every so many bytes one bit is flipped: a prime, so that all fields have their turn. */
const STRIDE = 37;

describe('a flipped bit', () => {
  test('is found wherever it changes more than one key or one value, an unused byte or the older meta page', async () => {
    const content = await writeSample();
    const whole = readFileSync(path);
    const copy = join(directory, 'copy.mdb');
    copyFileSync(path, copy);
    const file = openSync(copy, 'r+');
    const passed: number[] = [];
    try {
      for (let at = 0; at < whole.length; at += STRIDE) {
        const byte = whole[at] as number;
        writeSync(file, Buffer.of(byte ^ (1 << (at % 8))), 0, 1, at);
        try {
          const found = contentOf(copy);
          passed.push(at);
          expect([at, differInOne(found, content)]).toEqual([at, true]);
        } catch (error) {
          expect(error).toMatchObject({ code: 'LOG_CORRUPT' });
        }
        writeSync(file, Buffer.of(byte), 0, 1, at);
      }
    } finally {
      closeSync(file);
    }
    expect(contentOf(copy)).toEqual(content);
    const inMeta = passed.filter((at) => at < 2 * PAGE_BYTES);
    // What LMDB reads of the newer meta page and of the pages of the trees is caught.
    expect(inMeta.length).toBeGreaterThan(100);
    const places = await sensitivePlaces();
    for (const at of places) expect([at, passed.includes(at)]).toEqual([at, false]);
  });

  /** Places that are surely in use, of those that the test above has flipped: in the newer meta page, and a list of free pages. */
  async function sensitivePlaces(): Promise<number[]> {
    const bytes = readFileSync(path);
    const transactions = [0, 1].map((page) => bytes.readBigUInt64LE(page * PAGE_BYTES + 152));
    const newer = (transactions[0] as bigint) > (transactions[1] as bigint) ? 0 : 1;
    const fields = [24, 28, 48, 54, 56, 64, 72, 80, 88, 102, 104, 112, 120, 128, 136, 144, 152];
    const inMeta = fields.map((field) => newer * PAGE_BYTES + field);
    return inMeta.filter((at) => at % STRIDE === 0);
  }
});

/** The main tree's root, by the newer meta page. */
function rootOf(bytes: Buffer): bigint {
  const [even, odd] = [0, PAGE_BYTES].map((page) => bytes.readBigUInt64LE(page + 152)) as [bigint, bigint];
  return bytes.readBigUInt64LE((even > odd ? 0 : PAGE_BYTES) + 136);
}

describe('a damaged file', () => {
  const faultOf = (change: (bytes: Buffer) => Buffer | undefined): string => {
    const bytes = readFileSync(path);
    const copy = join(directory, 'copy.mdb');
    writeFileSync(copy, change(bytes) ?? bytes);
    try {
      LmdbFile.check(copy);
    } catch (error) {
      return (error as Error).message;
    }
    return 'none';
  };
  /** Where the pages of a kind with at least so many nodes are, those of the past among them. */
  const pagesOf = (bytes: Buffer, kind: number, nodes: number): number[] => {
    const places = Array.from({ length: bytes.length / PAGE_BYTES - 2 }, (_, i) => (i + 2) * PAGE_BYTES);
    return places.filter(
      (at) =>
        bytes.readUInt16LE(at + 18) === kind &&
        Number(bytes.readBigUInt64LE(at)) === at / PAGE_BYTES &&
        bytes.readUInt16LE(at + 20) >= 2 * nodes,
    );
  };

  beforeEach(async () => {
    await writeSample();
    expect(faultOf(() => undefined)).toBe('none');
  });

  test('that is too short, or empty, or something else', () => {
    expect(faultOf((bytes) => bytes.subarray(0, Math.floor(bytes.length / PAGE_BYTES / 2) * PAGE_BYTES))).toMatch(
      /not in the file/,
    );
    expect(faultOf((bytes) => bytes.subarray(0, bytes.length - 1))).toMatch(/it has \d+ bytes/);
    expect(faultOf((bytes) => bytes.subarray(0, PAGE_BYTES))).toMatch(/it has 4096 bytes/);
    expect(faultOf(() => Buffer.alloc(0))).toMatch(/ends before/);
    expect(faultOf(() => Buffer.alloc(8_192, 1))).toMatch(/its pages have/);
    truncateSync(path, 0);
    expect(() => LmdbFile.check(path)).toThrow(/LOG_CORRUPT/);
  });

  test('whose meta page lost its last transaction', () => {
    const lose = (bytes: Buffer) => {
      const [even, odd] = [152, PAGE_BYTES + 152].map((at) => bytes.readBigUInt64LE(at)) as [bigint, bigint];
      bytes.writeBigUInt64LE(0n, even > odd ? 152 : PAGE_BYTES + 152);
      return bytes;
    };
    expect(faultOf(lose)).toMatch(/its meta pages are of transactions/);
  });

  test('in which a page has two owners', () => {
    // A branch that leads to the same page twice.
    const twice = (bytes: Buffer) => {
      for (const page of pagesOf(bytes, 1, 2)) {
        const nodes = [0, 1].map((index) => page + 24 + bytes.readUInt16LE(page + 24 + index * 2)) as [number, number];
        bytes.copy(bytes, nodes[1], nodes[0], nodes[0] + 6);
      }
      return bytes;
    };
    expect(faultOf(twice)).toMatch(/another owner|wrong place/);
  });

  test('whose list of free pages has one that is in use', () => {
    const steal = (bytes: Buffer) => {
      const used = rootOf(bytes);
      for (const at of pagesOf(bytes, 2, 1)) {
        // A leaf of the free tree: its first key has 8 bytes, and so many words follow.
        const node = at + 24 + bytes.readUInt16LE(at + 24);
        const words = bytes.readUInt16LE(node + 6) === 8 ? Number(bytes.readBigUInt64LE(node + 16)) : 0;
        const length = bytes.readUInt16LE(node);
        if (words < 1 || (words + 1) * 8 > length || words > 500) continue;
        for (let index = 1; index <= words; index++) {
          const word = node + 16 + index * 8;
          if (bytes.readBigInt64LE(word) <= 0n) continue;
          bytes.writeBigInt64LE(used, word);
          break;
        }
      }
      return bytes;
    };
    expect(faultOf(steal)).toMatch(/the list of free pages has page \d+, which has another owner/);
  });

  test('whose keys are out of order', () => {
    const swap = (bytes: Buffer) => {
      for (const page of pagesOf(bytes, 2, 3)) {
        const [first, second] = [page + 24, page + 26].map((at) => bytes.readUInt16LE(at)) as [number, number];
        bytes.writeUInt16LE(second, page + 24);
        bytes.writeUInt16LE(first, page + 26);
      }
      return bytes;
    };
    expect(faultOf(swap)).toMatch(/has a key in a wrong place/);
  });
});
