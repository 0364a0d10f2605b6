import { connect } from '../dist/client/index.js';
import { percentiles } from './histogram.mjs';
import { random } from './names.mjs';
import { additions, addsByHandle, addsByIndex, batchCalls } from './sdk-loops.mjs';
import { milliseconds, rate } from './table.mjs';

/** The section of the SDK: how much an application gets through, its own work included. */

const CALLERS = 16;

/** `context`: url, counters, seconds of a case, onIncrements */
export async function sdkRows({ url, counters, seconds, onIncrements }, progress) {
  const next = random(5);
  const client = await connect(url, { timeout: 60_000 });
  const { names, count } = counters;
  const opened = new Map();
  const add = (open, size) => async () => {
    if (!opened.has(open)) {
      opened.set(open, await open(client, names));
      onIncrements(count);
    }
    return additions(client, opened.get(open), { count, size, seconds, next });
  };
  const cases = [
    ['batch(), 1,000 names', () => batchCalls(client, names, { callers: CALLERS, size: 1_000, seconds, next })],
    ['counters().add(), 1,000 a batch', add(addsByIndex, 1_000)],
    ['counters().add(), 10,000 a batch', add(addsByIndex, 10_000)],
    ['counter().add(), 1,000 a batch', add(addsByHandle, 1_000)],
    ['counter().add(), 10,000 a batch', add(addsByHandle, 10_000)],
  ];
  const rows = [];
  for (const [name, run] of cases) {
    progress(rows.length, cases.length);
    const { increments, seconds: spent, histogram } = await run();
    onIncrements(increments);
    rows.push({ case: name, perSecond: Math.round(increments / spent), ...percentiles(histogram) });
  }
  await client.close();
  return rows;
}

export const SDK_HEAD = ['SDK, durable', 'increments/s', 'p50', 'p99'];

export function sdkRow({ case: name, perSecond, p50, p99 }) {
  return [name, rate(perSecond), milliseconds(p50), milliseconds(p99)];
}
