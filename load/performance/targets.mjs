import { three } from '../table.mjs';

/**
 * What the server is to reach, and what the last run says of it. `of` finds the figure in the reports (load, versus, native, growth),
 * undefined where the run does not have it.
 */

const atLeast = (bound) => ({ text: `>= ${bound}`, isMet: (value) => value >= bound });
const atMost = (bound) => ({ text: `<= ${bound}`, isMet: (value) => value <= bound });

/** The best of our contestants whose name starts so, against Redis's pipelined at its best depth. */
function bestRatio({ versus }, ours) {
  const all = versus?.batches?.ratios.filter(
    (one) => one.ours.startsWith(ours) && one.theirs === 'redis always, pipelined',
  );
  return all?.length ? Math.max(...all.map(({ ratio }) => ratio.median)) : undefined;
}

function callersRatio({ versus }, callers, figure, ours = 'tallystick durable') {
  const row = versus?.callers?.callers.find(({ setting }) => setting === callers);
  return row?.ratios.find((ratio) => ratio.ours === ours)?.[figure].median;
}

function nativeRatio({ native }, layer, start) {
  return native?.rows.findLast((row) => row.layer === layer && row.work.startsWith(start))?.ratio;
}

function throughput({ load }, wanted) {
  const matches = (row) => Object.entries(wanted).every(([key, value]) => row[key] === value);
  return load?.throughput.find(matches);
}

const read = ({ load }, start) => load?.reads.find((row) => row.case.startsWith(start));
const size = ({ versus }, counters) => versus?.sizes?.find((row) => row.counters === counters);
const grown = ({ growth }, section, key, value) => growth?.[section]?.find((row) => row[key] === value);
const millions = (perSecond) => (perSecond === undefined ? undefined : perSecond / 1e6);

const ALONE = { size: 1, key: 'id', ack: 'applied', inFlight: 1 };

const HOT = { distribution: 'one hot', key: 'id', ack: 'durable', clients: 64 };

export const TARGETS = [
  [
    'durable, by name, 1M names, best batch, times Redis always',
    atLeast(15),
    (r) => bestRatio(r, 'tallystick durable, by name'),
  ],
  ['durable, by id, times Redis always', atLeast(40), (r) => bestRatio(r, 'tallystick durable, by id')],
  ['64 callers, durable, times ioredis on Redis always', atLeast(1.3), (r) => callersRatio(r, 64, 'throughput')],
  [
    '64 callers, durable on files, times ioredis on Redis always',
    atLeast(1.3),
    (r) => callersRatio(r, 64, 'throughput', 'tallystick durable on files'),
  ],
  ['1,024 callers, durable, times ioredis on Redis always', atLeast(5), (r) => callersRatio(r, 1_024, 'throughput')],
  ["1 caller, durable, p50 in Redis always's", atMost(1.5), (r) => callersRatio(r, 1, 'p50')],
  [
    "1 caller, durable on files, p50 in Redis always's",
    atMost(1.5),
    (r) => callersRatio(r, 1, 'p50', 'tallystick durable on files'),
  ],
  ["applied, owner's connection, 1 in flight, p50 ms", atMost(0.15), (r) => throughput(r, ALONE)?.p50],
  ["applied, owner's connection, 1 in flight, p99 ms", atMost(1), (r) => throughput(r, ALONE)?.p99],
  ['kernel by name, of C with prefetching', atLeast(0.8), (r) => nativeRatio(r, 'kernel', 'by name, 1,000,000')],
  ['kernel by id, of C with prefetching', atLeast(0.6), (r) => nativeRatio(r, 'kernel', 'by id, 1,000,000')],
  [
    "whole server, by name, 1,000 a batch, applied, of its kernel's rate",
    atLeast(0.5),
    (r) => nativeRatio(r, 'server', 'by name, 1,000 a batch, applied, 1 lane'),
  ],
  [
    "whole server, by id, 1,000 a batch, applied, of its kernel's rate",
    atLeast(0.5),
    (r) => nativeRatio(r, 'server', 'by id, 1,000 a batch, applied, 1 lane'),
  ],
  [
    'reads, batches of 100, latest, by id, million/s',
    atLeast(3),
    (r) => millions(read(r, 'batches of 100, by id, latest')?.perSecond),
  ],
  ['single reads, latest, 50,000/s, p99 ms', atMost(1), (r) => read(r, 'single, latest, 50.0 K/s')?.p99],
  [
    'single reads, durable, under full write load, p99 ms',
    atMost(5),
    (r) => read(r, 'single, durable, 1.00 K/s, under')?.p99,
  ],
  ['memory a counter, 20-byte names, 1M, bytes', atMost(48), (r) => size(r, 1e6)?.tallystick.bytesPerCounter],
  ['memory a counter, 20-byte names, 10M, bytes', atMost(48), (r) => size(r, 1e7)?.tallystick.bytesPerCounter],
  ["memory a counter, 10M, of Redis's", atMost(0.6), (r) => size(r, 1e7)?.memoryRatio],
  [
    '100M counters, 12-byte names, GB',
    atMost(10),
    (r) => times(grown(r, 'counters', 'counters', 1e8)?.bytesPerCounter, 0.1),
  ],
  [
    '100M counters, of the rate with 1M, durable by name',
    atLeast(0.4),
    (r) =>
      over(grown(r, 'counters', 'counters', 1e8)?.durableByName, grown(r, 'counters', 'counters', 1e6)?.durableByName),
  ],
  ['restart, 100M counters, s', atMost(30), (r) => grown(r, 'counters', 'counters', 1e8)?.restartSeconds],
  ['restart, 10M counters, to the first answer, s', atMost(3), (r) => size(r, 1e7)?.tallystick.restartSeconds.median],
  [
    'write stall at 10M while checkpointing and growing, p99.9 ms over the quiet one',
    atMost(5),
    (r) => minus(grown(r, 'stall', 'counters', 1e7)?.busy.p999, grown(r, 'stall', 'counters', 1e7)?.quiet.p999),
  ],
  [
    'one hot counter, by id, 64 connections, million/s',
    atLeast(10),
    (r) => millions(throughput(r, { ...HOT, size: 10_000 })?.perSecond),
  ],
  [
    'one hot counter, 64 callers of one increment each, thousand/s',
    atLeast(50),
    (r) => times(throughput(r, { ...HOT, size: 1, inFlight: 64 })?.perSecond, 1e-3),
  ],
  [
    '100,000 awaiting over 1,000 clients, p99 ms (stated)',
    undefined,
    (r) => grown(r, 'connections', 'clients', 1_000)?.p99,
  ],
  [
    '2 lanes against 1, by name, applied',
    atLeast(1.7),
    (r) => nativeRatio(r, 'lanes', 'by name, 1,000 a batch, applied'),
  ],
];

function times(value, factor) {
  return value === undefined ? undefined : value * factor;
}

function minus(a, b) {
  return a === undefined || b === undefined ? undefined : a - b;
}

function over(a, b) {
  return a === undefined || b === undefined ? undefined : a / b;
}

export const TARGET_HEAD = ['', 'target', 'measured', 'met'];

export function targetRows(reports) {
  return TARGETS.map(([title, target, of]) => {
    const value = of(reports);
    if (value === undefined) return [title, target?.text ?? '', 'not measured', ''];
    return [title, target?.text ?? '', three(value), target ? (target.isMet(value) ? 'yes' : '**no**') : ''];
  });
}
