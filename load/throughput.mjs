import { Flag } from '../dist/protocol/opcode.js';
import { Batches, DISTRIBUTIONS } from './batches.mjs';
import { closedLoop } from './closed-loop.mjs';
import { median, percentiles } from './histogram.mjs';
import { random } from './names.mjs';
import { RawClient } from './raw-client.mjs';
import { fromZero, lineChart, powersOfTen } from './svg-plot.mjs';
import { milliseconds, rate } from './table.mjs';

/** The section of closed loops: how much goes through, by size of batch, key, acknowledgement, distribution and clients. */

const SIZES = [1, 100, 1_000, 10_000];
const KEYS = ['name', 'id'];
const ACKS = ['durable', 'applied'];
const CLIENTS = [1, 8, 64];
/** Batches on their way, of all clients together, and batches made beforehand. */
const IN_FLIGHT = { 1: 1_024, 100: 256, 1000: 64, 10000: 16 };
const MADE = { 1: 100_000, 100: 20_000, 1000: 2_000, 10000: 320 };

const CANONICAL = { size: 1_000, key: 'name', ack: 'durable', distribution: 'uniform', clients: 1 };

/** One request at a time: of one client, and of each of 64 at one hot counter. */
const ALONE = [
  { ...CANONICAL, size: 1, inFlight: 1 },
  { ...CANONICAL, size: 1, key: 'id', ack: 'applied', inFlight: 1 },
  { ...CANONICAL, size: 1, key: 'id', distribution: 'one hot', clients: 64, inFlight: 64 },
];

/** Every size with every key and acknowledgement; around the canonical load the rest, one thing changed at a time. */
function someCases() {
  const cases = SIZES.flatMap((size) => KEYS.flatMap((key) => ACKS.map((ack) => ({ ...CANONICAL, size, key, ack }))));
  for (const distribution of ['zipf 0.99', 'one hot']) {
    for (const key of KEYS) for (const size of [1, 1_000]) cases.push({ ...CANONICAL, key, size, distribution });
  }
  for (const clients of [8, 64]) {
    for (const key of KEYS) for (const size of [1, 1_000]) cases.push({ ...CANONICAL, key, size, clients });
  }
  const hot = { ...CANONICAL, key: 'id', distribution: 'one hot', clients: 64 };
  for (const size of [1, 1_000, 10_000]) cases.push({ ...hot, size });
  return [...cases, ...ALONE];
}

function allCases() {
  return SIZES.flatMap((size) =>
    KEYS.flatMap((key) =>
      Object.keys(DISTRIBUTIONS).flatMap((distribution) =>
        ACKS.flatMap((ack) => CLIENTS.map((clients) => ({ size, key, ack, distribution, clients }))),
      ),
    ),
  );
}

export class Throughput {
  #context;
  #clients = [];
  #made = new Map();

  /** `context`: url, counters, seconds of a case */
  constructor(context) {
    this.#context = context;
  }

  /** The canonical load: one number, the median of the runs. */
  async canonical(runs) {
    const figures = [];
    for (let i = 0; i < runs; i++) figures.push((await this.#run(CANONICAL)).perSecond);
    return { ...CANONICAL, runs: figures.map(Math.round), perSecond: Math.round(median(figures)) };
  }

  async table(isFull, progress) {
    const rows = [];
    const cases = isFull ? allCases() : someCases();
    for (const [i, one] of cases.entries()) {
      progress(i, cases.length);
      rows.push(await this.#run(one));
    }
    return rows;
  }

  async #run(one) {
    const { seconds, onIncrements } = this.#context;
    const clients = await this.#connected(one.clients);
    const batches = this.#batches(one);
    const inFlight = Math.max(1, Math.floor((one.inFlight ?? IN_FLIGHT[one.size]) / one.clients));
    const flags = one.ack === 'applied' ? Flag.APPLIED : 0;
    const warm = await closedLoop(clients, batches, { inFlight, seconds: seconds / 5, flags });
    const { increments, seconds: spent, histogram } = await closedLoop(clients, batches, { inFlight, seconds, flags });
    onIncrements(warm.increments + increments);
    return {
      ...one,
      inFlight: inFlight * one.clients,
      perSecond: Math.round(increments / spent),
      ...percentiles(histogram),
    };
  }

  async #connected(count) {
    while (this.#clients.length < count) {
      this.#clients.push(await RawClient.connect(this.#context.url, `load-${this.#clients.length}`));
    }
    return this.#clients.slice(0, count);
  }

  /** Batches are kept as long as the same ones are asked for. */
  #batches({ size, key, distribution }) {
    const { counters } = this.#context;
    const name = `${size} ${key} ${distribution}`;
    const known = this.#made.get(name);
    if (known) return known;
    if (this.#made.size > 1) this.#made.clear();
    const count = Math.min(MADE[size], Math.max(IN_FLIGHT[size], Math.ceil((8 * counters.count) / size)));
    const pick = DISTRIBUTIONS[distribution](counters.count, random(size));
    const made = new Batches(counters, { size, count, key, pick });
    this.#made.set(name, made);
    return made;
  }

  close() {
    for (const client of this.#clients) client.close();
  }
}

export const THROUGHPUT_HEAD = ['batch', 'key', 'ack', 'names', 'clients', 'in flight', 'increments/s', 'p50', 'p99'];

export function throughputRow({ size, key, ack, distribution, clients, inFlight, perSecond, p50, p99 }) {
  return [size, key, ack, distribution, clients, inFlight, rate(perSecond), milliseconds(p50), milliseconds(p99)];
}

/** Throughput by the size of batches. */
export function throughputPlot(rows) {
  const series = KEYS.flatMap((key) =>
    ACKS.map((ack) => ({
      name: `by ${key}, ${ack}`,
      points: rows
        .filter(
          (row) =>
            row.key === key &&
            row.ack === ack &&
            row.distribution === 'uniform' &&
            row.clients === 1 &&
            row.inFlight > 1,
        )
        .map(({ size, perSecond }) => [size, perSecond / 1e6])
        .sort(([a], [b]) => a - b),
    })),
  );
  const all = series.flatMap(({ points }) => points);
  return lineChart(
    'Throughput by the size of batches',
    {
      x: { label: 'operations a batch', log: true, ticks: powersOfTen(SIZES, String) },
      y: {
        label: 'million increments a second',
        ticks: fromZero(
          all.map(([, y]) => y),
          (value) => String(Number(value.toPrecision(2))),
        ),
      },
    },
    series,
  );
}
