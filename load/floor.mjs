import { connect } from '../dist/client/index.js';
import { Batches, DISTRIBUTIONS } from './batches.mjs';
import { closedLoop } from './closed-loop.mjs';
import { Counters } from './counters.mjs';
import { median, percentiles } from './histogram.mjs';
import { random, randomNames } from './names.mjs';
import { cpuSeconds } from './process-figures.mjs';
import { RawClient } from './raw-client.mjs';
import { additions, addsByHandle, addsByIndex, batchCalls } from './sdk-loops.mjs';
import { withServer } from './server.mjs';

/**
 * The speed floor: durable, exactly-once increments of uniformly random names, client and server on one machine.
 *
 *   node load/floor.mjs [--names 1000000] [--seconds 5] [--runs 5] [--json]
 *
 * The cases take turns, so that what else the machine does meanwhile hits all of them: those of frames made beforehand tell what
 * the server can do in this run. The time that an increment costs on a core, in the client and in the server, swings less than
 * the rate.
 */

const NAMES = numberOption('--names', 1_000_000);
const SECONDS = numberOption('--seconds', 5);
const RUNS = numberOption('--runs', 5);
const NAME_BYTES = 20;
const IN_FLIGHT = 16;

function numberOption(name, value) {
  const at = process.argv.indexOf(name);
  return at < 0 ? value : Number(process.argv[at + 1]);
}

/** What an increment costs a process, in nanoseconds on a core. */
const cost = (pid, before, increments) => ((cpuSeconds(pid) - before) * 1e9) / increments;

/** Runs the cases in turn, RUNS times; gives the medians of each. */
async function measure(cases, server) {
  const runs = cases.map(() => []);
  for (let i = 0; i < RUNS; i++) {
    for (const [k, [, , once]] of cases.entries()) {
      const before = { client: cpuSeconds(process.pid), server: cpuSeconds(server) };
      const { increments, seconds, histogram } = await once();
      runs[k].push({
        perSecond: increments / seconds,
        ...percentiles(histogram),
        client: cost(process.pid, before.client, increments),
        server: cost(server, before.server, increments),
      });
    }
  }
  return cases.map(([name, floor], k) => {
    const middle = (key) => median(runs[k].map((run) => run[key]));
    const nanoseconds = { client: Math.round(middle('client')), server: Math.round(middle('server')) };
    return {
      case: name,
      floor,
      perSecond: Math.round(middle('perSecond')),
      p50: middle('p50'),
      p99: middle('p99'),
      nanoseconds,
    };
  });
}

await withServer(async (url, { child }) => {
  const next = random(1);
  const client = await RawClient.connect(url);
  const names = randomNames(NAMES, NAME_BYTES, next);
  const counters = await Counters.open(client, names);
  const frames = (size, key) => {
    const pick = DISTRIBUTIONS.uniform(NAMES, next);
    const batches = new Batches(counters, { size, count: Math.max(32, Math.ceil((2 * NAMES) / size)), key, pick });
    return () => closedLoop([client], batches, { inFlight: IN_FLIGHT, seconds: SECONDS });
  };
  const sdk = await connect(url, { timeout: 60_000 });
  const adding = (add, size) => () => additions(sdk, add, { count: NAMES, size, seconds: SECONDS, next });
  const batches = (options) => () =>
    batchCalls(sdk, names, { callers: IN_FLIGHT, size: 1_000, seconds: SECONDS, next, ...options });
  const byIndex = await addsByIndex(sdk, names);
  const rows = await measure(
    [
      ['frames by name, 1,000 a batch', 2e6, frames(1_000, 'name')],
      ['frames by id, 1,000 a batch', 4e6, frames(1_000, 'id')],
      ['frames by id, 10,000 a batch', 8e6, frames(10_000, 'id')],
      ['SDK batch(), 1,000 names, no values', 1e6, batches({ values: false })],
      ['SDK batch(), 1,000 names', 1e6, batches({ values: true })],
      ['SDK counters().add(), 1,000 a batch', 2e6, adding(byIndex, 1_000)],
      ['SDK counters().add(), 10,000 a batch', 4e6, adding(byIndex, 10_000)],
    ],
    child.pid,
  );
  // last, because a million handles are in the way of the others
  const byHandle = await addsByHandle(sdk, names);
  const handleRows = await measure(
    [
      ['SDK counter().add(), 1,000 a batch', 2e6, adding(byHandle, 1_000)],
      ['SDK counter().add(), 10,000 a batch', 4e6, adding(byHandle, 10_000)],
    ],
    child.pid,
  );
  rows.push(...handleRows);
  await sdk.close();
  client.close();
  if (process.argv.includes('--json')) console.log(JSON.stringify(rows));
  else {
    for (const { case: name, floor, perSecond, p50, p99, nanoseconds } of rows) {
      const speed = `${name.padEnd(36)} ${(perSecond / 1e6).toFixed(2).padStart(6)} M/s  (floor ${floor / 1e6})`;
      const latency = `p50 ${p50.toFixed(1)} ms  p99 ${p99.toFixed(1)} ms`;
      console.log(`${speed}  ${latency}  core ${nanoseconds.client} + ${nanoseconds.server} ns`);
    }
  }
});
