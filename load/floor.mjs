import { connect } from '../dist/client/index.js';
import { Batches, DISTRIBUTIONS } from './batches.mjs';
import { closedLoop } from './closed-loop.mjs';
import { Counters } from './counters.mjs';
import { median, percentiles } from './histogram.mjs';
import { random, randomNames } from './names.mjs';
import { RawClient } from './raw-client.mjs';
import { batchCalls, handleAdds, openHandles } from './sdk-loops.mjs';
import { withServer } from './server.mjs';

/**
 * The speed floor: durable, exactly-once increments of uniformly random names, client and server on one machine.
 *
 *   node load/floor.mjs [--names 1000000] [--seconds 5] [--runs 5] [--json]
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

await withServer(async (url) => {
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
  let handles;
  const adds = (size) => async () => {
    handles ??= await openHandles(sdk, names);
    return handleAdds(sdk, handles, { size, seconds: SECONDS, next });
  };
  const cases = [
    ['frames by name, 1,000 a batch', 2e6, frames(1_000, 'name')],
    ['frames by id, 1,000 a batch', 4e6, frames(1_000, 'id')],
    ['frames by id, 10,000 a batch', 8e6, frames(10_000, 'id')],
    [
      'SDK batch(), 1,000 names',
      1e6,
      () => batchCalls(sdk, names, { callers: IN_FLIGHT, size: 1_000, seconds: SECONDS, next }),
    ],
    ['SDK counter().add(), 1,000 a batch', 2e6, adds(1_000)],
    ['SDK counter().add(), 10,000 a batch', 4e6, adds(10_000)],
  ];
  const rows = [];
  for (const [name, floor, once] of cases) {
    const runs = [];
    for (let i = 0; i < RUNS; i++) runs.push(await once());
    const latency = runs.map(({ histogram }) => percentiles(histogram));
    rows.push({
      case: name,
      floor,
      perSecond: Math.round(median(runs.map(({ increments, seconds }) => increments / seconds))),
      p50: median(latency.map(({ p50 }) => p50)),
      p99: median(latency.map(({ p99 }) => p99)),
    });
  }
  await sdk.close();
  client.close();
  if (process.argv.includes('--json')) console.log(JSON.stringify(rows));
  else {
    for (const { case: name, floor, perSecond, p50, p99 } of rows) {
      console.log(
        `${name.padEnd(36)} ${(perSecond / 1e6).toFixed(2).padStart(6)} M/s  (floor ${floor / 1e6})  p50 ${p50.toFixed(1)} ms  p99 ${p99.toFixed(1)} ms`,
      );
    }
  }
});
