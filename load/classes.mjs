import { parseArgs } from 'node:util';
import { Batches, DISTRIBUTIONS } from './batches.mjs';
import { closedLoop } from './closed-loop.mjs';
import { Counters } from './counters.mjs';
import { median } from './histogram.mjs';
import { random, randomNames } from './names.mjs';
import { cpuSeconds } from './process-figures.mjs';
import { RawClient } from './raw-client.mjs';
import { withServer } from './server.mjs';

/**
 * What it costs to keep more than totals: durable increments by name against a server without classes, one whose classes match no
 * name, and one in which all names have windows. The three take turns, so that what else the machine does hits all of them.
 *
 *   npm run load:classes -- [--names 1000000] [--seconds 3] [--runs 5] [--json]
 */
const { values } = parseArgs({
  options: {
    names: { type: 'string', default: '1000000' },
    seconds: { type: 'string', default: '3' },
    runs: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
  },
});
const [NAMES, SECONDS, RUNS] = [values.names, values.seconds, values.runs].map(Number);
const NAME_BYTES = 30;
const SIZE = 1_000;
const IN_FLIGHT = 16;

const CASES = [
  ['no classes', []],
  ['classes that match no name', [{ pattern: 'nobody:*', windows: '1d' }]],
  ['windows of an hour for all names', [{ pattern: '*', windows: '1h' }]],
  ['windows of a day for all names', [{ pattern: '*', windows: '1d' }]],
];

/** One server of each case, and how to load it. */
async function withServers(cases, work, loads = []) {
  const [first, ...rest] = cases;
  if (!first) return work(loads);
  const [name, classes] = first;
  process.env.TALLYSTICK_CLASSES = JSON.stringify(classes);
  await withServer(async (url, { child }) => {
    const next = random(1);
    const client = await RawClient.connect(url);
    const counters = await Counters.open(client, randomNames(NAMES, NAME_BYTES, next));
    const pick = DISTRIBUTIONS.uniform(NAMES, next);
    const batches = new Batches(counters, { size: SIZE, count: Math.ceil((2 * NAMES) / SIZE), key: 'name', pick });
    const load = () => closedLoop([client], batches, { inFlight: IN_FLIGHT, seconds: SECONDS });
    await withServers(rest, work, [...loads, { name, load, pid: child.pid, runs: [] }]);
    client.close();
  });
}

await withServers(CASES, async (loads) => {
  for (let run = 0; run <= RUNS; run++) {
    for (const { load, pid, runs } of loads) {
      const before = cpuSeconds(pid);
      const { increments, seconds } = await load();
      // The first round is for what is new: names, windows, code
      if (run > 0)
        runs.push({ perSecond: increments / seconds, core: ((cpuSeconds(pid) - before) * 1e9) / increments });
    }
  }
  const rows = loads.map(({ name, runs }) => {
    const middle = (key) => median(runs.map((run) => run[key]));
    const ratios = runs.map((run, i) => run.perSecond / loads[0].runs[i].perSecond);
    return {
      case: name,
      perSecond: Math.round(middle('perSecond')),
      ratio: median(ratios),
      nanoseconds: Math.round(middle('core')),
    };
  });
  if (values.json) console.log(JSON.stringify(rows));
  else {
    for (const { case: name, perSecond, ratio, nanoseconds } of rows) {
      const speed = `${(perSecond / 1e6).toFixed(2).padStart(6)} M/s  x${ratio.toFixed(2)}`;
      console.log(`${name.padEnd(36)} ${speed}  ${nanoseconds} ns of the server's cores`);
    }
  }
});
