import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Cursors } from '../dist/cli/ingest/cursor.js';
import { DEFAULT_LIMITS } from '../dist/cli/ingest/ingest.js';
import { parseSum, parseTemplate } from '../dist/cli/ingest/template.js';
import { connect } from '../dist/client/index.js';
import { pathOf, writeAccessLog } from './access-log.mjs';
import { random } from './names.mjs';
import { freePorts } from './ports.mjs';
import { startServerProcess } from './server.mjs';

/**
 * Every line once, whoever dies: a generated log is ingested under a producer, and the server, the ingest, or both are
 * killed with -9 again and again, each time when the share of the increments that the server shows as durable
 * crosses a random point. In the end every counter must be exactly right.
 *
 *   node load/resume.mjs [--lines 2000000] [--kills 9] [--seed 1] [--json]
 */

const PROGRAM = fileURLToPath(new URL('../bin/tallystick.cjs', import.meta.url));
const PRODUCER = 'resume';
const COUNTS = ['views:{path}', 'status:{status}'];
const SUMS = ['bytes:{path}=bytes'];
const VICTIMS = ['server', 'ingest', 'both'];
const FIRST_POINT = 0.05;
const LAST_POINT = 0.95;
/** Where fewer rounds of batches than this are left, a kill could come too late: then no point lies there. */
const ROUNDS_LEFT = 4;
/** Paths whose views are watched: about half of all, in every partition. */
const WATCHED_PATHS = 512;
const READ_AT_A_TIME = 5_000;
const TIMEOUT_MILLISECONDS = 120_000;
/** How often a log that was too short gives way to one of twice the lines. */
const LONGER_LOGS = 4;

/** All was counted before a kill came: how soon is a matter of the machine and of what else it does. */
class TooLate extends Error {}

/** Runs with longer and longer logs, until each kill comes while the ingest is unfinished. */
async function resumeUntilKilled({ lines, ...options }) {
  for (let longer = 0; ; longer++) {
    try {
      return await resume({ ...options, lines: lines * 2 ** longer });
    } catch (error) {
      if (!(error instanceof TooLate) || longer === LONGER_LOGS) throw error;
      console.error(`${error.message} The next log is twice as long.`);
    }
  }
}

/**
 * One run.
 *
 * @param onKill called after each kill with its row of the table
 * @returns the report and its kills; `wrong` lists what is not as it must be, and is empty if all is well
 * @throws TooLate if a kill could not be made while the ingest was unfinished
 */
