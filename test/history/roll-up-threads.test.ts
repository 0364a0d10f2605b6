import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
// Threads run from dist/.
import { RollUpPool } from '../../dist/history/roll-up-pool.js';
import { History } from '../../src/history/history.js';
import { LmdbTables } from '../../src/history/lmdb-tables.js';
import { DEFAULT_RETENTION, lookAt, nextRollUp } from '../../src/history/roll-up.js';
import { packed, unpacked } from '../../src/history/roll-up-message.js';
import { RowCodec } from '../../src/history/row.js';
import { plannerOf, rollUp } from './homes.js';
import { counterOf, DAY, HOUR, NOW, rowAt, textOf, upTo } from './rows.js';

const priority = getPriority();
let directory: string;
let path: string;
let tables: LmdbTables;
let history: History;
let pool: RollUpPool;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tallystick-roll-up-'));
  path = join(directory, 'history.mdb');
  tables = new LmdbTables(path);
  history = new History(tables);
  pool = new RollUpPool(path);
});
afterEach(async () => {
  await pool.close();
  await history.close();
  rmSync(directory, { recursive: true });
});

const request = (now = NOW) => ({ partition: 3, retention: DEFAULT_RETENTION, now });
const fill = (asOf: number, slots: number, from: number) =>
  history.commit(
    3,
    upTo(asOf),
    Array.from({ length: slots * 24 }, (_, index) =>
      rowAt(counterOf(index % slots), from + Math.floor(index / slots) * HOUR, asOf, { 0: BigInt(index), 7: -1n }),
    ),
  );

test('a thread computes the same steps from what is committed as the owner would', async () => {
  await fill(1, 600, NOW - 10 * DAY);
  await fill(2, 50, NOW - 90 * DAY);
  const codec = new RowCodec();
  const hexOf = (step: Awaited<ReturnType<RollUpPool['next']>>) =>
    step && {
      ...step,
      removals: step.removals.map((key) => Buffer.from(key).toString('hex')),
      puts: step.puts.map(({ key, value }) => [key, value].map((bytes) => Buffer.from(bytes).toString('hex'))),
    };
  for (let steps = 0; ; steps++) {
    const expected = nextRollUp(tables, codec, request());
    expect(hexOf(await pool.next(request()))).toEqual(hexOf(expected));
    if (expected) expect(hexOf(unpacked(structuredClone(packed(expected))))).toEqual(hexOf(expected));
    const outcome = await rollUp(history, pool, request());
    if (!outcome) {
      expect(steps).toBeGreaterThan(4);
      break;
    }
    expect(outcome).toEqual({ kind: 'flushed' });
  }
  expect(history.stats().rows).toEqual({ minute: 0, hour: 600, day: 50 });
});

test('a thread drops days, all that are old enough or those of some counters', async () => {
  await fill(1, 600, NOW - 200 * DAY);
  await fill(2, 2, NOW - 10 * DAY);
  while (await rollUp(history, pool, request()));
  const block = Math.floor((NOW - 200 * DAY) / (64 * DAY));
  const look = await pool.look({ partition: 3, source: 'day', day: 0, slot: 0, end: block + 1 });
  expect(look).toMatchObject({ day: block, slot: 0, next: 512 });
  expect(look?.counters).toHaveLength(512);
  const some = { ...(look as NonNullable<typeof look>), counters: [counterOf(1), counterOf(500)] };
  expect(await rollUp(history, pool, { ...request(0), some })).toEqual({ kind: 'flushed' });
  const since = (block + 1) * 64 * DAY;
  expect([0, 1, 500, 599].map((slot) => history.sinceOf(counterOf(slot)))).toEqual([0, since, since, 0]);
  const dropping = { ...request(), retention: { ...DEFAULT_RETENTION, dayDays: 100 } };
  let steps = 0;
  while (await rollUp(history, pool, dropping)) steps++;
  expect(steps).toBe(2);
  expect([0, 1, 500, 599].map((slot) => history.sinceOf(counterOf(slot)))).toEqual([since, since, since, since]);
  expect(history.read(counterOf(1), 0, NOW).buckets.map(({ resolution }) => resolution)).toEqual(
    new Array(24).fill('hour'),
  );
  expect(history.stats().rows).toEqual({ minute: 0, hour: 2, day: 600 });
});

