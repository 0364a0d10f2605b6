import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { Counters } from './counters.mjs';
import { canonicalLatency, LATENCY_HEAD, latencyPlot, latencyRow, latencyRows } from './latency.mjs';
import { describeMachine, machineFacts } from './machine.mjs';
import { random, randomNames } from './names.mjs';
import { progressBar } from './progress.mjs';
import { RawClient } from './raw-client.mjs';
import { READ_HEAD, readRow, readRows } from './reads.mjs';
import { writeReport } from './report-file.mjs';
import { SDK_HEAD, sdkRow, sdkRows } from './sdk.mjs';
import { withServer } from './server.mjs';
import { milliseconds, rate, textTable } from './table.mjs';
import { THROUGHPUT_HEAD, Throughput, throughputPlot, throughputRow } from './throughput.mjs';

/**
 * The canonical load, against a server of its own:   node load/load.mjs
 *
 *   --names 1000000   counters, of 20 bytes
 *   --seconds 1.5     of each case
 *   --full            every combination instead of one thing changed at a time
 *   --quick           a tenth of the time and of the names: whether it works, not how fast
 *   --json            one JSON object instead of tables
 *   --out DIR         load.json and the plots
 *
 * Every increment that it sends is one that the counters must show in the end: else it exits with 1.
 */

const NAME_BYTES = 20;
const CANONICAL_RUNS = 5;
/** A rate is held so many times as long as a closed loop, so that its p99.9 has samples. */
const LATENCY_TIMES = 3;

const { values: options } = parseArgs({
  options: {
    names: { type: 'string' },
    seconds: { type: 'string' },
    full: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});

const seconds = positive('seconds', options.quick ? 0.15 : 1.5);
const count = positive('names', options.quick ? 100_000 : 1_000_000);

function positive(name, otherwise) {
  const value = Number(options[name] ?? otherwise);
  if (!(value > 0)) throw new Error(`--${name} is a number greater than 0, not ${options[name]}.`);
  return value;
}

const say = (text) => options.json || console.log(text);

await withServer(async (url) => {
  const machine = machineFacts(tmpdir());
  say(describeMachine(machine));
  const client = await RawClient.connect(url, 'reader');
  const counters = await Counters.open(client, randomNames(count, NAME_BYTES, random(1)));
  let sent = 0;
  const onIncrements = (increments) => {
    sent += increments;
  };
  const report = { machine, names: count, seconds, ...(await measure({ url, counters, seconds, onIncrements })) };
  const sum = await counters.sum(client);
  client.close();
  report.increments = { acknowledged: sent, counted: Number(sum) };
  if (options.json) console.log(JSON.stringify(report));
  if (options.out) {
    const plots = { 'throughput.svg': throughputPlot(report.throughput), 'latency.svg': latencyPlot(report.latency) };
    writeReport(options.out, 'load', report, plots);
  }
  const isRight = sum === BigInt(sent);
  say(`\n${sent} increments were acknowledged, the counters hold ${sum}: ${isRight ? 'right' : 'WRONG'}.`);
  if (!isRight) process.exitCode = 1;
});

/** The two numbers first, then the sections. A section is a function of the context that gives rows; that of HTTP, by autocannon, will be one more. */
async function measure(context) {
  const throughput = new Throughput(context);
  const canonical = await throughput.canonical(CANONICAL_RUNS);
  say(`\nthroughput  ${rate(canonical.perSecond)} durable increments/s (by name, batches of 1,000, uniform)`);
  const bar = progressBar(!options.json);
  const latency = await latencyRows({ ...context, seconds: seconds * LATENCY_TIMES }, bar.step('latency'));
  bar.stop();
  const { p50, p99, p999, rate: wanted } = canonicalLatency(latency);
  say(
    `latency     p50 ${milliseconds(p50)}, p99 ${milliseconds(p99)}, p99.9 ${milliseconds(p999)} (one durable increment, awaited, at ${wanted}/s)\n`,
  );
  say(textTable(LATENCY_HEAD, latency.map(latencyRow)));
  const table = await throughput.table(options.full, bar.step('throughput'));
  throughput.close();
  bar.stop();
  say(`\n${textTable(THROUGHPUT_HEAD, table.map(throughputRow))}`);
  const sdk = await sdkRows(context, bar.step('SDK'));
  bar.stop();
  say(`\n${textTable(SDK_HEAD, sdk.map(sdkRow))}`);
  const reads = await readRows(context, bar.step('reads'));
  bar.stop();
  say(`\n${textTable(READ_HEAD, reads.map(readRow))}`);
  return { canonical, latency, throughput: table, sdk, reads };
}
