import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { History } from '../dist/history/history.js';
import { LmdbTables } from '../dist/history/lmdb-tables.js';
import { DEFAULT_RETENTION } from '../dist/history/roll-up.js';
import { RollUpPool } from '../dist/history/roll-up-pool.js';
import { range, series } from '../dist/series/series.js';
import { areWholeHours, stepsOf } from '../dist/series/steps.js';
import { servedHistory } from './history-served.mjs';
import { HISTORY_HEAD, historyRows, SERVED_HEAD, servedRows, servedText } from './history-table.mjs';
import { describeMachine, machineFacts } from './machine.mjs';
import { random } from './names.mjs';
import { writeSections } from './report-file.mjs';
import { textTable } from './table.mjs';

/**
 * History: bytes a counter-hour, commits, roll-ups, and the time of a series, without a server; and what callers of a server feel of
 * its roll-ups:   node load/history.mjs
 *
 *   --counters 50000   active in each minute, with one count a minute; 0 leaves out what is measured without a server
 *   --hours 72         for which they are, of which the first day is rolled up
 *   --rows 1000        of a commit: an hour of a counter each
 *   --long 1000        counters with 33 days of hours, whose series of 30 days are asked for
 *   --queries 500
 *   --served 1000000   counters of the server, with a day of minutes that it rolls up, some with 10 days; 0 leaves it out
 *   --seconds 20       of increments, twice before the roll-ups and while they go on
 *   --rounds 3         of those three
 *   --out DIR          where the report goes (history.json), for docs/PERFORMANCE.md
 *   --json
 *
 * Exits with 1 if a series is not exact or does not have the counts that were committed.
 */

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const START = Date.UTC(2026, 0, 1);
const LONG_DAYS = 33;
const DAYS_SERVED = 10;
const ZONES = ['UTC', 'Europe/Berlin', 'Asia/Kolkata'];

