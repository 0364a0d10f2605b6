import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { connect } from '../dist/client/index.js';
import { Batches, DISTRIBUTIONS } from './batches.mjs';
import { closedLoop } from './closed-loop.mjs';
import { Counters } from './counters.mjs';
import { fill, numberedNames } from './fill.mjs';
import { describeMachine, machineFacts } from './machine.mjs';
import { random } from './names.mjs';
import { memoryBytes } from './process-figures.mjs';
import { progressBar } from './progress.mjs';
import { RawClient } from './raw-client.mjs';
import { writeReport } from './report-file.mjs';
import { startServerProcess } from './server.mjs';
import { fromZero, lineChart } from './svg-plot.mjs';
import { rate, textTable, three } from './table.mjs';

/**
 * Checkpoints under load, and the start after kill -9:   node load/checkpoint.mjs
 *
 *   --counters 1000000   with names of 20 bytes
 *   --seconds 20         of full load by name in batches of 1,000, uniform; 1800 for the plot of what is bounded
 *   --tail BYTES         checkpointTailBytes
 *   --json   --out DIR (checkpoint.json and checkpoint.svg)   --report NAME (of these files)
 *
 * Exits with 1 if a counter is wrong after the start, or the tail went past its bound.
 */

const NAME_BYTES = 20;
const SAMPLE = 1_000_000;
const MEMORY_BYTES = 16 * 2 ** 30;
/** What a lane may have taken already when its tail comes to the bound: a group in flight, and one in the making. */
const OVERRUN_BYTES = 2 * 4 * 2 ** 20;
const MEBI = 2 ** 20;
/** Kept in the report. */
const MOST_SAMPLES = 360;

const { values: options } = parseArgs({
  options: {
    counters: { type: 'string', default: '1000000' },
    seconds: { type: 'string', default: '20' },
    tail: { type: 'string', default: String(256 * MEBI) },
    json: { type: 'boolean', default: false },
    out: { type: 'string' },
    report: { type: 'string', default: 'checkpoint' },
  },
});
const count = Number(options.counters);
const seconds = Number(options.seconds);
process.env.TALLYSTICK_CHECKPOINT_TAIL_BYTES = options.tail;

const dataDir = mkdtempSync(join(tmpdir(), 'tallystick-checkpoint-'));
const flags = ['--memory', String(MEMORY_BYTES)];
let server = await startServerProcess(dataDir, ...flags);
try {
  const machine = machineFacts(tmpdir());
  if (!options.json) console.log(describeMachine(machine));
  const report = { machine, counters: count, seconds, tailBound: Number(options.tail), ...(await run()) };
  if (options.json) console.log(JSON.stringify(report));
  else print(report);
  if (options.out) writeReport(options.out, options.report, report, { [`${options.report}.svg`]: plot(report) });
  const isRight = report.sum.counted === report.sum.acknowledged && report.tailMost <= report.tailBound + OVERRUN_BYTES;
  if (!options.json) console.log(isRight ? '\nEverything is right.' : '\nSOMETHING IS WRONG.');
  process.exitCode = isRight ? 0 : 1;
} finally {
  server.child.kill('SIGKILL');
  await server.exited;
  rmSync(dataDir, { recursive: true, force: true });
}

async function run() {
  const { pid } = server.child;
  const clients = [
    await RawClient.connect(server.url, 'checkpoint-0'),
    await RawClient.connect(server.url, 'checkpoint-1'),
  ];
  const names = numberedNames(NAME_BYTES);
  await fill(clients[0], count, names.bytes);
  const filledBytes = memoryBytes(pid);
  const next = random(count);
  const sample = Array.from({ length: Math.min(SAMPLE, count) }, () => names.text(Math.floor(next() * count)));
  const counters = await Counters.open(clients[0], sample);
  const batches = new Batches(counters, {
    size: 1_000,
    count: Math.ceil((2 * counters.count) / 1_000),
    key: 'name',
    pick: DISTRIBUTIONS.uniform(counters.count, random(1)),
  });
  const watch = watchServer(server.url, pid);
  const { increments, seconds: spent } = await closedLoop(clients, batches, { inFlight: 16, seconds });
  const samples = thinned(await watch.stop());
  const lanes = await statsOf(server.url);
  for (const client of clients) client.close();
  const restart = await killAndStart();
  const sum = await sumOf(server.url, names, count);
  return {
    perSecond: Math.round(increments / spent),
    lanes: lanes.map(({ checkpoints }) => checkpoints),
    tailMost: Math.max(...samples.map(({ tail }) => tail)),
    filledBytes,
    memoryMost: Math.max(...samples.map(({ memory }) => memory)),
    samples,
    restart,
    sum: { acknowledged: String(count + increments), counted: String(sum) },
  };
}

async function statsOf(url) {
  const client = await connect(url, { producer: false, timeout: 60_000 });
  const stats = await client.stats();
  await client.close();
  return stats;
}

