import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Flag } from '../dist/protocol/opcode.js';
import { Batches, DISTRIBUTIONS } from './batches.mjs';
import { closedLoop } from './closed-loop.mjs';
import { Counters } from './counters.mjs';
import { cpuProfileShares } from './cpu-profile.mjs';
import { describeMachine, machineFacts } from './machine.mjs';
import { random, randomNames } from './names.mjs';
import { RawClient } from './raw-client.mjs';
import { writeReport } from './report-file.mjs';
import { startServerUnder } from './server.mjs';
import { textTable, three } from './table.mjs';

/**
 * Where a nanosecond goes: the threads of the lanes sampled under load, self times by layer:   node load/profile.mjs
 *
 *   --names 1000000  --seconds 3  --functions (the ten most expensive functions of each case)  --json
 *   --out DIR (profile.json)
 *
 * Flushing itself is not in it: it happens on threads of libuv's pool, which are not sampled.
 */

const CASES = [
  { title: 'by name, 1,000 a batch, durable', key: 'name', size: 1_000, clients: 8, inFlight: 8, flags: 0 },
  { title: 'by id, 1,000 a batch, applied', key: 'id', size: 1_000, clients: 8, inFlight: 8, flags: Flag.APPLIED },
  { title: 'by id, 10,000 a batch, durable', key: 'id', size: 10_000, clients: 8, inFlight: 2, flags: 0 },
  { title: 'by name, 1 a batch, durable', key: 'name', size: 1, clients: 32, inFlight: 32, flags: 0 },
  { title: 'by name, 1 a batch, applied', key: 'name', size: 1, clients: 32, inFlight: 32, flags: Flag.APPLIED },
];
const NAME_BYTES = 20;
const SHOWN_FUNCTIONS = 10;

const { values: options } = parseArgs({
  options: {
    names: { type: 'string', default: '1000000' },
    seconds: { type: 'string', default: '3' },
    functions: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const seconds = Number(options.seconds);
const names = randomNames(Number(options.names), NAME_BYTES, random(1));
const machine = machineFacts(tmpdir());
if (!options.json) console.log(describeMachine(machine));
const cases = [];
for (const one of CASES) {
  const profiled = await profile(one);
  cases.push(profiled);
  if (!options.json) print(profiled);
}
const report = { machine, names: names.length, seconds, cases };
if (options.json) console.log(JSON.stringify(report));
if (options.out) writeReport(options.out, 'profile', report);

async function profile(one) {
  const directory = mkdtempSync(join(tmpdir(), 'tallystick-profile-'));
  const profiles = join(directory, 'profiles');
  try {
    const flags = ['--cpu-prof', '--cpu-prof-dir', profiles, '--cpu-prof-interval', '500'];
    const server = await startServerUnder(flags, join(directory, 'data'));
    const { increments, seconds: spent, window } = await load(server, one);
    server.child.kill('SIGTERM');
    await server.exited;
    const threads = readdirSync(profiles).map((file) => JSON.parse(readFileSync(join(profiles, file), 'utf8')));
    const { layers, functions } = cpuProfileShares(threads, window);
    const per = ([name, microseconds]) => ({ name, nanoseconds: (microseconds * 1_000) / increments });
    return {
      title: one.title,
      perSecond: Math.round(increments / spent),
      layers: [...layers].map(per),
      functions: [...functions].map(per).slice(0, SHOWN_FUNCTIONS),
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** `window`: when the load ran, in the milliseconds of the system's clock. */
async function load({ url }, { key, size, clients: count, inFlight, flags }) {
  const clients = [];
  while (clients.length < count) clients.push(await RawClient.connect(url, `profile-${clients.length}`));
  const counters = await Counters.open(clients[0], names);
  const made = Math.max(count * inFlight, Math.min(100_000, Math.ceil(2e6 / size)));
  const pick = DISTRIBUTIONS.uniform(counters.count, random(2));
  const batches = new Batches(counters, { size, count: made, key, pick });
  await closedLoop(clients, batches, { inFlight, seconds: seconds / 3, flags });
  const from = Number(process.hrtime.bigint() / 1_000n);
  const result = await closedLoop(clients, batches, { inFlight, seconds, flags });
  const window = { from, to: Number(process.hrtime.bigint() / 1_000n) };
  for (const client of clients) client.close();
  return { ...result, window };
}

function print({ title, perSecond, layers, functions }) {
  const total = layers.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0);
  const row = ({ name, nanoseconds }) => [name, three(nanoseconds), `${Math.round((100 * nanoseconds) / total)}%`];
  console.log(`\n${title}: ${(perSecond / 1e6).toFixed(2)} M/s while sampled`);
  console.log(textTable(['layer', 'ns an increment', 'share'], [...layers.map(row), ['all', three(total), '100%']]));
  if (options.functions) console.log(textTable(['function', 'ns an increment', 'share'], functions.map(row)));
}