const { values: options } = parseArgs({
  options: {
    counters: { type: 'string', default: '50000' },
    hours: { type: 'string', default: '72' },
    rows: { type: 'string', default: '1000' },
    long: { type: 'string', default: '1000' },
    queries: { type: 'string', default: '500' },
    served: { type: 'string', default: '1000000' },
    seconds: { type: 'string', default: '20' },
    rounds: { type: 'string', default: '3' },
    out: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const [counters, hours, rowsACommit, long] = [options.counters, options.hours, options.rows, options.long].map(Number);

const directory = mkdtempSync(join(tmpdir(), 'tallystick-history-'));
const path = join(directory, 'history.mdb');
const tables = new LmdbTables(path);
const history = new History(tables);
const pool = new RollUpPool(path);
const next = random(1);
const say = (text) => options.json || console.error(text);

const oneAMinute = new Array(60).fill(1n);
/** Counts around ten a minute, as visitors come. */
const busy = () => Array.from({ length: 60 }, () => BigInt(Math.floor(-10 * Math.log(1 - next()))));

/** Commits an hour of each counter, for so many hours from the start. */
async function fill(partition, slots, hours, minutesOf) {
  const commits = [];
  const begin = performance.now();
  let asOf = history.place(partition).watermark;
  for (let hour = START / HOUR; hour < START / HOUR + hours; hour++) {
    for (let slot = 0; slot < slots; ) {
      asOf++;
      const rows = [];
      for (const end = Math.min(slots, slot + rowsACommit); slot < end; slot++) {
        rows.push({ slot, generation: 1, hour, asOf, index: rows.length, minutes: minutesOf() });
      }
      const start = performance.now();
      await flushed(history.commit(partition, { watermark: asOf, items: 0 }, rows));
      commits.push(performance.now() - start);
    }
  }
  const seconds = (performance.now() - begin) / 1_000;
  return { rowsASecond: (slots * hours) / seconds, commitMilliseconds: quantiles(commits) };
}

/** Rolls up what is due, one step after the other. */
async function rollUp(partition, now) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const steps = [];
  const begin = performance.now();
  for (let due = true; due; ) {
    const start = performance.now();
    const step = await pool.next({ partition, retention: DEFAULT_RETENTION, now });
    if (step) await flushed(history.replace(step));
    due = step !== undefined;
    steps.push(performance.now() - start);
  }
  delay.disable();
  return {
    steps: steps.length - 1,
    seconds: (performance.now() - begin) / 1_000,
    stepMilliseconds: quantiles(steps),
    threadHeldMilliseconds: { p50: delay.percentile(50) / 1e6, p99: delay.percentile(99) / 1e6, most: delay.max / 1e6 },
  };
}

async function flushed(outcome) {
  const { kind, error } = await outcome;
  if (kind !== 'flushed') throw error;
}

function quantiles(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
  return { p50: at(0.5), p99: at(0.99), most: sorted.at(-1) };
}

const wrong = [];

/** Series by the hour over the last 30 days, read as a server does, of a counter that has one count a minute, of which two days are minutes. */
function ask(zone) {
  const to = START + LONG_DAYS * DAY;
  const query = { from: to - 30 * DAY, to, step: { count: 1, unit: 'hour' }, zone };
  const times = [];
  const queries = Number(options.queries);
  const before = process.cpuUsage();
  for (let index = 0; index < queries; index++) {
    const counter = { partition: 2, slot: Math.floor(next() * long), generation: 1 };
    const start = performance.now();
    const steps = stepsOf(query);
    const finest = areWholeHours(steps.edges) ? 'hour' : 'minute';
    const { buckets } = history.read(counter, steps.edges[0], steps.edges.at(-1), finest);
    const points = series(buckets, steps);
    times.push(performance.now() - start);
    if (zone === 'UTC' && !(points.length === 720 && points.every(({ exact, sum }) => exact && sum === 60n))) {
      wrong.push(`the series of slot ${counter.slot}`);
    }
  }
  const { user, system } = process.cpuUsage(before);
  return { ...quantiles(times), cpuMilliseconds: (user + system) / 1_000 / queries };
}

/** What is stored of counters, without a server. */
async function measureStored() {
  const machine = machineFacts(tmpdir());
  const report = { machine, counters, hours, rowsACommit, kept: {}, commits: {}, series: {} };
  const bytesOf = async (what, work) => {
    const before = history.stats();
    const result = await work();
    const { usedBytes, rows } = history.stats();
    report.kept[what] = { bytes: usedBytes - before.usedBytes, rows };
    return result;
  };
  say(`${counters} counters, one count a minute, ${hours} hours`);
  report.commits.one = await bytesOf('minutes, one count each', () => fill(1, counters, hours, () => oneAMinute));
  say('a day of them is rolled up');
  report.rollUp = await bytesOf('of 24 hours rolled up', () => rollUp(1, START + 3 * DAY));
  say(`${counters / 5} counters, about ten counts a minute`);
  report.commits.busy = await bytesOf('minutes, ten counts each', () => fill(3, counters / 5, hours, busy));
  say(`${long} counters, ${LONG_DAYS} days`);
  await fill(2, long, LONG_DAYS * 24, () => oneAMinute);
  await rollUp(2, START + LONG_DAYS * DAY);
  for (const zone of ZONES) report.series[zone] = ask(zone);
  for (let slot = 0; slot < long; slot++) {
    const end = START + LONG_DAYS * DAY;
    const { sum, exact } = range(history.read({ partition: 2, slot, generation: 1 }, START, end).buckets, START, end);
    if (!exact || sum !== BigInt(LONG_DAYS * 24 * 60)) wrong.push(`the sum of slot ${slot}: ${sum}`);
  }
  report.bytesACounterHour = {
    one: report.kept['minutes, one count each'].bytes / (counters * hours),
    busy: report.kept['minutes, ten counts each'].bytes / ((counters / 5) * hours),
  };
  report.fileBytes = history.stats().fileBytes;
  report.wrong = wrong;
  return report;
}

async function measureServed() {
  const machine = machineFacts(tmpdir());
  const [served, seconds, rounds] = [options.served, options.seconds, options.rounds].map(Number);
  return {
    machine,
    ...(await servedHistory({ counters: served, days: DAYS_SERVED, seconds, rounds, queries: 200, say })),
  };
}

try {
  const report = {
    ...(counters > 0 && { stored: await measureStored() }),
    ...(options.served !== '0' && { served: await measureServed() }),
  };
  if (options.out) writeSections(options.out, 'history', report);
  if (options.json) console.log(JSON.stringify(report));
  else print(report);
  process.exitCode = wrong.length === 0 ? 0 : 1;
} finally {
  await pool.close();
  await history.close();
  rmSync(directory, { recursive: true });
}

function print({ stored, served }) {
  if (stored) console.log(`${describeMachine(stored.machine)}\n\n${textTable(HISTORY_HEAD, historyRows(stored))}\n`);
  if (served)
    console.log(
      `${describeMachine(served.machine)}\n\n${textTable(SERVED_HEAD, servedRows(served))}\n${servedText(served)}\n`,
    );
  console.log(wrong.length === 0 ? 'Every sum is exactly right.' : `WRONG: ${wrong.slice(0, 20).join(', ')}`);
}
