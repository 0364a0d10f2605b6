import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { encodeClasses } from '../dist/partition/classes.js';
import { Kind, Partition } from '../dist/partition/partition.js';
import { ByteReader, ByteWriter, encodeUtf8 } from '../dist/protocol/bytes.js';
import { Opcode } from '../dist/protocol/opcode.js';
import { STANDARD_ERROR } from '../dist/protocol/sketch.js';
import { encodeSee, encodeUniques } from '../dist/protocol/uniques.js';
import { compileWasm } from '../dist/wasm.js';
import { ACCURACY_HEAD, accuracyRow } from './accuracy-table.mjs';
import { describeMachine, machineFacts } from './machine.mjs';
import { progressBar } from './progress.mjs';
import { writeReport } from './report-file.mjs';
import { lineChart, powersOfTen } from './svg-plot.mjs';
import { textTable } from './table.mjs';

/**
 * How far numbers of unique items are off:   node load/accuracy.mjs
 *
 *   --runs 200        each with a fresh secret, up to --most 1000000 items
 *   --long-runs 20    of them, up to --most-long 10000000
 *   --json   --out DIR (accuracy.json and accuracy.svg)
 *
 * The real kernel sees the items, in SEE requests as they come over the wire; there is no network and no log. Items are the numbers from 0 on, in 8
 * bytes: what is fresh in each run is the key under which they are hashed. Two names see them, one of a class that is exact up to the default 256
 * and one that estimates from the first item on; beyond some thousand items their registers are the same, and one goes on alone.
 */

