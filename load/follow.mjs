import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { Batches, DISTRIBUTIONS } from './batches.mjs';
import { closedLoop } from './closed-loop.mjs';
import { Counters } from './counters.mjs';
import { FOLLOW_HEAD, followRows } from './follow-table.mjs';
import { describeMachine, machineFacts } from './machine.mjs';
import { random, randomNames } from './names.mjs';
import { probe } from './probe.mjs';
import { costOf, threadCpuSeconds } from './process-figures.mjs';
import { RawClient } from './raw-client.mjs';
import { writeReport } from './report-file.mjs';
import { withServerUnder } from './server.mjs';
import { textTable } from './table.mjs';

/**
 * How fast many followers are told, and what that costs those who write:
 *
 *   npm run load:follow -- [--followers 10000] [--readers 1000] [--of 1000] [--interval 1000] [--seconds 5] [--rounds 3] [--json]
 *     --profile DIR (where the server's threads spend their time, as `node --cpu-prof` writes it)
 *     --out DIR (follow.json)
 *
 * Writers write as fast as they can, out of 100,000 counters: alone, with `followers` of one counter, alone, with `readers` that follow `of` counters each, and so on
 * for so many rounds; rates are held against those alone just before. A probe increments the counter that is followed once in two intervals; the delivery
 * is from there to each follower, less the interval. All of it shares one machine.
 */
