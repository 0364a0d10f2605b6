import { connect } from '../dist/client/index.js';
import { curve, percentiles } from './histogram.mjs';
import { random } from './names.mjs';
import { openLoop } from './open-loop.mjs';
import { lineChart, powersOfTen } from './svg-plot.mjs';
import { milliseconds, rate, three } from './table.mjs';

/** The section of open loops: what one awaited increment takes at fixed rates, through the SDK. */

const RATES = [1_000, 10_000, 50_000];
const ACKS = ['durable', 'applied'];
/** The rate of the canonical load. */
const CANONICAL_RATE = 10_000;

/** `context`: url, counters, seconds of a rate, onIncrements */
export async function latencyRows({ url, counters, seconds, onIncrements }, progress) {
  const next = random(3);
  const rows = [];
  for (const ack of ACKS) {
    const client = await connect(url, { ack, timeout: 60_000 });
    const call = () => client.increment(counters.names[Math.floor(next() * counters.count)]);
    for (const wanted of RATES) {
      progress(rows.length, RATES.length * ACKS.length);
      const warm = await openLoop(call, { rate: wanted, seconds: seconds / 5 });
      const { calls, rate: reached, histogram } = await openLoop(call, { rate: wanted, seconds });
      onIncrements(warm.calls + calls);
      rows.push({
        ack,
        rate: wanted,
        reached: Math.round(reached),
        ...percentiles(histogram),
        curve: curve(histogram),
      });
    }
    await client.close();
  }
  return rows;
}

export function canonicalLatency(rows) {
  return rows.find(({ ack, rate: wanted }) => ack === 'durable' && wanted === CANONICAL_RATE);
}

export const LATENCY_HEAD = ['ack', 'wanted/s', 'reached/s', 'p50', 'p90', 'p99', 'p99.9', 'max'];

export function latencyRow({ ack, rate: wanted, reached, ...at }) {
  return [
    ack,
    rate(wanted),
    rate(reached),
    ...['p50', 'p90', 'p99', 'p999', 'max'].map((name) => milliseconds(at[name])),
  ];
}

/** Latency by percentile, the nines spread evenly. */
export function latencyPlot(rows) {
  const series = rows.map((row) => ({ name: `${row.ack}, ${rate(row.rate)}/s`, points: row.curve }));
  const all = series.flatMap(({ points }) => points);
  const nines = Math.max(1, Math.ceil(Math.max(...all.map(([x]) => x))));
  const percentile = (n) => (n === 0 ? '0' : `${100 * (1 - 10 ** -n)}`.slice(0, n + 1 + (n > 2 ? 1 : 0)));
  return lineChart(
    'Latency of one increment, from the time it was due',
    {
      x: { label: 'percentile', ticks: Array.from({ length: nines + 1 }, (_, n) => [n, percentile(n)]) },
      y: {
        label: 'milliseconds',
        log: true,
        ticks: powersOfTen(
          all.map(([, y]) => y),
          three,
        ),
      },
    },
    series,
  );
}