async function resume({ lines, kills, seed, onKill = () => {} }) {
  const directory = mkdtempSync(join(tmpdir(), 'tallystick-resume-'));
  const log = join(directory, 'access.log');
  const written = writeAccessLog(log, lines, seed);
  const next = random(seed);
  const run = new Run({ log, dataDir: join(directory, 'data'), written, lines, next });
  const last = Math.min(LAST_POINT, 1 - (ROUNDS_LEFT * DEFAULT_LIMITS.roundBytes) / written.bytes);
  const atExit = () => run.abandon();
  process.once('exit', atExit);
  try {
    await run.start();
    const made = [];
    for (const [index, point] of pointsOf(kills, last, next).entries()) {
      made.push(await run.killAt(point, VICTIMS[index % VICTIMS.length]));
      onKill(made.length, made.at(-1));
    }
    return { ...(await run.finish()), kills: made };
  } finally {
    process.off('exit', atExit);
    await run.end();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** One random point in each of `count` equal parts, so that they differ and ascend. */
function pointsOf(count, last, next) {
  if (last <= FIRST_POINT) throw new Error('The log is too small to be interrupted: more lines are needed.');
  const part = (last - FIRST_POINT) / count;
  return Array.from({ length: count }, (_, index) => FIRST_POINT + (index + next()) * part);
}

class Run {
  constructor({ log, dataDir, written, lines, next }) {
    this.log = log;
    this.dataDir = dataDir;
    this.written = written;
    this.lines = lines;
    this.next = next;
    this.watched = watchedOf(written.expected);
    /** The share at the last recovery: the next kill waits for more than that. */
    this.share = 0;
    /** Where the running ingest must begin; undefined for the first one. */
    this.place = undefined;
  }

  async start() {
    this.port = String(await freePorts(availableParallelism()));
    await this.startServer();
    this.ingest = this.startIngest();
  }

  async startServer() {
    this.server = await startServerProcess(this.dataDir, '--port', this.port);
    // A new reader, since the old one would come back in its own time.
    await this.reader?.close();
    this.reader = await connect(this.server.url, { producer: false, timeout: TIMEOUT_MILLISECONDS });
  }

  startIngest() {
    const options = [...COUNTS.flatMap((count) => ['--count', count]), ...SUMS.flatMap((sum) => ['--sum', sum])];
    const how = ['--format', 'combined', ...options, '--producer', PRODUCER, '--server', this.server.url, '--json'];
    const child = spawn(process.execPath, [PROGRAM, 'ingest', this.log, ...how], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
    return { child, exited, output: text(child.stdout) };
  }

  /** Waits until the share crosses the point, kills, and brings back what was killed. */
  async killAt(point, victim) {
    const before = await this.crossing(point);
    const dies = { server: victim !== 'ingest', ingest: victim !== 'server' };
    if (dies.server) this.server.child.kill('SIGKILL');
    if (dies.ingest) this.ingest.child.kill('SIGKILL');
    if (dies.server) await diedByKill(this.server, 'server');
    if (dies.ingest) await diedByKill(this.ingest, 'ingest');
    else mustBeRunning(this.ingest, point);
    if (dies.server) await this.startServer();

    const after = await this.observe();
    const lost = this.watched.filter((_, index) => after.values[index] < before.values[index]);
    if (lost.length > 0) throw new Error(`Durable values were taken back: ${lost.join(', ')}.`);
    // Whatever came after the kill is in it too: if this is not all, it was not all then.
    if (after.share >= 1) throw new TooLate('All was counted when the kill came.');
    this.share = after.share;
    const kill = { victim, point, before: before.share, after: after.share, resumedFrom: null, ahead: null };
    if (!dies.ingest) return kill;
    const places = await this.placesOfProducer();
    this.place = places.reduce((first, place) => (place.offset < first.offset ? place : first));
    this.ingest = this.startIngest();
    const ahead = places.filter(({ offset }) => offset > this.place.offset).length;
    return { ...kill, resumedFrom: this.place.lines, ahead };
  }

  /**
   * Reads until the share is past the point, and past what it was at the last recovery; then until a batch of some partition
   * has just been applied, while others are on their way and none of these is flushed.
   */
  async crossing(point) {
    for (;;) {
      const observed = await this.observe();
      mustBeRunning(this.ingest, point);
      if (observed.share < point || observed.share <= this.share) continue;
      const partition = Math.floor(this.next() * this.reader.partitions);
      const names = this.watched.filter((name) => this.reader.partitionOf(name) === partition);
      const applied = await this.applied(names);
      while ((await this.applied(names)) === applied) mustBeRunning(this.ingest, point);
      return observed;
    }
  }

  /** The sum of some counters, flushed or not. */
  async applied(names) {
    return sum((await this.reader.read(names, { read: 'latest' })).map(({ value }) => Number(value)));
  }

  /** What the server shows as durable of the watched counters, and which share of their final values that is. */
  async observe() {
    const readings = await this.reader.read(this.watched);
    const values = readings.map(({ value }) => Number(value));
    return { values, share: sum(values) / sum(this.watched.map((name) => this.written.expected.get(name))) };
  }

  /** For each partition, up to where it has counted the log, by the cursors that the server kept. */
  async placesOfProducer() {
    const client = await connect(this.server.url, { producer: PRODUCER, timeout: TIMEOUT_MILLISECONDS });
    const recipe = {
      format: 'combined',
      counts: COUNTS.map(parseTemplate),
      sums: SUMS.map(parseSum),
      sightings: [],
      wheres: [],
    };
    const format = new Cursors(recipe, client.partitions);
    const places = Array.from({ length: client.partitions }, (_, partition) => {
      const cursor = client.cursors.get(partition);
      return cursor ? format.decode(cursor) : { offset: 0, lines: 0 };
    });
    await client.close();
    return places;
  }

  /** Lets the ingest end, and checks all. */
  async finish() {
    const summary = await this.summary(this.ingest);
    const wrong = [...this.wrongSummary(summary), ...(await this.wrongCounters())];
    const again = await this.summary(this.startIngest());
    if (again.lines !== 0 || again.batches !== 0) wrong.push(`a run after the end read ${again.lines} lines`);
    wrong.push(...(await this.wrongCounters()));
    const { expected, unusable, bytes } = this.written;
    const counts = { lines: this.lines, bytes, counters: expected.size, unusable: unusable.length };
    return {
      ...counts,
      resumedFrom: summary.resumedFrom,
      linesOfLastRun: summary.lines,
      reread: summary.reread,
      wrong,
    };
  }

  async summary(ingest) {
    const { code, signal } = await ingest.exited;
    if (code !== 0) throw new Error(`The ingest ended with ${code ?? signal}: ${await ingest.output}`);
    return JSON.parse(await ingest.output);
  }

  /** The last ingest's account of itself against what the log and the cursors say. */
  wrongSummary(summary) {
    const from = this.place?.lines ?? 0;
    const unusable = this.written.unusable.filter(({ line }) => line > from);
    const checks = [
      ['resumedFrom', summary.resumedFrom, this.place ?? null],
      ['lines', summary.lines, this.lines - from],
      ['used', summary.used, this.lines - from - unusable.length],
      ['unusableLines', summary.unusableLines, unusable.slice(0, 1_000)],
      ['refused', summary.refused, 0],
    ];
    return checks
      .filter(([, actual, wanted]) => JSON.stringify(actual) !== JSON.stringify(wanted))
      .map(([what, actual, wanted]) => `${what}: ${shown(actual)} instead of ${shown(wanted)}`);
  }

  async wrongCounters() {
    const { expected } = this.written;
    const wrong = [];
    const names = [...expected.keys()];
    for (let from = 0; from < names.length; from += READ_AT_A_TIME) {
      for (const { name, value } of await this.reader.read(names.slice(from, from + READ_AT_A_TIME))) {
        if (value !== BigInt(expected.get(name))) wrong.push(`${name}: ${value} instead of ${expected.get(name)}`);
      }
    }
    const lanes = await this.reader.stats();
    const counters = lanes
      .flatMap(({ partitions }) => partitions)
      .reduce((sum, partition) => sum + partition.counters, 0);
    if (counters !== names.length) wrong.push(`${counters} counters instead of ${names.length}`);
    return wrong;
  }

  /** For the case that this process is ended in the middle. */
  abandon() {
    this.ingest?.child.kill('SIGKILL');
    this.server?.child.kill('SIGKILL');
  }

  async end() {
    this.ingest?.child.kill('SIGKILL');
    await this.reader?.close();
    this.server?.child.kill('SIGTERM');
    await this.server?.exited;
  }
}

function watchedOf(expected) {
  const views = Array.from({ length: WATCHED_PATHS }, (_, rank) => `views:${pathOf(rank)}`);
  return views.filter((name) => expected.has(name));
}

function mustBeRunning({ child: { exitCode: code, signalCode: signal } }, point) {
  if (code === 0) throw new TooLate(`The ingest was finished before the kill at ${percent(point)}.`);
  if (code !== null || signal !== null) throw new Error(`The ingest ended with ${code ?? signal}.`);
}

async function diedByKill({ exited }, what) {
  const { code, signal } = await exited;
  if (signal === 'SIGKILL') return;
  const message = `The ${what} had ended by itself with ${code ?? signal} before the kill.`;
  throw what === 'ingest' && code === 0 ? new TooLate(message) : new Error(message);
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

const shown = (value) => JSON.stringify(value).slice(0, 200);

const percent = (share) => `${(100 * share).toFixed(1)}%`;

async function main() {
  const { values } = parseArgs({
    options: {
      lines: { type: 'string', default: '2000000' },
      kills: { type: 'string', default: '9' },
      seed: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
    },
  });
  const say = (...columns) => values.json || console.log(columns.map((column) => String(column).padStart(14)).join(''));
  say('kill', 'victim', 'point', 'at the kill', 'recovered', 'resumed from', 'ahead of it');
  const report = await resumeUntilKilled({
    lines: Number(values.lines),
    kills: Number(values.kills),
    seed: Number(values.seed),
    onKill: (number, kill) => {
      const { victim, point, before, after, resumedFrom, ahead } = kill;
      const from = resumedFrom === null ? ['by itself', ''] : [`line ${resumedFrom}`, `${ahead} partitions`];
      say(number, victim, percent(point), percent(before), percent(after), ...from);
    },
  });
  if (values.json) console.log(JSON.stringify(report));
  else print(report);
  process.exitCode = report.wrong.length === 0 ? 0 : 1;
}

function print({ wrong, kills, ...report }) {
  console.log();
  for (const [what, value] of Object.entries(report)) console.log(`${what.padEnd(16)}${JSON.stringify(value)}`);
  console.log(wrong.length === 0 ? '\nEvery counter is exactly right.' : `\nWRONG:\n${wrong.slice(0, 20).join('\n')}`);
}

for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => process.exit(1));
await main();
