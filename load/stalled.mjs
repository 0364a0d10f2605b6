import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { ByteWriter } from '../dist/protocol/bytes.js';
import { decodeStatsAnswer, encodeStatsRequest } from '../dist/protocol/control.js';
import { Opcode } from '../dist/protocol/opcode.js';
import { Batches, DISTRIBUTIONS } from './batches.mjs';
import { Counters } from './counters.mjs';
import { stalledLines } from './follow-table.mjs';
import { describeMachine, machineFacts } from './machine.mjs';
import { random, randomNames } from './names.mjs';
import { probe } from './probe.mjs';
import { memoryBytes } from './process-figures.mjs';
import { RawClient } from './raw-client.mjs';
import { writeReport } from './report-file.mjs';
import { withServer } from './server.mjs';

/**
 * Readers that never read, over real sockets: what they cost the server and those that do read, and when they are cut off.
 *
 *   npm run load:stalled -- [--readers 1000] [--seconds 20] [--json] [--out DIR (stalled.json)]
 *
 * Writers write at a steady rate, to 2,000 names of 500 bytes, so that a window of 64 frames is used up soon. 100 healthy readers follow one counter, told of each
 * group; the others follow everything, each second. They read nothing from the start on, so that they cannot say that they have taken anything. A reader's limit is 30 s in which nothing more came for it: what waits at either end of its socket has not changed.
 * These are looked at in a thread of their own: listing all sockets takes the system some milliseconds, which the probes' answers would wait for. In the end each reads what has come, and
 * must find that it was cut off; the server's own count must be the same.
 * The memory without them is the most of the time before, with a checkpoint of each partition in it: writing brings those, with readers or without.
 */
