import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { History } from '../../src/history/history.js';
import { LmdbTables } from '../../src/history/lmdb-tables.js';
import { endOfLog, LAST, PARTITION, rowOf, SLOTS } from './kill-log.mjs';
import { DAY } from './rows.js';

const CHILD = join(import.meta.dirname, 'kill-child.mjs');
/** The lines after which a process is killed: within commits, roll-ups and the first of all. */
const KILLS = [1, 2, 9, 40, 17, 3, 26, 33];
/** A process may come so much further until the kill arrives. */
const MORE_LINES = 3;

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tallystick-history-'));
  path = join(directory, 'history.mdb');
});
afterEach(() => rmSync(directory, { recursive: true }));

/** Lets a process live until it has said so many lines, or to its end. */
async function live(lines: number): Promise<'killed' | 'done'> {
  const child = spawn(process.execPath, [CHILD, path, String(lines + MORE_LINES)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise<NodeJS.Signals | number | null>((resolve) => {
    child.once('close', (code, signal) => resolve(signal ?? code));
  });
  let said = 0;
  let last = '';
  for await (const line of createInterface({ input: child.stdout })) {
    last = line;
    if (++said === lines) child.kill('SIGKILL');
  }
  const end = await exited;
  if (end === 'SIGKILL') return 'killed';
  expect({ end, last }).toEqual({ end: 0, last: 'done' });
  return 'done';
}

test('a process that is killed within its commits and roll-ups, again and again, loses nothing and doubles nothing', async () => {
  for (const lines of KILLS) expect(await live(lines)).toBe('killed');
  expect(await live(Number.POSITIVE_INFINITY)).toBe('done');
  const expected = new Map<string, bigint>();
  for (let asOf = 1; asOf <= LAST; asOf++) {
    const day = `${asOf % SLOTS} on day ${Math.floor(rowOf(asOf).hour / 24)}`;
    expected.set(day, (expected.get(day) ?? 0n) + BigInt(asOf));
  }
  const history = new History(new LmdbTables(path));
  const found = new Map<string, bigint>();
  for (let slot = 0; slot < SLOTS; slot++) {
    const { buckets, watermark } = history.read({ partition: PARTITION, slot, generation: 1 }, 0, endOfLog(LAST));
    expect(watermark).toBe(LAST);
    for (const { start, sum } of buckets) {
      const day = `${slot} on day ${Math.floor(start / DAY)}`;
      found.set(day, (found.get(day) ?? 0n) + sum);
    }
  }
  const { minute, hour, day } = history.stats().rows;
  await history.close();
  expect(found).toEqual(expected);
  expect([minute, hour, day].every((rows) => rows > 0)).toBe(true);
});