const { values } = parseArgs({
  options: {
    followers: { type: 'string', default: '10000' },
    readers: { type: 'string', default: '1000' },
    of: { type: 'string', default: '1000' },
    interval: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    names: { type: 'string', default: '100000' },
    profile: { type: 'string' },
    out: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const [FOLLOWERS, READERS, OF, INTERVAL, SECONDS, ROUNDS, NAMES] = [
  'followers',
  'readers',
  'of',
  'interval',
  'seconds',
  'rounds',
  'names',
].map((name) => Number(values[name]));
const BATCH = 1_000;
const IN_FLIGHT = 16;
const LANES = 2;
process.env.TALLYSTICK_CONNECTIONS ??= String(2 * Math.max(FOLLOWERS, READERS) + 100);

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

/** Writes for so long, with probes meanwhile. */
async function writeAlong(context, target, worker) {
  const { client, batches, pid } = context;
  let isOver = false;
  const probing = (async () => {
    for (;;) {
      const value = await probe(client, target, worker);
      if (isOver) return value;
      await sleep(2 * INTERVAL);
    }
  })();
  const before = threadCpuSeconds();
  const { result, cpuSeconds } = await costOf(pid, () =>
    closedLoop([client], batches, { inFlight: IN_FLIGHT, seconds: SECONDS }),
  );
  isOver = true;
  return {
    lastValue: await probing,
    perSecond: result.increments / result.seconds,
    serverCpu: cpuSeconds / result.seconds,
    writerCpu: (threadCpuSeconds() - before) / result.seconds,
  };
}

/** The same alone and then with followers, in a thread of their own, that have been told all values before. */
async function withFollowers(context, followers, target) {
  const alone = await writeAlong(context, target, undefined);
  const workerData = { followers, interval: INTERVAL, probe: target.name };
  const worker = new Worker(new URL('./followers.mjs', import.meta.url), { workerData });
  const began = performance.now();
  await once(worker, 'message');
  const snapshotSeconds = (performance.now() - began) / 1_000;
  const quiet = await probed(context, target, worker);
  const { lastValue, ...writing } = await writeAlong(context, target, worker);
  const busy = await report(worker, lastValue);
  worker.postMessage({ kind: 'end' });
  await once(worker, 'exit');
  context.client.close();
  const changes = busy.told / SECONDS;
  return {
    ...{ feeds: busy.feeds, snapshotSeconds, alone: alone.perSecond, aloneCpu: alone.serverCpu, changes },
    ...{ aloneWriterCpu: alone.writerCpu, readerCpu: busy.cpuSeconds / SECONDS },
    ...{ ...writing, ratio: writing.perSecond / alone.perSecond, quiet: told(quiet), busy: told(busy) },
  };
}

/** Deliveries while nobody else writes. */
async function probed({ client }, target, worker) {
  let value = 0n;
  for (let i = 0; i < 3; i++) {
    value = await probe(client, target, worker);
    await sleep(2 * INTERVAL);
  }
  return report(worker, value);
}

/** What they have been told, once all have been told a value of the probe. */
async function report(worker, value) {
  worker.postMessage({ kind: 'report', value });
  const [message] = await once(worker, 'message');
  return message;
}

/** What came, the latencies less the interval. */
function told({ frames, told: changes, bytes, delivered, p50, p99, max }) {
  const over = (latency) => Math.max(0, latency - INTERVAL);
  return { frames, changes, bytes, delivered, p50: over(p50), p99: over(p99), max: over(max) };
}

const profiling = values.profile ? ['--cpu-prof', '--cpu-prof-dir', values.profile, '--cpu-prof-interval', '1000'] : [];

/** One case on a server of its own: what nobody follows any more is watched for a minute, which those who write alone later would pay for. */
async function measure(followersOf) {
  let measured;
  const run = async (url, server) => {
    measured = await withFollowers(...(await prepare(url, server, followersOf)));
  };
  await withServerUnder(profiling, run, '--lanes', String(LANES), '--partitions', String(LANES));
  return measured;
}

async function prepare(url, { child }, followersOf) {
  const next = random(1);
  const client = await RawClient.connect(url, 'follow');
  const names = randomNames(NAMES, 20, next);
  const counters = await Counters.open(client, names);
  const { hostname: host } = new URL(url);
  const place = (number) => {
    const partition = counters.partitions[number];
    const { port } = client.lanes.find(({ partitions }) => partitions.includes(partition));
    return { name: names[number], partition, host, port };
  };
  const pick = DISTRIBUTIONS.uniform(NAMES - 1, next);
  // The probe's own counter is left alone
  const batches = new Batches(counters, {
    size: Math.min(BATCH, NAMES),
    count: 400,
    key: 'name',
    pick: () => 1 + pick(),
  });
  const context = { client, batches, pid: child.pid };
  await writeAlong(context, place(0), undefined); // until it is warm
  return [context, followersOf(place, next), place(0)];
}

const followersOfOne = (place) => Array.from({ length: FOLLOWERS }, () => [{ ...place(0), names: [place(0).name] }]);

function readersOfMany(place, next) {
  return Array.from({ length: READERS }, () => {
    const numbers = new Set([0]);
    while (numbers.size < Math.min(OF, NAMES)) numbers.add(Math.floor(next() * NAMES));
    const groups = [...grouped([...numbers].map(place)).values()];
    return groups.map((places) => ({ ...places[0], names: places.map(({ name }) => name) }));
  });
}

const machine = machineFacts(tmpdir());
const settings = { followers: FOLLOWERS, readers: READERS, of: OF, interval: INTERVAL, seconds: SECONDS, names: NAMES };
const rounds = [];
for (let round = 0; round < ROUNDS; round++) {
  const one = FOLLOWERS > 0 ? await measure(followersOfOne) : undefined;
  const many = READERS > 0 ? await measure(readersOfMany) : undefined;
  rounds.push({ one, many });
  if (values.json) continue;
  console.log(textTable(FOLLOW_HEAD, followRows(settings, rounds[round])));
  for (const each of [one, many]) if (each) console.log(cpuLine(each));
}
const result = { machine, ...settings, rounds };
if (values.json) console.log(JSON.stringify(result));
else console.log(`\n${describeMachine(machine)}; interval ${INTERVAL} ms`);
if (values.out) writeReport(values.out, 'follow', result);

/** Whose CPU time it is: all of it shares the machine. */
function cpuLine({ feeds, aloneCpu, aloneWriterCpu, serverCpu, writerCpu, readerCpu }) {
  const two = (number) => number.toFixed(2);
  return `CPUs with ${feeds.toLocaleString('en')} feeds: server ${two(aloneCpu)} -> ${two(serverCpu)}, writers ${two(aloneWriterCpu)} -> ${two(writerCpu)}, readers ${two(readerCpu)}`;
}

function grouped(places) {
  const groups = new Map();
  for (const each of places) groups.set(each.partition, [...(groups.get(each.partition) ?? []), each]);
  return groups;
}