const { values: options } = parseArgs({
  options: {
    runs: { type: 'string', default: '200' },
    'long-runs': { type: 'string', default: '20' },
    most: { type: 'string', default: '1000000' },
    'most-long': { type: 'string', default: '10000000' },
    json: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});

const RUNS = Number(options.runs);
const LONG_RUNS = Math.min(RUNS, Number(options['long-runs']));
const MOST = Number(options.most);
const MOST_LONG = Number(options['most-long']);
const CHUNK = 10_000;
/** Up to here both names see the items. */
const MOST_BOTH = 5_000;
const THRESHOLD = 256;
/** Where a form ends, and where older estimators changed theirs: 2.5 and 5 times the registers. */
const SEAMS = [255, 256, 257, 300, 400, 700, 1_500, 1_536, 1_600, 1_700, 30_000, 40_960, 60_000, 81_920, 150_000];
const CARDINALITIES = [1, 2, 3, 4, 5, 6, 7]
  .flatMap((power) => [10 ** power, 2 * 10 ** power, 5 * 10 ** power])
  .concat(SEAMS)
  .filter((cardinality) => cardinality <= MOST_LONG)
  .sort((a, b) => a - b);

const partition = new Partition(compileWasm('kernel'));
const exactKey = { name: 'exact first' };
const sketchKey = { name: 'sketch' };

function begin() {
  partition.reset();
  partition.configure(
    {
      partition: 0,
      partitions: 1,
      secret: randomBytes(16),
      maximumPages: 1000,
      maximumProducers: 1,
      maximumOperationIds: 1,
      producerIdleMilliseconds: 1,
      operationIdMilliseconds: 1,
      windowBytes: 0,
    },
    0,
  );
  const classes = [
    { pattern: exactKey.name, uniques: THRESHOLD },
    { pattern: sketchKey.name, uniques: 0 },
  ];
  apply(Kind.CLASSIFY, encodeClasses(classes));
}

function apply(kind, body) {
  const status = partition.apply(kind, 0, 0, 0, 0, body);
  if (status !== 0) throw new Error(`Refused: ${status}.`);
}

function bodyOf(encode, value) {
  const writer = new ByteWriter();
  encode(writer, value);
  return writer.copy();
}

/** Sees the items from `from` up to `to`. The body is made once for each length: an item is the last 8 bytes of each sighting. */
function see(key, from, to) {
  for (let at = from; at < to; at += CHUNK) {
    const count = Math.min(CHUNK, to - at);
    const { body, view, first } = templateOf(key, count);
    for (let i = 0; i < count; i++) view.setUint32(first + i * SIGHTING_BYTES, at + i, true);
    apply(Opcode.SEE, body);
  }
}

/** The key of the item before, the length of the item, the item. */
const SIGHTING_BYTES = 10;
const ITEM_BYTES = 8;
const templates = new Map();

function templateOf(key, count) {
  const id = `${key.name} ${count}`;
  const known = templates.get(id);
  if (known) return known;
  const body = bodyOf(encodeSee, {
    sightings: Array.from({ length: count }, () => ({ key, item: new Uint8Array(8) })),
  });
  const head = bodyOf(encodeSee, { sightings: [{ key, item: encodeUtf8('12345678') }] }).length;
  const countBytes = bodyOf((writer) => writer.varint(count)).length;
  const template = { body, view: new DataView(body.buffer), first: head - 1 + countBytes - ITEM_BYTES };
  if (count === CHUNK) templates.set(id, template);
  return template;
}

function countOf(key) {
  if (partition.uniques(bodyOf(encodeUniques, { wanted: 'union', keys: [key] })) !== 0) throw new Error('Refused.');
  const reader = new ByteReader(partition.answer);
  if (reader.u8() !== 0) throw new Error('There is no number.');
  reader.u8();
  return reader.varint();
}

/** The relative errors of all runs at each cardinality. */
function measure(bar) {
  const errors = { exactFirst: new Map(), sketch: new Map() };
  const note = (map, key, cardinality) => {
    const list = map.get(cardinality) ?? [];
    map.set(cardinality, list);
    list.push(countOf(key) / cardinality - 1);
  };
  const done = bar.step('runs');
  for (let run = 0; run < RUNS; run++) {
    done(run, RUNS);
    begin();
    const most = run < LONG_RUNS ? MOST_LONG : MOST;
    let seen = 0;
    for (const cardinality of CARDINALITIES.filter((wanted) => wanted <= most)) {
      if (cardinality <= MOST_BOTH) {
        see(sketchKey, seen, cardinality);
        note(errors.sketch, sketchKey, cardinality);
      }
      see(exactKey, seen, cardinality);
      note(errors.exactFirst, exactKey, cardinality);
      seen = cardinality;
    }
  }
  bar.stop();
  return errors;
}

/**
 * Percent, and whether they are within what so many runs of a sketch with 0.8125% may give. Where few items are estimated, the rounding to a whole
 * number alone moves the mean by up to half an item: `rounding`.
 */
function rowsOf(errors, rounding) {
  return [...errors].map(([cardinality, list]) => {
    const runs = list.length;
    const bias = list.reduce((sum, error) => sum + error, 0) / runs;
    const deviation = Math.sqrt(list.reduce((sum, error) => sum + (error - bias) ** 2, 0) / Math.max(1, runs - 1));
    const deviationBound = 0.8125 * (1 + 3 / Math.sqrt(2 * runs));
    const biasBound = 0.05 + (3 * 0.8125) / Math.sqrt(runs) + (100 * rounding) / cardinality;
    return {
      cardinality,
      runs,
      deviation: 100 * deviation,
      deviationBound,
      bias: 100 * bias,
      biasBound,
      worst: 100 * Math.max(...list.map(Math.abs)),
      isWithin: 100 * deviation <= deviationBound && Math.abs(100 * bias) <= biasBound,
    };
  });
}

function plot({ exactFirst, sketch }) {
  const series = (name, rows, pick) => ({ name, points: rows.map((row) => [row.cardinality, pick(row)]) });
  const ticks = [-0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6, 0.8, 1, 1.2].map((value) => [value, `${value}%`]);
  const counts = exactFirst.map(({ cardinality }) => cardinality);
  return lineChart(
    'Unique items: how far the number is off',
    {
      x: { label: 'different items', ticks: powersOfTen(counts, (value) => value.toLocaleString('en')), log: true },
      y: { label: 'percent of the number', ticks },
    },
    [
      series('standard deviation, exact up to 256', exactFirst, (row) => row.deviation),
      series('standard deviation, an estimate from the start', sketch, (row) => row.deviation),
      series('at most (0.8125%, for as many runs)', exactFirst, (row) => row.deviationBound),
      series('bias, exact up to 256', exactFirst, (row) => row.bias),
      series('at most ±', exactFirst, (row) => row.biasBound),
      series('', exactFirst, (row) => -row.biasBound),
    ],
  );
}

const started = performance.now();
const errors = measure(progressBar(!options.json));
const report = {
  machine: machineFacts(tmpdir()),
  runs: RUNS,
  longRuns: LONG_RUNS,
  theory: 100 * STANDARD_ERROR,
  seconds: Math.round((performance.now() - started) / 1000),
  exactFirst: rowsOf(errors.exactFirst, 0),
  sketch: rowsOf(errors.sketch, 0.5),
};
if (options.out) writeReport(options.out, 'accuracy', report, { 'accuracy.svg': plot(report) });
if (options.json) {
  console.log(JSON.stringify(report));
} else {
  console.log(describeMachine(report.machine));
  console.log(
    `\nExact up to ${THRESHOLD} items, in ${report.seconds} s:\n\n${textTable(ACCURACY_HEAD, report.exactFirst.map(accuracyRow))}`,
  );
  console.log(`\nAn estimate from the first item on:\n\n${textTable(ACCURACY_HEAD, report.sketch.map(accuracyRow))}`);
}
if (![...report.exactFirst, ...report.sketch].every(({ isWithin }) => isWithin)) process.exitCode = 1;
