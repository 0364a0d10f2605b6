import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ScratchServer, startScratchServer } from './ingest-programs.js';

const ROOT = join(import.meta.dirname, '../..');

const RECIPE = ['--count', 'views:{path}', '--count', 'status:{status}', '--sum', 'bytes:{path}=bytes'];

let server: ScratchServer;
beforeEach(async () => {
  server = await startScratchServer({
    classes: [
      { pattern: 'visitors*', uniques: 256 },
      { pattern: 'backfill:*', windows: '1d', lateness: 'any' },
      { pattern: 'live:*', windows: '1d' },
      { pattern: 'both:*', windows: '1d', late: 'total' },
    ],
  });
});
afterEach(() => server.stop());

/** Ingests a combined log and gives the summary and the values of the names; there must be no other counters. */
async function ingested(log: string, names: readonly string[]) {
  const { status, out, err } = await server.run(['ingest', log, '--format', 'combined', ...RECIPE, '--json']);
  expect({ status, err }).toEqual({ status: 0, err: '' });
  const values = await server.run(['get', '-', '--json'], names.join('\n'));
  expect(await server.counters()).toBe(names.length);
  return { summary: JSON.parse(out) as Record<string, unknown>, values: JSON.parse(values.out) as unknown };
}

describe('a small log with every kind of nasty line', () => {
  const LONG = `/${'a'.repeat(599)}`;
  /** Path, views and bytes, counted by hand. */
  const PATHS: [string, string, string][] = [
    ['/', '7', '5000'],
    ['/style.css', '2', '1000'],
    ['/about', '5', '1250'],
    ['/login', '2', '120'],
    ['/missing', '1', '209'],
    ['/say?q=\\"hi\\"', '1', '77'],
    ['/two words here', '1', '64'],
    ['/old', '1', '11'],
    [LONG, '1', '0'],
    ['/big.iso', '1', '9223372036854775000'],
    ['/größe', '1', '5'],
    ['/tag/{post:7}?a={b}', '1', '10'],
    ['http://proxy.example/', '1', '0'],
    ['*', '1', '0'],
    ['example.org:443', '1', '0'],
    ['/dav', '1', '0'],
    ['/last', '1', '1'],
  ];
  const STATUSES = { 200: '20', 206: '1', 302: '1', 304: '1', 400: '1', 403: '1', 404: '1', 405: '2', 414: '1' };

  it('is counted as it was counted by hand, and the rest is reported', async () => {
    const expected = Object.fromEntries([
      ...PATHS.flatMap(([path, views, bytes]) => [
        [`views:${path}`, views],
        [`bytes:${path}`, bytes],
      ]),
      ...Object.entries(STATUSES).map(([status, count]) => [`status:${status}`, count]),
    ]);
    const { summary, values } = await ingested(join(ROOT, 'test/fixtures/access.log'), Object.keys(expected));
    expect(values).toEqual(expected);
    expect(summary).toMatchObject({ finished: true, lines: 40, used: 29, filtered: 0, unusable: 11, increments: 87 });
    const unusable = summary.unusableLines as { line: number }[];
    expect(unusable.map(({ line }) => line)).toEqual([15, 16, 20, 21, 22, 23, 24, 26, 28, 30, 39]);
  });
});

describe('a log of 2015 with its own times', () => {
  const small = join(ROOT, 'test/fixtures/access.log');
  const timed = (count: string) =>
    server.run(['ingest', small, '--format', 'combined', '--count', count, '--time', 'time']);

  it('is counted by a class that takes any lateness, and by one that counts late ones in the total', async () => {
    for (const name of ['backfill:{path}', 'both:{path}'])
      expect(await timed(name)).toMatchObject({ status: 0, err: '' });
    expect(await server.values(['backfill:/', 'both:/'])).toEqual({ 'backfill:/': '7', 'both:/': '7' });
  });

  it('is refused by a class that takes an hour, and the summary says what to do', async () => {
    const { status, out, err } = await timed('live:{path}');
    expect(status).toBe(1);
    expect(err).toContain('TIME_TOO_OLD');
    expect(out).toContain('older than their class takes: give it the lateness "any"');
    expect(await server.values(['live:/'])).toEqual({ 'live:/': '0' });
  });
});

