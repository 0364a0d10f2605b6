import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import cliProgress from 'cli-progress';
import { openSources } from './sources.mjs';

/**
 * The simulation of test/simulation, for longer than the test suite runs it:
 *
 *   npm run simulate -- [--minutes 60 | --seeds 1000] [--seed FIRST] [--json]
 *   npm run simulate -- --seed N [--trace]      one seed
 *
 * Exits with 1 at the first seed that breaks a promise.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string' },
    seeds: { type: 'string' },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});

function positive(name) {
  const number = Number(values[name]);
  if (values[name] !== undefined && !(number > 0))
    throw new Error(`--${name} is a positive number, not ${values[name]}.`);
  return values[name] === undefined ? undefined : number;
}

const minutes = positive('minutes');
const isOne = values.seed !== undefined && minutes === undefined && values.seeds === undefined;
const limit = isOne ? 1 : (positive('seeds') ?? Number.POSITIVE_INFINITY);
const deadline = performance.now() + (minutes ?? (limit === Number.POSITIVE_INFINITY ? 1 : 1e6)) * 60_000;
const firstSeed = values.seed === undefined ? randomInt(2 ** 47) : Number(values.seed);
if (!Number.isSafeInteger(firstSeed)) throw new Error(`--seed is a whole number, not ${values.seed}.`);

const sources = await openSources();
const { simulate } = await sources.ssrLoadModule('/test/simulation/simulation.ts');
const { FAULTS, addFaults, noFaults } = await sources.ssrLoadModule('/test/simulation/faults.ts');

const began = performance.now();
const total = {
  seeds: 0,
  operations: 0,
  crashes: 0,
  simulatedMilliseconds: 0,
  memoriesCompared: 0,
  uniquesCompared: 0,
  readsAtOnce: 0,
  flushesWithinCalls: 0,
  countersDropped: 0,
  checkpointsMade: 0,
  faults: noFaults(),
};
let failed;
const bar = progressBar();
for (let seed = firstSeed; total.seeds < limit && performance.now() < deadline && !failed; seed++) {
  const report = await simulate(seed, values.trace);
  total.seeds++;
  for (const key of Object.keys(total)) if (typeof report[key] === 'number') total[key] += report[key];
  addFaults(total.faults, report.faults);
  if (report.violation !== undefined) failed = report;
  if (values.trace && report.trace) console.log(report.trace.join('\n'));
  bar?.update(Math.min(share(), 1), status());
}
bar?.stop();
const seconds = (performance.now() - began) / 1_000;
if (values.json)
  console.log(JSON.stringify({ firstSeed, seconds, seedsPerSecond: total.seeds / seconds, ...total, failed }));
else print();
await sources.close();
process.exitCode = failed ? 1 : 0;

/** How far the run is, from 0 to 1. */
function share() {
  const byTime = minutes === undefined ? 0 : (performance.now() - began) / (minutes * 60_000);
  return Math.max(byTime, Number.isFinite(limit) ? total.seeds / limit : 0);
}

function status() {
  const rate = total.seeds / ((performance.now() - began) / 1_000);
  return { seeds: total.seeds, rate: rate.toFixed(1), simulated: hours(total.simulatedMilliseconds) };
}

function progressBar() {
  if (!process.stderr.isTTY || values.json || values.trace || isOne) return undefined;
  const bar = new cliProgress.SingleBar({
    stream: process.stderr,
    format: '{bar} {percentage}% {seeds} seeds, {rate} a second, {simulated} simulated',
    barsize: 24,
    gracefulExit: false,
  });
  bar.start(1, 0, status());
  return bar;
}

function hours(milliseconds) {
  return `${(milliseconds / 3_600_000).toFixed(2)} h`;
}

function print() {
  const rows = [
    ['seeds', `${total.seeds}, from ${firstSeed}`],
    ['seeds a second', (total.seeds / seconds).toFixed(1)],
    ['operations', total.operations],
    ['crashes', total.crashes],
    ['memories compared after a crash', total.memoriesCompared],
    ['numbers of unique items compared', total.uniquesCompared],
    ['durable reads that did not wait', total.readsAtOnce],
    ['groups flushed within the call', total.flushesWithinCalls],
    ['counters whose days were dropped', total.countersDropped],
    ['checkpoints made', total.checkpointsMade],
    ['simulated time', hours(total.simulatedMilliseconds)],
    ...Object.keys(FAULTS).map((fault) => [`fault: ${fault}`, total.faults[fault]]),
  ];
  for (const [label, value] of rows) console.log(`${label.padEnd(42)}${String(value).padStart(24)}`);
  if (!failed) return console.log('\nNo promise was broken.');
  console.log(`\nSeed ${failed.seed}: ${failed.violation}`);
  console.log(`Run it again with   npm run simulate -- --seed ${failed.seed} --trace`);
}