test('a thread looks at the counters of a day, and computes a step of some of them', async () => {
  await fill(1, 200, NOW - 10 * DAY);
  await fill(2, 1, NOW - 5 * DAY);
  const codec = new RowCodec();
  const asked = { partition: 3, source: 'minute', slot: 0 } as const;
  const [first, end] = [NOW / DAY - 11, NOW / DAY - 4];
  const look = await pool.look({ ...asked, day: first, end });
  expect(look).toEqual(lookAt(tables, { ...asked, day: first, end }));
  expect(look).toMatchObject({ source: 'minute', day: first + 1, slot: 0, next: 128 });
  expect(look?.counters).toEqual(Array.from({ length: 128 }, (_, slot) => ({ slot, generation: 1 })));
  expect(await pool.look({ ...asked, day: first, end: first + 1 })).toBeUndefined();
  expect((await pool.look({ ...asked, day: first + 1, slot: 199, end }))?.counters).toHaveLength(1);
  expect(await pool.look({ ...asked, day: first + 1, slot: 200, end })).toMatchObject({ day: first + 6, slot: 0 });
  const some = { ...(look as NonNullable<typeof look>), counters: [counterOf(5), counterOf(7), counterOf(177)] };
  const step = await pool.next({ ...request(0), some });
  expect(step?.removals).toHaveLength(2 * 24);
  expect(step?.puts).toEqual(nextRollUp(tables, codec, { ...request(0), some })?.puts.map(plain));
  expect(step?.puts).toHaveLength(2);
});

const plain = ({ key, value }: { readonly key: Uint8Array; readonly value: Uint8Array }) => ({
  key: Uint8Array.from(key),
  value: Uint8Array.from(value),
});

test.skipIf(process.platform !== 'linux')('a thread has the lowest priority, and no other one is touched', async () => {
  const niceOf = (thread: string) => {
    const fields = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8').split(') ').at(-1) as string;
    return Number(fields.split(' ')[16]);
  };
  const threads = () => new Map(readdirSync('/proc/self/task').map((thread) => [thread, niceOf(thread)]));
  const before = threads();
  await pool.next(request());
  const after = threads();
  expect([...after].filter(([thread]) => !before.has(thread)).map(([, nice]) => nice)).toContain(19);
  for (const thread of before.keys()) expect(after.get(thread)).toBe(priority);
});

test('damage that a thread finds is told as what it is', async () => {
  await fill(1, 1, NOW - 10 * DAY);
  const [row] = tables.range('minute', Buffer.alloc(1), Buffer.alloc(21, 0xff), 1);
  const state = tables.state(3) as Uint8Array;
  const put = { resolution: 'minute' as const, key: row?.key as Uint8Array, value: Buffer.alloc(9) };
  await tables.commit({ partition: 3, state: Uint8Array.from(state), puts: [put], removals: [] });
  await expect(pool.next(request())).rejects.toMatchObject({ code: 'DATA_DAMAGED', message: /its CRC32C differs/ });
});

test('the owner goes on when the threads have ended, and has new ones', async () => {
  for (let life = 1; life <= 3; life++) {
    await fill(2 * life - 1, 10, NOW - 10 * DAY);
    while (await rollUp(history, pool, request()));
    await pool.close();
    await fill(2 * life, 10, NOW - 9 * DAY);
    pool = new RollUpPool(path);
    expect(await rollUp(history, pool, request())).toEqual({ kind: 'flushed' });
  }
  expect(history.stats().rows).toEqual({ minute: 0, hour: 20, day: 0 });
});

test('a thread that waits keeps no pages: the file stops growing', async () => {
  const cycle = async (number: number) => {
    await fill(number, 100, NOW + number * 2 * DAY);
    while (await rollUp(history, plannerOf(tables), request(NOW + number * 2 * DAY + 4 * DAY)));
  };
  for (let number = 1; number <= 6; number++) await cycle(number);
  const { fileBytes } = history.stats();
  // From here on a thread has read, and waits.
  expect(await pool.next(request())).toBeUndefined();
  for (let number = 7; number <= 18; number++) await cycle(number);
  expect(history.stats().fileBytes).toBeLessThan(1.5 * fileBytes);
  expect(textOf(history.read(counterOf(0), 0, NOW + 3 * DAY), NOW)).toEqual(['day 2d 0:00 27576']);
});
