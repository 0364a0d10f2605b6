import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from '../dist/client/index.js';
import { History } from '../dist/history/history.js';
import { minuteKeyOf } from '../dist/history/key.js';
import { RowCodec } from '../dist/history/row.js';
import { openHistory } from '../dist/history/storage.js';
import { fill, numberedNames } from './fill.mjs';
import { percentiles, spread } from './histogram.mjs';
import { random } from './names.mjs';
import { openLoop } from './open-loop.mjs';
import { RawClient } from './raw-client.mjs';
import { startServerProcess } from './server.mjs';

/** What callers of a server feel of its roll-ups, and how long it takes to answer a series. */

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const NAME_BYTES = 12;
const ROWS_A_COMMIT = 10_000;
const RATE = 2_000;
/** Roll-ups begin a minute after the start. */
const WARM_SECONDS = 5;
/** Since the last day that has minutes. */
const DAYS_SINCE = 3;
/** Of a partition, that have all days of minutes. Names with the first numbers are among them, as slots are taken in turn. */
const SLOTS_WITH_ALL_DAYS = 200;
const NAMES_ASKED_FOR = 1_000;
const MOST_WAITED_MILLISECONDS = 120_000;
const oneAMinute = new Array(60).fill(1n);

/**
 * @param counters  with a row of minutes in each hour of the day that became old enough today to be rolled up. Some of them have so many `days`.
 * @param seconds   for which durable increments are awaited, twice before the roll-ups begin and once while they go on; as often as `rounds` says
 */
