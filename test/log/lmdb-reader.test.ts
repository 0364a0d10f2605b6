import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LmdbEnvironment } from '../../src/log/lmdb.js';
import { LmdbPages } from '../../src/log/lmdb-pages.js';
import { LmdbReader, type LmdbRow } from '../../src/log/lmdb-reader.js';
import { temporaryDirectory } from './homes.js';

const NAMES = ['numbers'];
const KEYS = 300;
const TRANSACTIONS = 300;
/** A branch and its leaves. */
const PAGES_READ = 6;

let directory: string;
let path: string;

beforeEach(() => {
  directory = temporaryDirectory();
  path = join(directory, 'file.mdb');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const keyOf = (key: number): Uint8Array => Buffer.from(String(key).padStart(4, '0'));
const numberOf = ({ value }: LmdbRow): number => Buffer.from(value).readUInt32LE();

/** Every transaction puts its own number under all keys, some of them with pages of their own, so that every page is another. */
async function writeAll(environment: LmdbEnvironment): Promise<void> {
  for (let number = 1; number <= TRANSACTIONS; number++) {
    const outcome = await environment.commit({
      bytes: 0,
      change: () => {
        for (let key = 0; key < KEYS; key++) {
          const value = Buffer.alloc(key % 100 === 7 ? 9_000 : 40);
          value.writeUInt32LE(number);
          void environment.database(0).put(keyOf(key), value);
        }
      },
      isAbsent: () => false,
    });
    expect(outcome.kind).toBe('flushed');
  }
}

test('beside a writer every read is of one transaction, none older than the one before, and what was committed is seen', async () => {
  const environment = new LmdbEnvironment(path, NAMES, { reserveBytes: 0 });
  const reader = LmdbReader.open(path, NAMES);
  let isWriting = true;
  const written = writeAll(environment).finally(() => {
    isWriting = false;
  });
  const seen = [0];
  while (isWriting) {
    const rows = reader.range(0, { start: keyOf(0), limit: KEYS });
    if (rows.length > 0) {
      const last = seen.at(-1) as number;
      const numbers = new Set(rows.map(numberOf));
      expect([rows.length, numbers.size]).toEqual([KEYS, 1]);
      const number = numberOf(rows[0] as LmdbRow);
      expect(number).toBeGreaterThanOrEqual(last);
      if (number > last) seen.push(number);
    }
    await nextTurn();
  }
  await written;
  expect(seen.length).toBeGreaterThan(10);
  expect(Buffer.from(reader.get(0, keyOf(7)) as Uint8Array).readUInt32LE()).toBe(TRANSACTIONS);
  expect(reader.count(0)).toBe(KEYS);
  reader.close();
  await environment.close();
});

test('a read in whose middle pages are written over is repeated, whichever page it is', async () => {
  const environment = new LmdbEnvironment(path, NAMES, { reserveBytes: 0 });
  const rows = environment.database(0);
  let number = 0;
  const write = () => {
    number++;
    rows.transactionSync(() => {
      for (let key = 0; key < KEYS; key++) rows.putSync(keyOf(key), Buffer.alloc(40, number));
    });
  };
  write();
  const pages = new LmdbPages(path);
  const page = pages.page.bind(pages);
  let [read, overwrittenAfter] = [0, -1];
  pages.page = (...args) => {
    // Freed by one transaction, a page is used again by one of the next
    if (read++ === overwrittenAfter) for (let more = 0; more < 4; more++) write();
    return page(...args);
  };
  const reader = new LmdbReader(pages, NAMES);
  for (overwrittenAfter = 0; overwrittenAfter < PAGES_READ; overwrittenAfter++) {
    read = 0;
    const found = reader.range(0, { start: keyOf(0), limit: KEYS }).map(({ value }) => value[0]);
    expect(found).toEqual(Array(KEYS).fill(number));
  }
  expect(number).toBe(1 + PAGES_READ * 4);
  reader.close();
  await environment.close();
});

test('what is no such file is LOG_CORRUPT', async () => {
  writeFileSync(path, '');
  expect(() => LmdbReader.open(path, NAMES)).toThrow(/LOG_CORRUPT.*ends before/);
  rmSync(path);
  await new LmdbEnvironment(path, ['others'], { reserveBytes: 0 }).close();
  expect(() => LmdbReader.open(path, NAMES)).toThrow(/LOG_CORRUPT.*lacks its databases/);
});