/** Looks at the server twice a second, from beside it. */
function watchServer(url, pid) {
  const samples = [];
  const start = performance.now();
  const bar = progressBar(!options.json);
  const step = bar.step('load');
  step(0, seconds);
  let client;
  const look = async () => {
    client ??= await connect(url, { producer: false, timeout: 60_000 });
    const lanes = await client.stats();
    const at = (performance.now() - start) / 1_000;
    step(Math.min(Math.ceil(at), seconds), seconds);
    samples.push({
      seconds: at,
      tail: Math.max(...lanes.map(({ checkpoints }) => checkpoints.tailBytes)),
      memory: memoryBytes(pid),
      ...sizes(),
    });
  };
  let looking = Promise.resolve();
  const timer = setInterval(() => {
    looking = looking.then(look);
  }, 500);
  return {
    stop: async () => {
      clearInterval(timer);
      await looking.then(look);
      await client.close();
      bar.stop();
      return samples;
    },
  };
}

/** At most MOST_SAMPLES at equal distances, of each the largest figures of its stretch. */
function thinned(samples) {
  const stretch = Math.ceil(samples.length / MOST_SAMPLES);
  const largest = (part, key) => Math.max(...part.map((sample) => sample[key]));
  const keys = Object.keys(samples[0] ?? {});
  return Array.from({ length: Math.ceil(samples.length / stretch) }, (_, i) => {
    const part = samples.slice(i * stretch, (i + 1) * stretch);
    return Object.fromEntries(keys.map((key) => [key, largest(part, key)]));
  });
}

/** Bytes on the disk of the logs and of the checkpoints. */
function sizes() {
  const bytes = { log: 0, checkpoint: 0 };
  for (const lane of readdirSync(dataDir).filter((name) => name.startsWith('lane-'))) {
    for (const name of readdirSync(join(dataDir, lane))) {
      if (!/\.(mdb|seg)$/.test(name)) continue;
      const path = join(dataDir, lane, name);
      const size = existsSync(path) ? statSync(path).blocks * 512 : 0; // a segment may be dropped meanwhile
      bytes[name.startsWith('checkpoint') ? 'checkpoint' : 'log'] += size;
    }
  }
  return bytes;
}

/** kill -9, and where the time goes until it serves again. */
async function killAndStart() {
  server.child.kill('SIGKILL');
  await server.exited;
  const start = performance.now();
  server = await startServerProcess(dataDir, ...flags);
  const totalSeconds = (performance.now() - start) / 1_000;
  return { totalSeconds, lanes: (await statsOf(server.url)).map(({ recovery }) => recovery) };
}

async function sumOf(url, { text }, total) {
  const client = await RawClient.connect(url, 'reader');
  let sum = 0n;
  for (let from = 0; from < total; from += SAMPLE) {
    const names = Array.from({ length: Math.min(SAMPLE, total - from) }, (_, i) => text(from + i));
    sum += await new Counters(names, client.partitions).sum(client);
  }
  client.close();
  return sum;
}

function print({ perSecond, lanes, tailMost, filledBytes, memoryMost, samples, restart }) {
  const last = samples.at(-1);
  const mebi = (bytes) => `${three(bytes / MEBI)} MiB`;
  const head = [
    'lane',
    'made',
    'pages',
    'probes',
    'writes/s',
    'alone p50',
    'p99',
    'p99.9',
    'beside p50',
    'p99',
    'p99.9',
  ];
  const rows = lanes.map(({ made, pagesWritten, probesCompared, writesPerSecond, commitMicroseconds }, lane) => {
    const latencies = ['alone', 'beside'].flatMap((which) =>
      ['p50', 'p99', 'p999'].map((at) => `${three(commitMicroseconds[which][at] / 1_000)} ms`),
    );
    return [lane, made, pagesWritten, probesCompared, three(writesPerSecond), ...latencies];
  });
  console.log(`\n${rate(perSecond)} increments/s, durable, by name; tail at most ${mebi(tailMost)}`);
  console.log(`commits alone, and beside a checkpoint in the making:\n${textTable(head, rows)}`);
  console.log(`memory ${mebi(filledBytes)} when filled, at most ${mebi(memoryMost)}`);
  console.log(`on the disk ${mebi(last.log)} of log, ${mebi(last.checkpoint)} of checkpoints`);
  const { totalSeconds, lanes: recoveries } = restart;
  console.log(`\nstart after kill -9: ${three(totalSeconds)} s`);
  const restartRows = recoveries.map((recovery, lane) => [
    lane,
    mebi(recovery.pages * 65_536),
    `${three(recovery.checkpointMilliseconds / 1_000)} s`,
    mebi(recovery.bytes),
    recovery.entries,
    `${three(recovery.logMilliseconds / 1_000)} s`,
  ]);
  console.log(textTable(['lane', 'checkpoints', 'read in', 'log read', 'entries applied', 'in'], restartRows));
}

function plot({ samples, seconds: length }) {
  const series = (name, of) => ({ name, points: samples.map((sample) => [sample.seconds, of(sample) / MEBI]) });
  const all = [
    series('log on the disk', ({ log }) => log),
    series('checkpoints on the disk', ({ checkpoint }) => checkpoint),
    series('longest tail', ({ tail }) => tail),
    series('memory', ({ memory }) => memory),
  ];
  const xs = samples.map(({ seconds: at }) => at);
  const ys = all.flatMap(({ points }) => points.map(([, y]) => y));
  return lineChart(
    `${count} counters, ${length} s of full load`,
    {
      x: { label: 'seconds', ticks: fromZero(xs, String) },
      y: { label: 'MiB', ticks: fromZero(ys, String) },
    },
    all,
  );
}