export async function servedHistory({ counters, days, seconds, rounds, queries, say }) {
  const directory = mkdtempSync(join(tmpdir(), 'tallystick-history-served-'));
  const dataDir = join(directory, 'data');
  const config = join(directory, 'config.json');
  const classes = [{ pattern: '*', history: true, lateness: 'any' }];
  const historyMinuteHours = ((DAYS_SINCE + days - 1) * DAY) / HOUR;
  writeFileSync(config, JSON.stringify({ classes, historyMinuteHours }));
  const start = () => startServerProcess(dataDir, '--config', config, '--lanes', '2');
  const names = numberedNames(NAME_BYTES);
  try {
    say(`${counters} counters of a server, a day of minutes; some have ${days}`);
    const slots = await withServer(start, async (url) => {
      const raw = await RawClient.connect(url, 'history');
      await fill(raw, counters, names.bytes);
      raw.close();
      const client = await connect(url, { producer: false });
      const partitions = (await client.stats()).flatMap((lane) => lane.partitions);
      await client.close();
      return new Map(partitions.map((one) => [one.partition, one.counters]));
    });
    const end = Math.floor(Date.now() / DAY - DAYS_SINCE) * DAY;
    const first = end - (days - 1) * DAY;
    await writeMinutes(dataDir, (partition) => slots.get(partition), { from: first - DAY, to: first });
    const some = (partition) => Math.min(SLOTS_WITH_ALL_DAYS, slots.get(partition));
    await writeMinutes(dataDir, some, { from: first, to: end });
    const kept = [...slots.keys()].reduce((sum, partition) => sum + some(partition), 0) * (days - 1) * 24;
    const measured = [];
    let asked;
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}`);
      const measure = (url) => beforeAndWhile(url, names.text, { counters, seconds, kept });
      const ask = (url) =>
        askSeries(url, names.text, {
          counters: Math.min(counters, NAMES_ASKED_FOR),
          queries,
          expected: BigInt(days * 24 * 60),
        });
      measured.push(
        await withServer(start, async (url) => {
          asked ??= await ask(url);
          return measure(url);
        }),
      );
    }
    const p99Ratio = spread(measured.map(({ quiet, rolling }) => rolling.p99 / quiet[1].p99));
    const noise = spread(measured.map(({ quiet }) => quiet[1].p99 / quiet[0].p99));
    const rowsASecond = spread(measured.map((round) => round.rowsASecond));
    return { counters, days, rate: RATE, rounds: measured, p99Ratio, noise, rowsASecond, series: asked };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function withServer(start, work) {
  const { child, exited, url } = await start();
  try {
    return await work(url);
  } finally {
    child.kill('SIGTERM');
    await exited;
  }
}

/** Puts rows beside those that the server of a directory has, where its log does not say otherwise. */
async function writeMinutes(dataDir, slotsOf, { from, to }) {
  const codec = new RowCodec();
  const { lanes } = JSON.parse(readFileSync(join(dataDir, 'tallystick.json'), 'utf8'));
  for (const [lane, partitions] of lanes.entries()) {
    const history = new History(openHistory(join(dataDir, `lane-${lane}`)));
    for (const partition of partitions) {
      let rows = [];
      const commit = async () => {
        const { kind, error } = await history.adopt(partition, rows);
        if (kind !== 'flushed') throw error;
        rows = [];
      };
      for (let hour = from / HOUR; hour < to / HOUR; hour++) {
        for (let slot = 0; slot < slotsOf(partition); slot++) {
          const key = minuteKeyOf(partition, { slot, generation: 0, hour, asOf: 0, index: 0 });
          rows.push({ resolution: 'minute', key, value: codec.encode('minute', key, oneAMinute) });
          if (rows.length === ROWS_A_COMMIT) await commit();
        }
      }
      if (rows.length > 0) await commit();
    }
    await history.close();
  }
}

/** Durable increments at a fixed rate, twice before the roll-ups begin, so that one sees what the machine's own noise is, and while they go on. */
async function beforeAndWhile(url, nameOf, { counters, seconds, kept }) {
  const client = await connect(url, { timeout: 60_000 });
  const next = random(7);
  const call = () => client.increment(nameOf(Math.floor(next() * counters)));
  const measure = async (length) => {
    const { histogram, rate } = await openLoop(call, { rate: RATE, seconds: length });
    return { ...percentiles(histogram), reached: rate };
  };
  await measure(WARM_SECONDS);
  const first = await rowsOf(client);
  const quiet = [await measure(seconds), await measure(seconds)];
  const before = await rowsOf(client);
  if (before.minute < first.minute) throw new Error('The roll-ups began before they were awaited: take fewer seconds.');
  const deadline = performance.now() + MOST_WAITED_MILLISECONDS;
  while ((await rowsOf(client)).minute >= before.minute && performance.now() < deadline) await delay(50);
  const begun = await rowsOf(client);
  const started = performance.now();
  const rolling = await measure(seconds);
  const elapsed = (performance.now() - started) / 1_000;
  const after = await rowsOf(client);
  await client.close();
  if (after.minute === begun.minute)
    throw new Error('Nothing was rolled up while increments were measured: take more.');
  if (after.minute <= kept) throw new Error('The roll-ups came to their end: take more counters.');
  return { quiet, rolling, rowsASecond: (begun.minute - after.minute) / elapsed };
}

async function rowsOf(client) {
  const sum = { minute: 0, hour: 0, day: 0 };
  for (const { history } of await client.stats()) {
    for (const [resolution, rows] of Object.entries(history.rows)) sum[resolution] += rows;
  }
  return sum;
}

/** Series by the hour over the last 30 days, as a client gets them. */
async function askSeries(url, nameOf, { counters, queries, expected }) {
  const client = await connect(url, { producer: false });
  const next = random(8);
  const times = [];
  const to = Math.floor(Date.now() / HOUR) * HOUR;
  for (let index = 0; index < queries; index++) {
    const name = nameOf(Math.floor(next() * counters));
    const begin = performance.now();
    const { points } = await client.series(name, { from: to - 30 * DAY, to, step: '1h' });
    times.push(performance.now() - begin);
    const sum = points.reduce((total, { value }) => total + value, 0n);
    if (sum < expected || points.some(({ exact }) => !exact)) throw new Error(`The series of ${name} comes to ${sum}.`);
  }
  await client.close();
  times.sort((a, b) => a - b);
  const at = (part) => times[Math.min(times.length - 1, Math.floor(part * times.length))];
  return { p50: at(0.5), p99: at(0.99), most: times.at(-1) };
}
