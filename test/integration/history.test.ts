import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { flagsOf } from '../../load/fast-clock.mjs';
import { Random } from '../support/random.js';
import { clientOfTest } from './clients.js';
import { startProgram } from './ingest-programs.js';
import { serverOfTest } from './server-process.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const BATCHES = 20;
const CLASSES = JSON.stringify([{ pattern: 'views:*', history: true, lateness: 'any' }]);
/** Hours are kept for as long as the log of 2015 needs. */
const environment = { TALLYSTICK_CLASSES: CLASSES, TALLYSTICK_HISTORY_HOUR_DAYS: '36500' };

const ROOT = join(import.meta.dirname, '../..');
const log = join(resolve(process.env.TALLYSTICK_SHARED_DATA ?? join(ROOT, '../shared/data')), 'apache_access.log');
const isThere = existsSync(log) && spawnSync('awk', ['BEGIN { exit 0 }']).status === 0;
if (!isThere) console.warn(`The history of the real log is skipped: there is no ${log}, or no awk.`);

describe.skipIf(!isThere)('the history of the real log', () => {
  /** `path` and hour or day, as awk and uniq count them. */
  function countedByAwk(time: string): Map<string, number> {
    const script = `awk '{ print ${time}, $7 }' "$1" | sort | uniq -c`;
    const out = execFileSync('sh', ['-c', script, 'sh', log], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
    });
    return new Map([...out.matchAll(/^ *(\d+) (\S+) (.*)$/gm)].map(([, n, at, path]) => [`${at} ${path}`, Number(n)]));
  }

  test('is by the hour and by the day what awk counts, of every path, also after a kill -9', async () => {
    const server = await serverOfTest({ lanes: 2, partitions: 4, environment });
    const recipe = ['--format', 'combined', '--count', 'views:{path}', '--time', 'time'];
    const { status, err } = await startProgram(['ingest', log, ...recipe, '--server', server.url]).outcome;
    expect({ status, err }).toEqual({ status: 0, err: '' });
    await server.kill('SIGKILL');
    await server.start();
    const client = await clientOfTest(server);
    const [from, to] = ['2015-05-17', '2015-05-22'];
    const paths: string[] = [];
    for await (const { name } of client.list('views:')) paths.push(name);
    expect(paths).toHaveLength(1_498);
    const found = { hour: new Map<string, number>(), day: new Map<string, number>() };
    await Promise.all(
      paths.flatMap((name) =>
        (['hour', 'day'] as const).map(async (unit) => {
          const { points } = await client.series(name, { from, to, step: unit === 'hour' ? '1h' : '1d' });
          expect(points).toHaveLength(unit === 'hour' ? 120 : 5);
          for (const { from: start, value, exact } of points) {
            expect(exact).toBe(true);
            const [date = '', clock = ''] = new Date(start).toISOString().split('T');
            const [, , day] = date.split('-');
            const at = unit === 'hour' ? `${day}:${clock.slice(0, 2)}` : day;
            if (value !== 0n) found[unit].set(`${at} ${name.slice('views:'.length)}`, Number(value));
          }
        }),
      ),
    );
    const sorted = (counts: ReadonlyMap<string, number>) => [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
    expect(sorted(found.hour)).toEqual(sorted(countedByAwk('substr($4, 2, 2) substr($4, 13, 3)')));
    expect(sorted(found.day)).toEqual(sorted(countedByAwk('substr($4, 2, 2)')));
  });
});

