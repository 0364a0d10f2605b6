import { parseArgs } from 'node:util';
import { damageCases } from './damage-cases.mjs';
import { progressBar } from './progress.mjs';
import { textTable } from './table.mjs';

/**
 * Flipped bits and truncations, each in a copy of a real data directory:   npm run damage
 *
 *   --flips 1000  --truncations 200  --repairs 50 (as many of the cases, where they are refused)  --seed 1  --log lmdb  --json
 *
 * Exits with 1 if a server served what it should not, crashed, or a repair did not lead to a sound directory.
 */

const { values } = parseArgs({
  options: {
    flips: { type: 'string', default: '1000' },
    truncations: { type: 'string', default: '200' },
    repairs: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    log: { type: 'string', default: 'lmdb' },
    json: { type: 'boolean', default: false },
  },
});
const [flips, truncations, repairs, seed] = ['flips', 'truncations', 'repairs', 'seed'].map((key) => {
  const number = Number(values[key]);
  if (!Number.isSafeInteger(number) || number < 0) throw new Error(`--${key} is a whole number, not ${values[key]}.`);
  return number;
});

const bar = progressBar(!values.json);
const step = bar.step('cases');
step(0, flips + truncations);
const report = await damageCases({
  flips,
  truncations,
  repairs,
  seed,
  log: values.log,
  onCase: ({ number }, total) => step(number + 1, total),
});
bar.stop();
if (values.json) console.log(JSON.stringify(report));
else print(report);
process.exitCode = report.bad.length > 0 ? 1 : 0;

function print({ cases, files, repaired, bad }) {
  const outcomes = ['cases', 'refused', 'found', 'harmless', 'WRONG', 'CRASHED'];
  const rows = Object.entries(files).map(([file, row]) => [file, ...outcomes.map((outcome) => String(row[outcome]))]);
  console.log(`${cases} cases, seed ${seed}: refused at start; served as before, and found by verify or harmless`);
  console.log(textTable(['file', ...outcomes], rows));
  console.log(`repairs: ${JSON.stringify(repaired)}`);
  for (const one of bad) console.log(JSON.stringify(one));
  console.log(
    bad.length === 0 ? 'Nothing wrong was served, and no server crashed.' : 'SOMETHING IS WRONG. Please report this.',
  );
}
