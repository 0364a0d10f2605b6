import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { ByteWriter } from '../dist/protocol/bytes.js';
import { Flag, Opcode } from '../dist/protocol/opcode.js';
import { writeNameKey } from '../dist/protocol/request.js';
import { decodeAddAnswer } from '../dist/protocol/response.js';
import { Batches, DISTRIBUTIONS } from './batches.mjs';
import { closedLoop } from './closed-loop.mjs';
import { Counters } from './counters.mjs';
import { machineFacts } from './machine.mjs';
import { random, randomNames } from './names.mjs';
import { costOf } from './process-figures.mjs';
import { RawClient } from './raw-client.mjs';
import { withServer } from './server.mjs';
import { milliseconds, rate, textTable } from './table.mjs';

/**
 * How fast many followers are told, and what that costs those who write:
 *
 *   npm run load:follow -- [--followers 10000] [--readers 1000] [--of 1000] [--interval 1000] [--seconds 10] [--json]
 *
 * Writers write as fast as they can, first alone, then with `followers` of one counter, then with `readers` that follow `of` counters each, out of 100,000. A probe
 * increments the counter that is followed once in two intervals; the delivery is from there to each follower, less the interval.
 */
const { values } = parseArgs({
  options: {
    followers: { type: 'string', default: '10000' },
    readers: { type: 'string', default: '1000' },
    of: { type: 'string', default: '1000' },
    interval: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '10' },
    names: { type: 'string', default: '100000' },
    json: { type: 'boolean', default: false },
  },
});
const [FOLLOWERS, READERS, OF, INTERVAL, SECONDS, NAMES] = [
  'followers',
  'readers',
  'of',
  'interval',
  'seconds',
  'names',
].map((name) => Number(values[name]));
const BATCH = 1_000;
const IN_FLIGHT = 16;
const LANES = 2;
process.env.TALLYSTICK_CONNECTIONS ??= String(2 * Math.max(FOLLOWERS, READERS) + 100);

const now = () => performance.timeOrigin + performance.now();
const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

/** Increments a counter and tells the followers when; resolves with its value. */
function probe(client, { name, partition }, worker) {
  const body = new ByteWriter();
  body.varint(1);
  writeNameKey(body, name);
  body.zigzag(1);
  const at = now();
  return new Promise((resolve) => {
    client.request(Opcode.ADD, Flag.VALUES, partition, body.copy(), (answer) => {
      const [value] = decodeAddAnswer(answer, 1, true).values;
      worker?.postMessage({ kind: 'sent', value, at });
      resolve(value);
    });
  });
}

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
  const { result, cpuSeconds } = await costOf(pid, () =>
    closedLoop([client], batches, { inFlight: IN_FLIGHT, seconds: SECONDS }),
  );
  isOver = true;
  return {
    lastValue: await probing,
    perSecond: result.increments / result.seconds,
    serverCpu: cpuSeconds / result.seconds,
  };
}

/** The same with followers, in a thread of their own, that have been told all values before. */
async function withFollowers(context, followers, target) {
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
  return { feeds: busy.feeds, snapshotSeconds, ...writing, quiet: told(quiet), busy: told(busy) };
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

await withServer(
  async (url, { child, dataDir }) => {
    const next = random(1);
    const client = await RawClient.connect(url, 'follow');
    const names = randomNames(NAMES, 20, next);
    const counters = await Counters.open(client, names);
    const { hostname: host } = new URL(url);
    const place = (number) => {
      const partition = counters.partitions[number];
      return {
        name: names[number],
        partition,
        host,
        port: client.lanes.find(({ partitions }) => partitions.includes(partition)).port,
      };
    };
    const target = place(0);
    const pick = DISTRIBUTIONS.uniform(NAMES - 1, next);
    // The probe's own counter is left alone
    const batches = new Batches(counters, {
      size: Math.min(BATCH, NAMES),
      count: 400,
      key: 'name',
      pick: () => 1 + pick(),
    });
    const context = { client, batches, pid: child.pid };

    await writeAlong(context, target, undefined); // until it is warm
    const { lastValue: _, ...alone } = await writeAlong(context, target, undefined);
    const ofOne = Array.from({ length: FOLLOWERS }, () => [{ ...target, names: [target.name] }]);
    const one = await withFollowers(context, ofOne, target);
    const ofMany = Array.from({ length: READERS }, () => {
      const numbers = new Set([0]);
      while (numbers.size < Math.min(OF, NAMES)) numbers.add(Math.floor(next() * NAMES));
      const byPartition =
        Map.groupBy?.([...numbers].map(place), ({ partition }) => partition) ?? grouped([...numbers].map(place));
      return [...byPartition.values()].map((places) => ({ ...places[0], names: places.map(({ name }) => name) }));
    });
    const many = await withFollowers(context, ofMany, target);
    client.close();
    const report = {
      machine: machineFacts(dataDir),
      ...{ followers: FOLLOWERS, readers: READERS, of: OF, interval: INTERVAL, seconds: SECONDS },
      ...{ alone, one, many },
    };
    if (values.json) console.log(JSON.stringify(report));
    else print(report);
  },
  '--lanes',
  String(LANES),
  '--partitions',
  String(LANES),
);

function grouped(places) {
  const groups = new Map();
  for (const each of places) groups.set(each.partition, [...(groups.get(each.partition) ?? []), each]);
  return groups;
}

function print({ alone, one, many, machine }) {
  const row = (what, { perSecond, serverCpu, feeds = 0, snapshotSeconds = 0, quiet, busy }) => [
    what,
    String(feeds),
    feeds === 0 ? '-' : `${snapshotSeconds.toFixed(1)} s`,
    quiet ? milliseconds(quiet.p99) : '-',
    busy ? `${milliseconds(busy.p50)} / ${milliseconds(busy.p99)}` : '-',
    busy ? String(busy.changes) : '-',
    `${rate(perSecond)}/s`,
    serverCpu.toFixed(2),
  ];
  const head = [
    '',
    'feeds',
    'snapshots',
    'p99 over interval, quiet',
    'p50 / p99, writers',
    'changes told',
    'writers',
    'server CPUs',
  ];
  console.log(
    textTable(head, [
      row('alone', alone),
      row(`${FOLLOWERS} of one counter`, one),
      row(`${READERS} of ${OF} counters`, many),
    ]),
  );
  console.log(
    `\n${machine.processor}, ${machine.cores} cores, load before ${machine.loadBefore}; interval ${INTERVAL} ms`,
  );
}
