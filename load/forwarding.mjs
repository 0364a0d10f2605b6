import { connect } from '../dist/client/index.js';
import { Flag, Opcode } from '../dist/protocol/opcode.js';
import { Batches, DISTRIBUTIONS } from './batches.mjs';
import { closedLoop } from './closed-loop.mjs';
import { Counters } from './counters.mjs';
import { latencies, median, percentiles, record } from './histogram.mjs';
import { random, randomNames } from './names.mjs';
import { RawClient } from './raw-client.mjs';
import { withServer } from './server.mjs';
import { milliseconds, rate } from './table.mjs';

/**
 * What a hop from lane to lane costs: the same increments over connections to the owners and over one connection to another
 * lane, in turns, on one machine.
 *
 *   node load/forwarding.mjs [--rounds 10] [--seconds 2] [--json]
 */

const ROUNDS = numberOption('--rounds', 10);
const SECONDS = numberOption('--seconds', 2);
const NAMES = 100_000;
const NAME_BYTES = 20;
const BATCH = 1_000;
const IN_FLIGHT = 16;
const SINGLES = 2_000;

function numberOption(name, value) {
  const at = process.argv.indexOf(name);
  return at < 0 ? value : Number(process.argv[at + 1]);
}

/** So many increments, one after the other; their latencies are recorded. */
async function singles(increment, taken) {
  for (let i = 0; i < SINGLES; i++) {
    const sent = performance.now();
    await increment();
    record(taken, performance.now() - sent);
  }
}

/** An increment over a connection whose frames were made beforehand. */
function rawIncrement(client, batches, flags) {
  let at = 0;
  const { bytes, partitions, starts } = batches;
  return () =>
    new Promise((resolve) => {
      at = (at + 1) % batches.count;
      client.request(Opcode.ADD, flags, partitions[at], bytes.subarray(starts[at], starts[at + 1]), resolve);
    });
}

/** The increments that one lane owns, one a batch. */
function ofLane(counters, { partitions }, next) {
  const numbers = partitions.flatMap((partition) => counters.numbersOf(partition));
  const pick = () => numbers[Math.floor(next() * numbers.length)];
  return new Batches(counters, { size: 1, count: 10_000, key: 'name', pick });
}

async function measureSingles({ url, direct, indirect, counters, next }) {
  const own = ofLane(counters, direct.lanes.at(-1), next);
  const name = (i) => counters.names[i % counters.count];
  const sdks = {};
  for (const [way, isDirect] of [
    ['owner', true],
    ['forwarded', false],
  ])
    sdks[way] = await connect(url, { ack: 'applied', direct: isDirect });
  let at = 0;
  const lastLane = new Set(direct.lanes.at(-1).partitions);
  const sdkIncrement = (client) => () => {
    do at++;
    while (!lastLane.has(counters.partitions[at % counters.count]));
    return client.increment(name(at));
  };
  const cases = {
    'frames, applied': {
      owner: rawIncrement(direct, own, Flag.APPLIED),
      forwarded: rawIncrement(indirect, own, Flag.APPLIED),
    },
    'frames, durable': { owner: rawIncrement(direct, own, 0), forwarded: rawIncrement(indirect, own, 0) },
    'SDK, applied': { owner: sdkIncrement(sdks.owner), forwarded: sdkIncrement(sdks.forwarded) },
  };
  const rows = [];
  for (const [what, ways] of Object.entries(cases)) {
    const found = { owner: latencies(), forwarded: latencies() };
    for (const way of Object.keys(ways)) await singles(ways[way], latencies());
    for (let round = 0; round < ROUNDS; round++)
      for (const way of Object.keys(ways)) await singles(ways[way], found[way]);
    for (const way of Object.keys(ways)) rows.push({ what, way, ...percentiles(found[way].histogram) });
  }
  for (const sdk of Object.values(sdks)) await sdk.close();
  return rows;
}

async function measureThroughput({ direct, indirect, counters, next }) {
  const pick = DISTRIBUTIONS.uniform(NAMES, next);
  const batches = new Batches(counters, { size: BATCH, count: 400, key: 'name', pick });
  const rates = { owner: [], forwarded: [] };
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [way, client] of [
      ['owner', direct],
      ['forwarded', indirect],
    ]) {
      const { increments, seconds } = await closedLoop([client], batches, { inFlight: IN_FLIGHT, seconds: SECONDS });
      if (round > 0) rates[way].push(increments / seconds);
    }
  }
  return Object.entries(rates).map(([way, all]) => ({ way, perSecond: median(all) }));
}

await withServer(
  async (url) => {
    const next = random(1);
    const direct = await RawClient.connect(url, 'direct');
    const indirect = await RawClient.connect(url, 'indirect', false);
    const counters = await Counters.open(direct, randomNames(NAMES, NAME_BYTES, next));
    const context = { url, direct, indirect, counters, next };
    const latency = await measureSingles(context);
    const throughput = await measureThroughput(context);
    direct.close();
    indirect.close();
    if (process.argv.includes('--json')) console.log(JSON.stringify({ latency, throughput }));
    else {
      for (const { what, way, p50, p99, p999 } of latency)
        console.log(
          `${what.padEnd(16)} ${way.padEnd(10)} p50 ${milliseconds(p50)}  p99 ${milliseconds(p99)}  p99.9 ${milliseconds(p999)}`,
        );
      for (const { way, perSecond } of throughput)
        console.log(`batches of ${BATCH}  ${way.padEnd(10)} ${rate(perSecond)} increments/s`);
    }
  },
  '--lanes',
  '2',
);
