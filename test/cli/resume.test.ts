import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Ingest } from '../../src/cli/ingest/ingest.js';
import type { Recipe } from '../../src/cli/ingest/plan.js';
import { type Crash, FakeServer, FakeTarget } from './fake-target.js';
import { ingestOf, inputOf, recipe, sorted } from './ingesting.js';

const ndjson = recipe('ndjson', { count: ['n:{k}', 'all'], sum: ['s:{k}=v'], where: [] });
const seeing = recipe('ndjson', { count: ['n:{k}'], sum: ['s:{k}=v'], unique: ['u:{k}={v}'], where: [] });
const tight = { operations: 8, bytes: 20_000, roundBytes: 64, idleMilliseconds: 1_000 };

interface Run {
  readonly crash?: Crash;
  readonly chunk: number;
  readonly seekable: boolean;
  readonly delays: readonly number[];
}

/** One run of the command, which may end in a crash. */
async function run(
  server: FakeServer,
  text: string,
  { crash, chunk, seekable, delays }: Partial<Run>,
  what: Recipe = ndjson,
): Promise<{ ingest: Ingest; error: unknown }> {
  const turns = (batch: number): number => delays?.[batch % (delays.length || 1)] ?? 0;
  const target = new FakeTarget(server, { turns, ...(crash === undefined ? {} : { crash }) });
  const input = inputOf(text, { chunk: chunk ?? 50, seekable: seekable ?? true });
  const ingest = ingestOf(input, target, what, { resumable: true, limits: tight });
  const error: unknown = await ingest.run().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return { ingest, error };
}

/** What an undisturbed run counts. */
async function undisturbed(text: string, what = ndjson): Promise<FakeServer> {
  const server = new FakeServer(4);
  await ingestOf(inputOf(text), new FakeTarget(server), what).run();
  return server;
}

const lineOf = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .tuple(fc.integer({ min: 0, max: 12 }), fc.integer({ min: -9, max: 9 }))
      .map(([k, v]) => `{"k":${k},"v":${v}}`),
  },
  fc.constantFrom('', 'broken', '{"k":1}', '{"k":1,"v":"-"}'),
);
const someLines = fc.array(lineOf, { minLength: 1, maxLength: 60, size: 'max' });
const someRun = fc.record({
  crash: fc.record({ at: fc.nat(25), applied: fc.boolean() }),
  chunk: fc.integer({ min: 1, max: 200 }),
  seekable: fc.boolean(),
  delays: fc.array(fc.nat(30), { minLength: 1, maxLength: 5 }),
});

