import { ROW_HEAD, rowCells } from '../../native-bench/rows.mjs';
import { ACCURACY_HEAD, accuracyRow } from '../accuracy-table.mjs';
import { CLASSES_HEAD, classesRow } from '../classes-table.mjs';
import { FOLLOW_HEAD, followRows, stalledLines } from '../follow-table.mjs';
import { GROWTH_HEADS, growthRow } from '../growth-table.mjs';
import { HISTORY_HEAD, historyRows, SERVED_HEAD, servedRows, servedText } from '../history-table.mjs';
import { HTTP_HEAD, httpRow } from '../http-table.mjs';
import { LATENCY_HEAD, latencyRow } from '../latency.mjs';
import { describeMachine } from '../machine.mjs';
import { READ_HEAD, readRow } from '../reads.mjs';
import { SDK_HEAD, sdkRow } from '../sdk.mjs';
import { markdownTable, milliseconds, rate, three } from '../table.mjs';
import { THROUGHPUT_HEAD, throughputRow } from '../throughput.mjs';
import { printVersus } from '../versus/report.mjs';
import { TARGET_HEAD, targetRows } from './targets.mjs';

/** The parts of docs/PERFORMANCE.md that are written from the reports of the last runs; each gives Markdown. */
export const BLOCKS = {
  headline: ({ load }) => {
    const { p50, p99, p999, rate: wanted } = load.latency.find((row) => row.ack === 'durable' && row.rate === 10_000);
    const { perSecond } = load.canonical;
    return [
      `**${rate(perSecond)} durable increments a second** by name, in batches of 1,000, and one durable increment that is awaited takes **${milliseconds(p50)}** (p50; p99 ${milliseconds(p99)}, p99.9 ${milliseconds(p999)}) at ${wanted.toLocaleString('en')} a second, client and server sharing the machine.`,
      '',
      machineLine(load.machine),
    ].join('\n');
  },
  targets: (reports) => markdownTable(TARGET_HEAD, targetRows(reports)),
  latency: ({ load }) =>
    `${markdownTable(LATENCY_HEAD, load.latency.map(latencyRow))}\n\n![Latency by percentile](performance/latency.svg)`,
  throughput: ({ load }) =>
    `![Throughput by the size of batches](performance/throughput.svg)\n\n${markdownTable(THROUGHPUT_HEAD, load.throughput.map(throughputRow))}`,
  sdk: ({ load }) => markdownTable(SDK_HEAD, load.sdk.map(sdkRow)),
  reads: ({ load }) => markdownTable(READ_HEAD, load.reads.map(readRow)),
  versus: ({ versus }) =>
    `Redis ${versus.redis}. ${machineLine(versus.machine)}\n${printVersus(versus, markdownTable)}`,
  native: ({ native }) => `${machineLine(native.machine)}\n\n${markdownTable(ROW_HEAD, native.rows.map(rowCells))}`,
  profile: ({ profile }) => [machineLine(profile.machine), ...profile.cases.map(profiledCase)].join('\n\n'),
  checkpoint: ({ checkpoint }) => {
    const { counters, seconds, perSecond, samples, tailMost, tailBound } = checkpoint;
    const [half, last] = [samples[samples.length >> 1], samples.at(-1)];
    const row = (name, sample) => [name, mebibytes(sample.log), mebibytes(sample.checkpoint), mebibytes(sample.memory)];
    return [
      `${machineLine(checkpoint.machine)} ${counters.toLocaleString('en')} counters, ${seconds.toLocaleString('en')} s of full load by name: ${rate(perSecond)} durable increments a second. The longest tail of a lane was ${mebibytes(tailMost)}, its bound ${mebibytes(tailBound)}.`,
      `![Bytes on the disk and in memory](performance/checkpoint.svg)`,
      markdownTable(
        ['after', 'log', 'checkpoints', 'memory of the server'],
        [row(`${Math.round(half.seconds)} s`, half), row(`${Math.round(last.seconds)} s`, last)],
      ),
    ].join('\n\n');
  },
  restart: ({ restart: { machine, counters, restart } }) => {
    const { totalSeconds, lanes } = restart;
    const rows = lanes.map((lane, number) => [
      number,
      mebibytes(lane.pages * 65_536),
      milliseconds(lane.checkpointMilliseconds),
      mebibytes(lane.bytes),
      lane.entries.toLocaleString('en'),
      milliseconds(lane.logMilliseconds),
    ]);
    return [
      `${machineLine(machine)} ${counters.toLocaleString('en')} counters with names of 20 bytes, kill -9 under full load: ${three(totalSeconds)} s from the start of the process until it serves.`,
      markdownTable(['lane', 'checkpoints', 'read in', 'log', 'entries replayed', 'in'], rows),
    ].join('\n\n');
  },
  accuracy: ({ accuracy: { machine, theory, exactFirst, sketch } }) =>
    [
      `${machineLine(machine)} Theory says ${theory.toFixed(3)}%.`,
      '![How far the number of unique items is off](performance/accuracy.svg)',
      markdownTable(ACCURACY_HEAD, exactFirst.map(accuracyRow)),
      'Of a class with the threshold 0, which estimates from the first item on:',
      markdownTable(ACCURACY_HEAD, sketch.map(accuracyRow)),
    ].join('\n\n'),
  classes: ({ classes: { machine, names, cases } }) =>
    `${machineLine(machine)} ${names.toLocaleString('en')} names.\n\n${markdownTable(CLASSES_HEAD, cases.map(classesRow))}`,
  http: ({ http }) =>
    Object.values(http)
      .map(
        ({ machine, connections, scenarios }) =>
          `${machineLine(machine)} ${connections} connections.\n\n${markdownTable(HTTP_HEAD, scenarios.map(httpRow))}`,
      )
      .join('\n\n'),
  history: ({ history: { stored, served } }) =>
    [
      machineLine(stored.machine),
      markdownTable(HISTORY_HEAD, historyRows(stored)),
      `${machineLine(served.machine)} ${servedText(served)}`,
      markdownTable(SERVED_HEAD, servedRows(served)),
    ].join('\n\n'),
  follow: ({ follow }) =>
    [
      `${machineLine(follow.machine)} An interval of ${follow.interval} ms; of ${follow.names.toLocaleString('en')} counters written uniformly, over ${follow.rounds.length} rounds:`,
      markdownTable(
        FOLLOW_HEAD,
        follow.rounds.flatMap((round) => followRows(follow, round)),
      ),
    ].join('\n\n'),
  stalled: ({ stalled }) =>
    `${machineLine(stalled.machine)}\n\n${stalledLines(stalled)
      .map((line) => `- ${line}`)
      .join('\n')}`,
  growth: ({ growth }) =>
    [
      machineLine(growth.machine),
      ...Object.keys(GROWTH_HEADS)
        .filter((section) => growth[section])
        .map((section) =>
          markdownTable(
            GROWTH_HEADS[section],
            growth[section].map((row) => growthRow(section, row)),
          ),
        ),
    ].join('\n\n'),
};

