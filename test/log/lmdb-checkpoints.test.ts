import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'lmdb';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LmdbCheckpoints } from '../../src/log/lmdb-checkpoints.js';
import { manifestOf, pageOf } from './checkpoint.conformance.js';
import { temporaryDirectory } from './homes.js';
import { SHAPE } from './writer.js';

let directory: string;
let path: string;

beforeEach(() => {
  directory = temporaryDirectory();
  path = join(directory, 'checkpoint.mdb');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const transactions = async () => {
  const root = open({ path, readOnly: true });
  const { lastTxnId } = root.getStats() as { lastTxnId: number };
  await root.close();
  return lastTxnId;
};
const sixteen = Array.from({ length: 16 }, (_, index) => ({ index, bytes: pageOf(index) }));

test('a write is one transaction, and so is a manifest with the removal of all that it replaces', async () => {
  await new LmdbCheckpoints(path, SHAPE).close();
  const before = await transactions();
  const store = new LmdbCheckpoints(path, SHAPE);
  const pages = sixteen.map(({ bytes }) => bytes);
  for (const generation of [1, 2]) {
    await store.write(2, generation, sixteen);
    await store.publish(manifestOf(2, generation, pages));
  }
  await store.close();
  expect(await transactions()).toBe(before + 4);
});

test('the file is for the owner alone', async () => {
  await new LmdbCheckpoints(path, SHAPE).close();
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test('writes nothing that would touch the reserve', async () => {
  const store = new LmdbCheckpoints(path, SHAPE, { reserveBytes: Number.MAX_SAFE_INTEGER });
  const full = { kind: 'not-written', error: { code: 'STORAGE_FULL' } };
  expect(await store.write(2, 1, sixteen)).toMatchObject(full);
  expect(await store.publish(manifestOf(2, 1, []))).toMatchObject(full);
  expect(store.stats().pagesStored).toBe(0);
  await store.close();
});

test('the room of replaced pages is used again, so the file stops growing', async () => {
  const store = new LmdbCheckpoints(path, SHAPE);
  const pages = sixteen.map(({ bytes }) => bytes);
  for (let generation = 1; generation <= 40; generation++) {
    await store.write(2, generation, sixteen);
    await store.publish(manifestOf(2, generation, pages));
  }
  const { usedBytes, fileBytes } = store.stats();
  expect(usedBytes).toBeLessThan(1.2 * 16 * 65_536);
  expect(fileBytes).toBeLessThan(3.5 * 16 * 65_536);
  await store.close();
});
