import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { Opcode } from '../dist/protocol/opcode.js';
import { Batches, DISTRIBUTIONS, ITEM_BYTES } from './batches.mjs';
import { CLASSES_HEAD, classesRow } from './classes-table.mjs';
import { closedLoop } from './closed-loop.mjs';
import { Counters } from './counters.mjs';
import { median } from './histogram.mjs';
import { describeMachine, machineFacts } from './machine.mjs';
import { random, randomNames } from './names.mjs';
import { cpuSeconds } from './process-figures.mjs';
import { progressBar } from './progress.mjs';
import { RawClient } from './raw-client.mjs';
import { writeReport } from './report-file.mjs';
import { withServer } from './server.mjs';
import { textTable } from './table.mjs';

/**
 * What it costs to keep more than totals: durable increments by name against a server without classes, one whose classes match no name, and those in
 * which all names have windows or unique items, of which each that is sent is a new one. They take turns, so that what else the machine does hits all of them.
 *
 *   npm run load:classes -- [--names 1000000] [--seconds 3] [--runs 5] [--json] [--out DIR (classes.json)]
 */
const { values } = parseArgs({
  options: {
    names: { type: 'string', default: '1000000' },
    seconds: { type: 'string', default: '3' },
    runs: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const [NAMES, SECONDS, RUNS] = [values.names, values.seconds, values.runs].map(Number);
const NAME_BYTES = 30;
const SIZE = 1_000;
const IN_FLIGHT = 16;

const CASES = [
  { name: 'no classes', classes: [] },
  { name: 'classes that match no name', classes: [{ pattern: 'nobody:*', windows: '1d' }] },
  { name: 'windows of an hour', classes: [{ pattern: '*', windows: '1h' }] },
  { name: 'windows of a day', classes: [{ pattern: '*', windows: '1d' }] },
  { name: 'unique items, each a new one', classes: [{ pattern: '*', uniques: 256 }], seesItems: true },
];

/** Sends a batch of SEE, each time with other items. */
function itemSender() {
  let item = 0;
  return (client, flags, { bytes, partitions, starts, size }, at, answered) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    // All names have the same length, and so have all sightings.
    const sightingBytes = 2 + NAME_BYTES + ITEM_BYTES;
    for (let i = 1; i <= size; i++)
      view.setUint32(starts[at + 1] - (size - i) * sightingBytes - ITEM_BYTES, item++, true);
    client.sequenced(Opcode.SEE, flags, partitions[at], bytes, starts[at], starts[at + 1], answered);
  };
}

/** One server of each case, and how to load it. */
async function withServers(cases, work, loads = []) {
  const [first, ...rest] = cases;
  if (!first) return work(loads);
  const { name, classes, seesItems = false } = first;
  process.env.TALLYSTICK_CLASSES = JSON.stringify(classes);
  return withServer(async (url, { child }) => {
    const next = random(1);
    const client = await RawClient.connect(url);
    const counters = await Counters.open(client, randomNames(NAMES, NAME_BYTES, next));
    const pick = DISTRIBUTIONS.uniform(NAMES, next);
    const shape = { size: SIZE, count: Math.ceil((2 * NAMES) / SIZE), key: 'name', pick };
    const batches = new Batches(counters, { ...shape, kind: seesItems ? 'items' : 'deltas' });
    const send = seesItems ? { send: itemSender() } : {};
    const load = () => closedLoop([client], batches, { inFlight: IN_FLIGHT, seconds: SECONDS, ...send });
    const result = await withServers(rest, work, [...loads, { name, load, pid: child.pid, runs: [] }]);
    client.close();
    return result;
  });
}

async function measure(loads) {
  const bar = progressBar(!values.json);
  const done = bar.step('rounds');
  for (let run = 0; run <= RUNS; run++) {
    done(run, RUNS + 1);
    for (const { load, pid, runs } of loads) {
      const before = cpuSeconds(pid);
      const { increments, seconds } = await load();
      const nanoseconds = ((cpuSeconds(pid) - before) * 1e9) / increments;
      // The first round is for what is new: names, windows, code
      if (run > 0) runs.push({ perSecond: increments / seconds, nanoseconds });
    }
  }
  bar.stop();
  const [first] = loads;
  return loads.map(({ name, runs }) => {
    const spread = (key) => {
      const all = runs.map((run, i) => run[key] / first.runs[i][key]);
      return { median: median(all), least: Math.min(...all), most: Math.max(...all) };
    };
    const middle = (key) => median(runs.map((run) => run[key]));
    return {
      case: name,
      perSecond: middle('perSecond'),
      throughput: spread('perSecond'),
      nanoseconds: middle('nanoseconds'),
      cost: spread('nanoseconds'),
    };
  });
}

const machine = machineFacts(tmpdir());
const report = { machine, names: NAMES, seconds: SECONDS, runs: RUNS, cases: await withServers(CASES, measure) };
if (values.json) console.log(JSON.stringify(report));
else console.log(`${describeMachine(machine)}\n\n${textTable(CLASSES_HEAD, report.cases.map(classesRow))}`);
if (values.out) writeReport(values.out, 'classes', report);