test('what was acknowledged is in the history once, whenever the process was killed', async () => {
  const small = { ...environment, TALLYSTICK_CHECKPOINT_TAIL_BYTES: '65536' };
  const server = await serverOfTest({ lanes: 2, partitions: 4, environment: small });
  const client = await clientOfTest(server, { producer: 'writer' });
  const random = new Random(7);
  const names = Array.from({ length: 40 }, (_, i) => `views:${i}`);
  const end = Math.floor(Date.now() / DAY) * DAY;
  const sums = new Map<string, bigint>();
  for (let kills = 0; kills < 4; kills++) {
    const killedAfter = random.below(BATCHES);
    let reached = () => {};
    const isTime = new Promise<void>((resolve) => {
      reached = resolve;
    });
    const writing = (async () => {
      for (let batches = 0; batches < BATCHES; batches++) {
        const operations = Array.from({ length: 200 }, () => {
          const [name, days] = [names[random.below(names.length)] as string, random.below(20)];
          return { name, delta: random.below(100) - 20, time: end - days * DAY - random.below(DAY) - 1 };
        });
        const written = client.batch(operations);
        if (batches === killedAfter) reached();
        await written;
        for (const { name, delta, time } of operations) {
          const day = `${name} ${Math.floor(time / DAY)}`;
          sums.set(day, (sums.get(day) ?? 0n) + BigInt(delta));
        }
      }
    })();
    await isTime;
    await server.kill('SIGKILL');
    await server.start();
    await writing;
  }
  for (const name of names) {
    const { points } = await client.series(name, { from: end - 20 * DAY, to: end, step: '1d' });
    expect(points).toHaveLength(20);
    for (const { from, value, exact } of points) {
      expect([name, from, value, exact]).toEqual([name, from, sums.get(`${name} ${from / DAY}`) ?? 0n, true]);
    }
    const { value } = await client.valueAt(name, end);
    expect(value).toBe(await client.get(name));
  }
});

test('days are dropped when the server or a class says so, which is told, and stays so after kill -9', async () => {
  // Roll-ups begin a minute after the start.
  const clock = { since: Date.now(), times: 1_000 };
  const classes = [
    { pattern: 'kept:*', history: { days: '5y' }, lateness: 'any' },
    { pattern: 'views:*', history: true, lateness: 'any' },
  ];
  const server = await serverOfTest({
    lanes: 2,
    partitions: 2,
    environment: {
      NODE_OPTIONS: flagsOf(clock).join(' '),
      TALLYSTICK_CLASSES: JSON.stringify(classes),
      TALLYSTICK_HISTORY_MINUTE_HOURS: '24',
      TALLYSTICK_HISTORY_HOUR_DAYS: '2',
      TALLYSTICK_HISTORY_DAY_DAYS: '100',
    },
  });
  const client = await clientOfTest(server);
  const [old, recent] = [200, 30].map((days) => (Math.floor(clock.since / DAY) - days) * DAY) as [number, number];
  const names = ['kept:a', 'views:a', 'views:b'];
  for (const name of names) {
    await client.increment(name, 5, { time: old + HOUR });
    await client.increment(name, 7, { time: recent + HOUR });
  }
  const ofDay = async (name: string, from: number) => {
    const { points } = await client.series(name, { from, to: from + DAY, step: '1d' });
    return points.map(({ value, resolution, exact }) => [value, resolution, exact]);
  };
  const isDropped = (name: string, from: number) =>
    ofDay(name, from).then(
      () => false,
      ({ code }) => code === 'NOT_TRACKED',
    );
  const rows = async () => {
    const lanes = (await client.stats()) as unknown as readonly { history: { rows: Record<string, number> } }[];
    return lanes.flatMap(({ history }) => Object.values(history.rows)).reduce((sum, count) => sum + count, 0);
  };
  while ((await rows()) < 2 * names.length);
  await server.crash();
  while (!((await isDropped('views:a', old)) && (await isDropped('views:b', old))));
  const since = (Math.floor(old / DAY / 64) + 1) * 64 * DAY;
  const check = async () => {
    expect(await ofDay('kept:a', old)).toEqual([[5n, 'day', true]]);
    for (const name of names) {
      expect(await ofDay(name, recent)).toEqual([[7n, 'day', true]]);
      expect(await client.get(name)).toBe(12n);
    }
    expect(await isDropped('views:a', since - DAY)).toBe(true);
    expect(await isDropped('views:a', since)).toBe(false);
  };
  await check();
  await server.crash();
  await check();
});