const { values } = parseArgs({
  options: {
    readers: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '20' },
    json: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const READERS = Number(values.readers);
const SECONDS = Number(values.seconds);
const HEALTHY = 100;
const NAMES = 2_000;
const NAME_BYTES = 500;
/** Batches of 100 increments a second. */
const BATCHES_PER_SECOND = 100;
const BATCH = 100;
const LIMIT = 30_000;
/** After it everyone shall be gone. */
const LONGEST = 120_000;
const PROBE_MILLISECONDS = 20;
/** So little of a log that the writers come to a checkpoint within a minute. */
const TAIL_BYTES = 1_048_576;
/** For the first checkpoints to be made, at the rate of the writers. */
const CHECKPOINT_MILLISECONDS = 180_000;
const LOOK_MILLISECONDS = 250;
const LANES = 2;
process.env.TALLYSTICK_CONNECTIONS ??= String(READERS + HEALTHY + 100);
process.env.TALLYSTICK_CHECKPOINT_TAIL_BYTES ??= String(TAIL_BYTES);

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

await withServer(run, '--lanes', String(LANES), '--partitions', String(LANES));

async function run(url, { child }) {
  const next = random(1);
  const client = await RawClient.connect(url, 'stalled');
  const names = randomNames(NAMES, NAME_BYTES, next);
  const counters = await Counters.open(client, names);
  const ports = client.lanes.map(({ port }) => port);
  const place = (number) => {
    const partition = counters.partitions[number];
    return { partition, host: new URL(url).hostname, port: ports[partition], name: names[number] };
  };
  const target = place(0);
  const pick = DISTRIBUTIONS.uniform(NAMES - 1, next);
  const batches = new Batches(counters, { size: BATCH, count: 400, key: 'name', pick: () => 1 + pick() });
  const writing = writeSteadily(client, batches);
  const healthy = Array.from({ length: HEALTHY }, () => [{ ...target, names: [target.name] }]);
  const worker = new Worker(new URL('./followers.mjs', import.meta.url), {
    workerData: { followers: healthy, interval: 0, probe: target.name },
  });
  await once(worker, 'message');
  await probed(client, target, worker, 5); // until it is warm
  const memory = watchMemory(child.pid);
  await checkpointed(client);
  const before = await probed(client, target, worker, SECONDS);
  const baseline = memory.stop();

  const places = Array.from({ length: READERS }, (_, i) => {
    const lane = i % LANES;
    return { host: target.host, port: ports[lane], partition: lane, prefix: '' };
  });
  const memoryBeside = watchMemory(child.pid);
  const stalled = new Worker(new URL('./stalled-readers.mjs', import.meta.url), { workerData: { places } });
  const [connections] = await once(stalled, 'message');
  const watching = once(
    new Worker(new URL('./stalled-sockets.mjs', import.meta.url), {
      workerData: { connections, longest: LONGEST, limit: LIMIT },
    }),
    'message',
  );
  const during = await probed(client, target, worker, SECONDS);
  const [{ cutOff, left }] = await watching;
  stalled.postMessage('read');
  const [{ tooSlow, closed, frames, bytes }] = await once(stalled, 'message');
  const counted = await countedCutOff(client);
  if (tooSlow + closed !== READERS || tooSlow !== counted)
    throw new Error(`Of ${READERS} feeds ${tooSlow} ended and ${closed} connections; the server counts ${counted}.`);
  const most = memoryBeside.stop();
  writing.stop();
  await writing.ended;
  worker.postMessage({ kind: 'end' });
  client.close();

  const report = {
    machine: machineFacts(tmpdir()),
    ...{ readers: READERS, healthy: HEALTHY, written: BATCHES_PER_SECOND * BATCH },
    ...{ baselineBytes: baseline, mostBytes: most, addedBytes: most - baseline },
    ...{ before: { p50: before.p50, p99: before.p99 }, during: { p50: during.p50, p99: during.p99 } },
    ...{ sentFrames: frames, sentBytes: bytes, tooSlow, closed },
    ...{ cutOff: cutOff.length, left, latest: Math.max(0, ...cutOff.map((after) => after - LIMIT)) },
  };
  if (values.out) writeReport(values.out, 'stalled', report);
  if (values.json) console.log(JSON.stringify(report));
  else console.log(`${stalledLines(report).join('\n')}\n\n${describeMachine(report.machine)}`);
}

/** What each lane says of itself. */
async function statsOf(client) {
  const body = new ByteWriter();
  encodeStatsRequest(body);
  return (await client.requestOfLanes(Opcode.STATS, body.view())).map(decodeStatsAnswer);
}

/** Settles when each partition has a checkpoint. */
async function checkpointed(client) {
  for (const began = performance.now(); performance.now() - began < CHECKPOINT_MILLISECONDS; await sleep(1_000)) {
    const partitions = (await statsOf(client)).flatMap((stats) => stats.partitions);
    if (partitions.every(({ checkpointBytes }) => checkpointBytes > 0)) return;
  }
  throw new Error('The server made no checkpoint.');
}

/** How many feeds the server has cut off. */
async function countedCutOff(client) {
  return (await statsOf(client)).reduce((sum, { feeds }) => sum + feeds.cutOff, 0);
}

/** The most memory that a process has until it is stopped. */
function watchMemory(pid) {
  let most = memoryBytes(pid);
  const looking = setInterval(() => {
    most = Math.max(most, memoryBytes(pid));
  }, LOOK_MILLISECONDS);
  return {
    stop() {
      clearInterval(looking);
      return most;
    },
  };
}

/** Batches at a steady rate, until it is stopped. */
function writeSteadily(client, batches) {
  let isOver = false;
  const began = performance.now();
  const ended = (async () => {
    for (let sent = 0; !isOver; ) {
      for (const due = ((performance.now() - began) / 1_000) * BATCHES_PER_SECOND; sent < due; sent++) {
        const at = sent % batches.count;
        client.request(
          Opcode.ADD,
          0,
          batches.partitions[at],
          batches.bytes.slice(batches.starts[at], batches.starts[at + 1]),
          () => {},
        );
      }
      await sleep(2);
    }
  })();
  return { ended, stop: () => (isOver = true) };
}

async function probed(client, target, worker, seconds) {
  let value = 0n;
  for (let i = 0; i < (seconds * 1_000) / PROBE_MILLISECONDS; i++) {
    value = await probe(client, target, worker);
    await sleep(PROBE_MILLISECONDS);
  }
  worker.postMessage({ kind: 'report', value });
  const [message] = await once(worker, 'message');
  return message;
}
