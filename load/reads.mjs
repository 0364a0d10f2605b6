import { connect } from '../dist/client/index.js';
import { Flag } from '../dist/protocol/opcode.js';
import { Batches, DISTRIBUTIONS } from './batches.mjs';
import { closedLoop, get } from './closed-loop.mjs';
import { percentiles } from './histogram.mjs';
import { random } from './names.mjs';
import { openLoop } from './open-loop.mjs';
import { RawClient } from './raw-client.mjs';
import { milliseconds, rate } from './table.mjs';

/** The section of reads: batches in a closed loop, single ones in an open loop, alone and while everything is being written to. */

const BATCH = 100;
const IN_FLIGHT = 64;
const WRITTEN_BATCH = 1_000;
const WRITTEN_IN_FLIGHT = 16;
const RATES = [1_000, 50_000];

/** `context`: url, counters, seconds of a case, onIncrements */
export async function readRows(context, progress) {
  const { url } = context;
  const raw = await RawClient.connect(url, 'reads');
  const sdk = await connect(url, { producer: false, timeout: 60_000 });
  const cases = [
    ...['name', 'id'].flatMap((key) => [0, Flag.LATEST].map((flags) => () => batches(context, raw, key, flags))),
    ...['latest', 'durable'].flatMap((read) => RATES.map((wanted) => () => singles(context, sdk, read, wanted))),
    () => underWrites(context, raw, () => singles(context, sdk, 'durable', RATES[0], ', under full write load')),
    () => underWrites(context, raw, () => singles(context, sdk, 'latest', RATES[0], ', under full write load')),
  ];
  const rows = [];
  for (const once of cases) {
    progress(rows.length, cases.length);
    rows.push(await once());
  }
  raw.close();
  await sdk.close();
  return rows;
}

async function batches({ counters, seconds }, client, key, flags) {
  const count = Math.max(IN_FLIGHT, Math.ceil(Math.min(2e6, 8 * counters.count) / BATCH));
  const pick = DISTRIBUTIONS.uniform(counters.count, random(1));
  const made = new Batches(counters, { size: BATCH, count, key, pick, kind: 'keys' });
  const options = { inFlight: IN_FLIGHT, flags, send: get };
  await closedLoop([client], made, { ...options, seconds: seconds / 5 });
  const { increments: values, seconds: spent, histogram } = await closedLoop([client], made, { ...options, seconds });
  const case_ = `batches of ${BATCH}, by ${key}, ${flags ? 'latest' : 'durable'}`;
  return { case: case_, perSecond: Math.round(values / spent), ...percentiles(histogram) };
}

async function singles({ counters, seconds }, client, read, wanted, note = '') {
  const next = random(wanted);
  const call = () => client.get(counters.names[Math.floor(next() * counters.count)], { read });
  await openLoop(call, { rate: wanted, seconds: seconds / 5 });
  const { rate: reached, histogram, late } = await openLoop(call, { rate: wanted, seconds: seconds * 2 });
  return {
    case: `single, ${read}, ${rate(wanted)}/s${note}`,
    perSecond: Math.round(reached),
    ...percentiles(histogram),
    late99: percentiles(late).p99,
  };
}

/** Does the work while batches are written as fast as they go through. */
async function underWrites({ counters, onIncrements }, client, work) {
  const pick = DISTRIBUTIONS.uniform(counters.count, random(2));
  const count = Math.ceil(Math.min(2e6, 8 * counters.count) / WRITTEN_BATCH);
  const made = new Batches(counters, { size: WRITTEN_BATCH, count, key: 'name', pick });
  const over = new AbortController();
  const writing = closedLoop([client], made, { inFlight: WRITTEN_IN_FLIGHT, signal: over.signal });
  try {
    return await work();
  } finally {
    over.abort();
    onIncrements((await writing).increments);
  }
}

/** The last one: how late the load began calls that were due, which is in the latencies. */
export const READ_HEAD = ['reads', 'values/s', 'p50', 'p99', 'p99.9', 'begun late, p99'];

export function readRow({ case: name, perSecond, p50, p99, p999, late99 }) {
  const late = late99 === undefined ? '' : milliseconds(late99);
  return [name, rate(perSecond), milliseconds(p50), milliseconds(p99), milliseconds(p999), late];
}