const mebibytes = (bytes) => `${three(bytes / 2 ** 20)} MiB`;

/** Beyond it other work took part of the cores. */
const QUIET_LOAD = 0.5;

function machineLine(machine) {
  const line = `Measured ${machine.date} on ${describeMachine(machine)}.`;
  if (machine.loadBefore <= QUIET_LOAD) return line;
  return `${line} **The machine was not quiet**: other work shared its cores and its disk, so absolute figures are worse than they would be, latencies above all; what was measured in turns suffers on both sides.`;
}

function profiledCase({ title, perSecond, layers }) {
  const total = layers.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0);
  const rows = layers.map(({ name, nanoseconds }) => [
    name,
    three(nanoseconds),
    `${Math.round((100 * nanoseconds) / total)}%`,
  ]);
  const all = ['all', three(total), '100%'];
  return `${title}, ${rate(perSecond)}/s while sampled:\n\n${markdownTable(['layer', 'ns an increment', 'share'], [...rows, all])}`;
}

const BEGIN = (name) => `<!-- from the last run: ${name} -->`;
const END = '<!-- end -->';

/** The page with every block written anew. A block whose report is missing stays as it is. */
export function rewritten(page, reports) {
  return page.replace(/<!-- from the last run: (\w+) -->\n[\s\S]*?<!-- end -->/g, (whole, name) => {
    const block = BLOCKS[name];
    if (!block) throw new Error(`docs/PERFORMANCE.md asks for a block ${name}, which nothing writes.`);
    const isThere = NEEDS[name] === undefined || reports[NEEDS[name]] !== undefined;
    return isThere ? `${BEGIN(name)}\n\n${block(reports)}\n\n${END}` : whole;
  });
}

/** The report that a block is of, where not the one of its own name. */
const NEEDS = {
  headline: 'load',
  latency: 'load',
  throughput: 'load',
  sdk: 'load',
  reads: 'load',
  versus: 'versus',
  native: 'native',
  profile: 'profile',
  growth: 'growth',
  checkpoint: 'checkpoint',
  restart: 'restart',
  accuracy: 'accuracy',
  classes: 'classes',
  http: 'http',
  history: 'history',
  follow: 'follow',
  stalled: 'stalled',
};

/** All reports that the page shows. */
export const REPORTS = [...new Set(Object.values(NEEDS))];
