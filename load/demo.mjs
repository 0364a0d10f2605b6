import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import cliProgress from 'cli-progress';
import { build } from 'hdr-histogram-js';
import { connect } from '../dist/client/index.js';
import { random, zipf } from './names.mjs';
import { startServerProcess } from './server.mjs';

/**
 * The promise in one run: a million increments of 100,000 counters, the server killed with -9 in the middle, and every
 * counter is right.   node load/demo.mjs [--json]
 */

const INCREMENTS = 1_000_000;
const COUNTERS = 100_000;
const SKEW = 0.99;
const CALLERS = 2_000;
const READ_AT_A_TIME = 5_000;

const json = process.argv.includes('--json');
const dataDir = mkdtempSync(join(tmpdir(), 'tallystick-demo-'));
const expected = new Map();
const latency = build({
  lowestDiscernibleValue: 1,
  highestTrackableValue: 60_000_000,
  numberOfSignificantValueDigits: 3,
});
const bar = new cliProgress.SingleBar({
  format: 'increments [{bar}] {percentage}% | {value}/{total} | {note}',
  stream: process.stderr,
});
const say = (text) => json || console.log(text);

try {
  const report = await run();
  if (json) console.log(JSON.stringify(report));
  else print(report);
  process.exitCode = report.wrong === 0 ? 0 : 1;
} finally {
  rmSync(dataDir, { recursive: true, force: true });
}

async function run() {
  let server = await startServerProcess(dataDir);
  const port = new URL(server.url).port;
  say(`A server runs as process ${server.child.pid}, its data in ${dataDir}.`);
  const client = await connect(server.url, { timeout: 60_000 });

  let recovery;
  const started = performance.now();
  const killAndRestart = async () => {
    server.child.kill('SIGKILL');
    await server.exited;
    const before = performance.now();
    server = await startServerProcess(dataDir, '--port', port);
    recovery = performance.now() - before;
  };
  let restart;
  await increment(client, () => {
    restart = killAndRestart();
  });
  await restart;
  const seconds = (performance.now() - started) / 1000;

  const actual = await readAll(client);
  const repeated = client.statistics.repeated;
  await client.close();
  server.child.kill('SIGTERM');
  await server.exited;
  const wrong = [...expected].filter(([name, value]) => actual.get(name) !== value);
  return {
    increments: INCREMENTS,
    counters: expected.size,
    expectedSum: String(sum(expected.values())),
    actualSum: String(sum(actual.values())),
    wrong: wrong.length,
    incrementsPerSecond: Math.round(INCREMENTS / seconds),
    milliseconds: { p50: at(50), p99: at(99), max: at(100) },
    repeatedBatches: repeated,
    recoveryMilliseconds: Math.round(recovery),
  };
}

/** Many callers, each awaiting one increment after the other. In the middle the server is killed. */
async function increment(client, halfway) {
  const next = random(42);
  const pick = zipf(COUNTERS, SKEW, next);
  const isShown = process.stderr.isTTY === true && !json;
  let begun = 0;
  let done = 0;
  if (isShown) bar.start(INCREMENTS, 0, { note: 'durable' });
  const caller = async () => {
    while (begun < INCREMENTS) {
      begun++;
      const name = `views:/article/${pick()}`;
      expected.set(name, (expected.get(name) ?? 0n) + 1n);
      const sent = performance.now();
      await client.increment(name);
      latency.recordValue(Math.round((performance.now() - sent) * 1000));
      done++;
      if (isShown && done % 1000 === 0) bar.update(done);
      if (done === INCREMENTS / 2) {
        if (isShown) bar.update(done, { note: 'kill -9, and on' });
        halfway();
      }
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  if (isShown) bar.stop();
}

async function readAll(client) {
  const names = [...expected.keys()];
  const actual = new Map();
  for (let from = 0; from < names.length; from += READ_AT_A_TIME) {
    for (const { name, value } of await client.read(names.slice(from, from + READ_AT_A_TIME))) actual.set(name, value);
  }
  return actual;
}

function sum(values) {
  let total = 0n;
  for (const value of values) total += value;
  return total;
}

function at(percentile) {
  return latency.getValueAtPercentile(percentile) / 1000;
}

function print(report) {
  const { milliseconds } = report;
  const rows = [
    ['increments awaited', report.increments],
    ['counters', report.counters],
    ['expected sum', report.expectedSum],
    ['actual sum', report.actualSum],
    ['counters that are wrong', report.wrong],
    ['increments/s, the kill included', report.incrementsPerSecond],
    ['latency p50 / p99 / max', `${milliseconds.p50} / ${milliseconds.p99} / ${milliseconds.max} ms`],
    ['batches sent again and recognised', report.repeatedBatches],
    ['restart, from kill to ready', `${report.recoveryMilliseconds} ms`],
  ];
  for (const [label, value] of rows) console.log(`${label.padEnd(36)}${String(value).padStart(28)}`);
  console.log(report.wrong === 0 ? '\nEvery counter is exactly right.' : '\nCOUNTERS ARE WRONG. Please report this.');
}