const log = join(resolve(process.env.TALLYSTICK_SHARED_DATA ?? join(ROOT, '../shared/data')), 'apache_access.log');
const present = existsSync(log);
const hasAwk = spawnSync('awk', ['BEGIN { exit 0 }']).status === 0;

if (!present) console.warn(`The real log of 10,000 lines is skipped: there is no ${log}.`);

describe.skipIf(!present)('the real log of 10,000 lines', () => {
  it(`gives for every path and status what ${hasAwk ? 'awk, sort and uniq give' : 'a naive count gives'}`, async () => {
    const expected = hasAwk ? countedByAwk() : countedNaively();
    const { summary, values } = await ingested(log, Object.keys(expected));
    expect(Object.keys(expected).filter((name) => name.startsWith('views:')).length).toBe(1_498);
    expect(values).toEqual(expected);
    expect(summary).toMatchObject({ lines: 10_000, used: 10_000, unusable: 0, unusableLines: [], increments: 30_000 });
  });
});

describe.skipIf(!present || !hasAwk)('the visitors of the real log', () => {
  it('are for every path as many as sort -u finds, and for the site within two per cent', async () => {
    const unique = ['--unique', 'visitors:{path}={ip}', '--unique', 'visitors={ip}'];
    const { status, err } = await server.run(['ingest', log, '--format', 'combined', ...unique, '--json']);
    expect({ status, err }).toEqual({ status: 0, err: '' });
    const sh = (script: string) => execFileSync('sh', ['-c', script, 'sh', log], { encoding: 'utf8' });
    const byPath = sh(`awk '{ print $7, $1 }' "$1" | sort -u | awk '{ print $1 }' | uniq -c`);
    const expected = new Map(
      [...byPath.matchAll(/^ *(\d+) (.*)$/gm)].map(([, n, path]) => [`visitors:${path}`, Number(n)]),
    );
    expect(expected.size).toBe(1_498);
    interface Told {
      readonly names: readonly string[];
      readonly count: number;
      readonly exact: boolean;
    }
    const told = async (args: readonly string[], stdin = '') => {
      const { out } = await server.run(['uniques', ...args, '--json'], stdin);
      return out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Told);
    };
    const counts = await told(['-'], [...expected.keys()].join('\n'));
    for (const { names, count, exact } of counts) {
      const [name = ''] = names;
      const wanted = expected.get(name) as number;
      if (wanted <= 256) expect([name, count, exact]).toEqual([name, wanted, true]);
      else expect(Math.abs(count / wanted - 1)).toBeLessThan(0.04);
    }
    expect(counts).toHaveLength(1_498);
    const visitors = Number(sh(`awk '{ print $1 }' "$1" | sort -u | wc -l`));
    expect(visitors).toBe(1_753);
    const [site] = await told(['visitors']);
    expect(Math.abs((site?.count ?? 0) / visitors - 1)).toBeLessThan(0.02);
  });
});

/** By name, for the real log, whose paths hold no spaces: the path is the 7th word, status and bytes are the 9th and 10th. */
function countedByAwk(): Record<string, string> {
  const sh = (script: string): string =>
    execFileSync('sh', ['-c', script, 'sh', log], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
  const named = (prefix: string, output: string): [string, string][] =>
    [...output.matchAll(/^ *(\d+) (.*)$/gm)].map(([, number = '', name = '']) => [`${prefix}:${name}`, number]);
  return Object.fromEntries([
    ...named('views', sh(`awk '{ print $7 }' "$1" | sort | uniq -c`)),
    ...named('status', sh(`awk '{ print $9 }' "$1" | sort | uniq -c`)),
    ...named(
      'bytes',
      sh(`awk '{ sum[$7] += $10 } END { for (path in sum) printf "%.0f %s\\n", sum[path], path }' "$1"`),
    ),
  ]);
}

function countedNaively(): Record<string, string> {
  const sums = new Map<string, bigint>();
  const add = (name: string, n: bigint): Map<string, bigint> => sums.set(name, (sums.get(name) ?? 0n) + n);
  for (const line of readFileSync(log, 'utf8').trimEnd().split('\n')) {
    const words = line.split(' ');
    add(`views:${words[6]}`, 1n);
    add(`status:${words[8]}`, 1n);
    add(`bytes:${words[6]}`, words[9] === '-' ? 0n : BigInt(words[9] ?? ''));
  }
  return Object.fromEntries([...sums].map(([name, sum]) => [name, String(sum)]));
}
