import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine, machineFacts } from '../load/machine.mjs';
import { progressBar } from '../load/progress.mjs';
import { writeReport } from '../load/report-file.mjs';
import { textTable } from '../load/table.mjs';
import { codecRows } from './codec-rows.mjs';
import { kernelRows } from './kernel-rows.mjs';
import { logRows } from './log-rows.mjs';
import { buildNative, missingTools } from './native.mjs';
import { ringRows } from './ring-rows.mjs';
import { ROW_HEAD } from './rows.mjs';
import { serverRows } from './server-rows.mjs';
import { transferRows } from './transfer-rows.mjs';

/**
 * Each layer of the server beside the same work on the same bytes in C, in one run, taking turns:   node native-bench/run.mjs
 *
 *   --only kernel,codec   some layers: kernel, codec, transfer, ring, log, server
 *   --runs 5              of which the median counts
 *   --seconds 1           of each timed run
 *   --quick               small and short: whether it works, not how fast
 *   --json                one JSON object instead of the table
 *   --out DIR             native.json
 */

const LAYERS = {
  kernel: kernelRows,
  codec: codecRows,
  transfer: transferRows,
  ring: ringRows,
  log: logRows,
  server: serverRows,
};

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    runs: { type: 'string' },
    seconds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});

const missing = missingTools();
if (missing) {
  console.error(missing);
  process.exit(1);
}
const wanted = options.only?.split(',') ?? Object.keys(LAYERS);
const unknown = wanted.filter((name) => !LAYERS[name]);
if (unknown.length > 0) throw new Error(`There is no layer ${unknown.join(', ')}: ${Object.keys(LAYERS).join(', ')}.`);

buildNative();
const directory = mkdtempSync(join(tmpdir(), 'tallystick-native-'));
try {
  await run();
} finally {
  rmSync(directory, { recursive: true, force: true });
}

async function run() {
  const { quick } = options;
  const machine = machineFacts(directory);
  const bar = progressBar(!options.json);
  const rows = [];
  for (const layer of wanted) {
    const found = await LAYERS[layer]({
      directory,
      sizes: quick ? [1_000] : [64_000, 1_000_000],
      names: quick ? 10_000 : 1_000_000,
      operations: quick ? 100_000 : 4_000_000,
      runs: Number(options.runs ?? (quick ? 1 : 5)),
      seconds: Number(options.seconds ?? (quick ? 0.2 : 1)),
      progress: bar.step(layer),
    });
    bar.stop();
    rows.push(...found);
  }
  if (options.out) writeReport(options.out, 'native', { machine, rows });
  if (options.json) console.log(JSON.stringify({ machine, rows }));
  else
    console.log(
      `${describeMachine(machine)}\n\n${textTable(
        ROW_HEAD,
        rows.map(({ cells }) => cells),
      )}`,
    );
}