describe('resuming after crashes', () => {
  it('counts every line exactly once and every item that was seen, whichever batches were applied', async () => {
    const input = fc.record({
      lines: someLines,
      end: fc.constantFrom('', '\n', '\r\n'),
      runs: fc.array(someRun, { maxLength: 6, size: 'max' }),
    });
    let crashes = 0;
    await fc.assert(
      fc.asyncProperty(input, async ({ lines, end, runs }) => {
        const text = lines.join(end === '\r\n' ? '\r\n' : '\n') + end;
        const server = new FakeServer(4);
        for (const one of runs) if ((await run(server, text, one, seeing)).error !== undefined) crashes += 1;
        expect((await run(server, text, {}, seeing)).error).toBeUndefined();
        const expected = await undisturbed(text, seeing);
        expect(sorted(server.values)).toEqual(sorted(expected.values));
        expect(server.uniques).toEqual(expected.uniques);
      }),
      { numRuns: 300 },
    );
    expect(crashes).toBeGreaterThan(150); // about 330; else the test tests little
  });

  it('counts every line exactly once in the minute of its own time', async () => {
    const timed = recipe('ndjson', { count: ['n:{k}'], sum: ['s:{k}=v'], time: 't' });
    const line = fc.tuple(
      fc.nat(5),
      fc.integer({ min: -9, max: 9 }),
      fc.integer({ min: 1_431_857_000, max: 1_431_857_300 }),
    );
    const input = fc.record({
      lines: fc.array(line, { minLength: 1, maxLength: 60, size: 'max' }),
      runs: fc.array(someRun, { maxLength: 6, size: 'max' }),
    });
    await fc.assert(
      fc.asyncProperty(input, async ({ lines, runs }) => {
        const text = lines.map(([k, v, t]) => `{"k":${k},"v":${v},"t":${t}}\n`).join('');
        const server = new FakeServer(4);
        for (const one of runs) await run(server, text, one, timed);
        expect((await run(server, text, {}, timed)).error).toBeUndefined();
        const naive = new Map<string, bigint>();
        const add = (name: string, delta: number) => naive.set(name, (naive.get(name) ?? 0n) + BigInt(delta));
        for (const [k, v, t] of lines) {
          const minute = Math.floor(t / 60) * 60_000;
          add(`${minute} n:${k}`, 1);
          add(`${minute} s:${k}`, v);
        }
        expect(sorted(server.minutes)).toEqual(sorted(naive));
      }),
      { numRuns: 150 },
    );
  });

  it('counts a csv with records of several lines exactly once', async () => {
    const what = recipe('csv', { count: ['n:{k}', 'all'], sum: ['s:{k}=v'] });
    const row = fc.tuple(fc.constantFrom('a', '"b\nc"', '"d""\r\n,e"', 'f"', '"g'), fc.integer({ min: -9, max: 9 }));
    const input = fc.record({
      rows: fc.array(row, { maxLength: 40, size: 'max' }),
      runs: fc.array(someRun, { maxLength: 4, size: 'max' }),
    });
    await fc.assert(
      fc.asyncProperty(input, async ({ rows, runs }) => {
        const text = `k,v\n${rows.map(([k, v]) => `${k},${v}\n`).join('')}`;
        const server = new FakeServer(4);
        for (const one of runs) await run(server, text, one, what);
        expect((await run(server, text, {}, what)).error).toBeUndefined();
        expect(sorted(server.values)).toEqual(sorted((await undisturbed(text, what)).values));
      }),
      { numRuns: 150 },
    );
  });

  it('counts a log that grew between the runs by whole lines exactly once', async () => {
    const input = fc.record({
      parts: fc.array(someLines, { minLength: 2, maxLength: 4 }),
      runs: fc.array(someRun, { minLength: 4, maxLength: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(input, async ({ parts, runs }) => {
        const server = new FakeServer(4);
        let text = '';
        for (const [index, lines] of parts.entries()) {
          text += lines.map((line) => `${line}\n`).join('');
          await run(server, text, runs[index] as Run);
        }
        // The last run comes when the log was already packed: no seeking.
        expect((await run(server, text, { seekable: false })).error).toBeUndefined();
        expect(sorted(server.values)).toEqual(sorted((await undisturbed(text)).values));
      }),
      { numRuns: 150 },
    );
  });

  const text = Array.from({ length: 100 }, (_, index) => `{"k":${index % 7},"v":1}\n`).join('');

  it('counts a last line without a line end exactly once, also when it gets one before the next run', async () => {
    const short = text.slice(0, 28).trimEnd();
    for (const end of ['', '\n', '\r\n'])
      for (let at = 0; at < 12; at += 1) {
        const server = new FakeServer(4);
        await run(server, short, { crash: { at, applied: true } });
        expect((await run(server, short + end, {})).error).toBeUndefined();
        expect(sorted(server.values)).toEqual(sorted((await undisturbed(short)).values));
      }
  });

  it('says from where it went on, with line numbers of the whole input', async () => {
    const server = new FakeServer(4);
    const broken = `${text}broken\n`;
    expect((await run(server, broken, { crash: { at: 20, applied: true } })).error).toMatchObject({ code: 'TIMEOUT' });
    const { ingest, error } = await run(server, broken, {});
    expect(error).toBeUndefined();
    const { resumedFrom, lines, reread, unusableLines } = ingest.report;
    expect(resumedFrom?.offset).toBe(Number(resumedFrom?.lines) * 14);
    expect(resumedFrom?.lines).toBeGreaterThan(10);
    expect(lines).toBe(101 - Number(resumedFrom?.lines));
    expect(reread).toBeGreaterThan(0);
    expect(unusableLines).toEqual([{ line: 101, reason: 'not valid JSON' }]);
  });

  it('does nothing more to an input that is counted to its end', async () => {
    const server = new FakeServer(4);
    await run(server, text, {});
    const batches = server.batches;
    const { ingest } = await run(server, text, {});
    expect(server.batches).toBe(batches);
    expect(ingest.report).toMatchObject({ lines: 0, resumedFrom: { offset: 1_400, lines: 100 } });
  });

  it('moves the cursors of partitions that get nothing, so that a restart is never far behind', async () => {
    const server = new FakeServer(4);
    const one = recipe('ndjson', { count: ['all'] });
    await run(server, text, { crash: { at: 60, applied: true } }, one);
    expect(server.cursors.size).toBe(4);
    expect(server.emptyBatches).toBeGreaterThan(30);
    const { ingest } = await run(server, text, {}, one);
    expect(ingest.report.resumedFrom?.lines).toBeGreaterThan(40);
    expect(server.values.get('all')).toBe(100n);
  });

  it.each([true, false])(
    'refuses another input, a shorter one, and a last line that has grown (seekable: %s)',
    async (seekable) => {
      const refusal = async (first: string, second: string): Promise<string> => {
        const server = new FakeServer(4);
        await run(server, first, {});
        const before = sorted(server.values);
        const { error } = await run(server, second, { seekable });
        expect(error).toMatchObject({ code: 'INPUT_CHANGED' });
        expect(sorted(server.values)).toEqual(before);
        return String(error);
      };
      expect(await refusal(text, text.replace('0', '9'))).toContain('its first bytes differ');
      expect(await refusal(text, text.slice(0, 700))).toContain('shorter than the 1400 bytes');
      const long = text.repeat(60);
      expect(await refusal(long, long.slice(0, 70_000))).toContain('shorter than the 84000 bytes');
      expect(await refusal(text.trimEnd(), `${text.trimEnd()} \n`)).toContain('middle of a line');
    },
  );

  it('refuses a packed input that ends between the cursors, although only reading it to its end can tell', async () => {
    const long = text.repeat(60);
    let refused = 0;
    for (let at = 4_200; at < 4_208; at += 1) {
      const server = new FakeServer(4);
      await run(server, long, { crash: { at, applied: true }, chunk: 1_000 });
      const offsets = [...server.cursors.values()].map((cursor) => Number(Buffer.from(cursor).readBigUInt64LE(44)));
      const end = Math.max(...offsets) - 14;
      if (Math.min(...offsets) > end) continue;
      expect(end).toBeGreaterThan(65_536);
      const { error } = await run(server, long.slice(0, end), { seekable: false });
      expect(String(error)).toContain('INPUT_CHANGED: The input is shorter');
      refused += 1;
    }
    expect(refused).toBeGreaterThan(0);
  });

  it('refuses a grown last line also where only some partitions have counted it', async () => {
    let refused = 0;
    for (let at = 0; at < 80; at += 1) {
      const server = new FakeServer(4);
      const { error } = await run(server, text.trimEnd(), { crash: { at, applied: true }, chunk: 5_000 });
      const counted = [...server.cursors.values()].some((cursor) => Buffer.from(cursor).readBigUInt64LE(44) === 1_399n);
      if (error === undefined || !counted) continue;
      expect((await run(server, `${text.trimEnd()} \n`, {})).error).toMatchObject({ code: 'INPUT_CHANGED' });
      refused += 1;
    }
    expect(refused).toBeGreaterThan(0);
  });

  it('refuses other templates', async () => {
    const server = new FakeServer(4);
    await run(server, text, {});
    const { error } = await run(server, text, {}, recipe('ndjson', { count: ['n:{k}'], sum: ['s:{k}=v'] }));
    expect(String(error)).toContain('INPUT_CHANGED: The producer began with other options; what differs: --count.');
  });

  it('keeps no cursor and takes up none without a producer', async () => {
    const server = new FakeServer(4);
    for (let time = 0; time < 2; time += 1) await ingestOf(inputOf(text), new FakeTarget(server), ndjson).run();
    expect(server.cursors.size).toBe(0);
    expect(server.values.get('all')).toBe(200n);
  });
});
