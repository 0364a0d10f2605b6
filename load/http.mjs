import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import autocannon from 'autocannon';
import { spawnChild } from './child.mjs';
import { median } from './histogram.mjs';
import { HTTP_HEAD, httpRow } from './http-table.mjs';
import { describeMachine, machineFacts } from './machine.mjs';
import { cpuSeconds } from './process-figures.mjs';
import { progressBar } from './progress.mjs';
import { writeSections } from './report-file.mjs';
import { withServer } from './server.mjs';
import { textTable } from './table.mjs';

/**
 * Our HTTP beside Fastify's, which serves a constant from memory and so has nothing to do but HTTP. In turns, with autocannon:
 *
 *   --seconds 3        of each measurement
 *   --runs 5           of which the median counts; a ratio is that of two measurements next to each other
 *   --connections 100  each with one request on its way
 *   --requests N       so many instead of seconds: whether it works, not how fast
 *   --lanes 1          of the server
 *   --json             one JSON object instead of a table
 *   --out DIR          http.json, in which each version of Node has its own part
 */

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    runs: { type: 'string', default: '5' },
    connections: { type: 'string', default: '100' },
    requests: { type: 'string' },
    lanes: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const runs = Number(options.runs);
const connections = Number(options.connections);
const NAMES = 1_000;
const JSON_HEADERS = { 'content-type': 'application/json' };

const names = Array.from({ length: NAMES }, (_, i) => `views:${i}`);
const increments = (ack) =>
  names.map((name) => ({
    method: 'POST',
    path: '/v1/increment',
    headers: JSON_HEADERS,
    body: JSON.stringify({ name, ack }),
  }));
/** What is asked of both, and the share of Fastify's rate that ours is to reach. */
const SCENARIOS = [
  { name: 'an increment, applied', requests: increments('applied'), target: 0.7 },
  { name: 'an increment, durable', requests: increments('durable') },
  { name: 'a read', requests: names.map((name) => ({ method: 'GET', path: `/v1/counters/${name}` })), target: 1 },
];

const progress = progressBar(!options.json);
const report = { machine: machineFacts(tmpdir()), connections, runs, scenarios: [] };
if (!options.json) console.log(`${describeMachine(report.machine)}; ${connections} connections`);
const constant = await startConstant();
await withServer(
  async (_, { child, httpUrl }) => {
    const ours = { url: httpUrl, pid: child.pid };
    for (const scenario of SCENARIOS) report.scenarios.push(await compare(scenario, ours, constant));
  },
  ...['--http-port', '0', '--lanes', options.lanes],
);
process.kill(constant.pid);
progress.stop();
if (options.json) console.log(JSON.stringify(report));
else console.log(textTable(HTTP_HEAD, report.scenarios.map(httpRow)));
if (options.out) writeSections(options.out, 'http', { [process.version.split('.')[0]]: report });

async function compare({ name, requests, target }, ours, constant) {
  const step = progress.step(name);
  const measured = [];
  for (let run = 0; run < runs; run++) {
    step(run, runs);
    // Each goes first in turn, as the machine may slow down or speed up
    const both = run % 2 === 0 ? [ours, constant] : [constant, ours];
    const [first, second] = [await fire(both[0], requests), await fire(both[1], requests)];
    measured.push(run % 2 === 0 ? { ours: first, constant: second } : { ours: second, constant: first });
  }
  step(runs, runs);
  const of = (who, figure) => median(measured.map((run) => run[who][figure]));
  const ratios = measured.map(({ ours, constant }) => ours.perSecond / constant.perSecond);
  return {
    name,
    ours: of('ours', 'perSecond'),
    fastify: of('constant', 'perSecond'),
    ratio: { median: median(ratios), least: Math.min(...ratios), most: Math.max(...ratios) },
    target,
    oursMicroseconds: of('ours', 'microseconds'),
    fastifyMicroseconds: of('constant', 'microseconds'),
    p99Milliseconds: median(measured.map(({ ours }) => ours.p99)),
    requests: measured.reduce((sum, { ours }) => sum + ours.requests, 0),
  };
}

/** Fails where any answer is not a good one. */
async function fire({ url, pid }, requests) {
  const before = cpuSeconds(pid);
  const amount = options.requests === undefined ? {} : { amount: Number(options.requests) };
  const result = await autocannon({ url, connections, duration: Number(options.seconds), ...amount, requests });
  const { errors, timeouts, non2xx } = result;
  if (errors + timeouts + non2xx > 0)
    throw new Error(`${url}: ${errors} errors, ${timeouts} timeouts, ${non2xx} not 2xx.`);
  return {
    perSecond: result['2xx'] / ((result.finish.getTime() - result.start.getTime()) / 1000),
    p99: result.latency.p99,
    requests: result['2xx'],
    microseconds: ((cpuSeconds(pid) - before) * 1e6) / result['2xx'],
  };
}

async function startConstant() {
  const script = fileURLToPath(new URL('./http-constant.mjs', import.meta.url));
  const child = spawnChild(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: child.stdout }))
    return { pid: child.pid, url: `http://127.0.0.1:${line}` };
  throw new Error('Fastify ended before it was ready.');
}
