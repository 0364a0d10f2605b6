import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { applyPatch, readPatches } from './patches.mjs';

/**
 * Plants each bug in a copy of the tree and sees what is named beside it turn red:
 *
 *   npm run planted -- [--json] [NAME …]      only the patches whose names have that in them
 *
 * What is to notice the bugs must be green without them first. Exits with 1 if it is not, or a bug goes unnoticed.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false } },
});
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PARTS = [
  'bin',
  'dist',
  'load',
  'ops',
  'scripts',
  'src',
  'test',
  'asconfig.json',
  'package.json',
  'protocol.md',
  'tsconfig.json',
  'tsconfig.build.json',
  'vitest.config.ts',
];
/** What these run comes from dist, so that a patch needs a build there. */
const FROM_DIST = /^test\/(integration|cli|repair|repartition|verify)\/|threads\.test\.ts$/;

const patches = readPatches().filter(
  ({ name }) => positionals.length === 0 || positionals.some((part) => name.includes(part)),
);
if (patches.length === 0) throw new Error(`No planted bug has ${positionals.join(' or ')} in its name.`);

const rows = [];
const isSound = await isGreenUnpatched();
if (isSound) for (const patch of patches) rows.push(await tryPatch(patch));
const missed = rows.filter(({ result }) => result !== 'caught');
if (values.json) console.log(JSON.stringify({ sound: isSound, bugs: rows }));
else if (isSound) console.log(`\n${rows.length - missed.length} of ${rows.length} bugs were caught.`);
process.exitCode = isSound && missed.length === 0 ? 0 : 1;

async function isGreenUnpatched() {
  return inCopy(async (copy) => {
    let isGreen = true;
    // Of the simulation the longest run is enough, since it has the seeds of the others too.
    const reds = [...new Set(patches.map(({ red }) => red))];
    const seeds = Math.max(0, ...reds.filter(isSimulation).map(seedsOf));
    for (const red of [...reds.filter((red) => !isSimulation(red)), ...(seeds > 0 ? [`simulation ${seeds}`] : [])]) {
      const { outcome, detail } = await judge(copy, red);
      if (outcome !== 'green') isGreen = false;
      say(outcome === 'green' ? 'green' : `NOT GREEN (${detail})`, 'without a bug', red);
    }
    return isGreen;
  });
}

async function tryPatch(patch) {
  const { name, red, file } = patch;
  return inCopy(async (copy) => {
    const path = join(copy, file);
    writeFileSync(path, applyPatch(patch, readFileSync(path, 'utf8')));
    const built = await build(copy, file, red);
    const { outcome, detail } = built === undefined ? await judge(copy, red) : { outcome: 'broken', detail: built };
    const result = outcome === 'red' ? 'caught' : outcome === 'green' ? 'MISSED' : `BROKEN (${detail})`;
    say(result, name, red, outcome === 'red' ? detail : '');
    return { ...patch, hunks: undefined, result, detail };
  });
}

/** Compiles what the patch is in, where it runs compiled; the error, if any. A bug that does not compile proves nothing. */
async function build(copy, file, red) {
  const script = FROM_DIST.test(red) ? 'build' : file.startsWith('src/kernel/') ? 'build:kernel' : undefined;
  if (!script) return undefined;
  const { code, output } = await run(copy, 'npm', ['run', '--silent', script]);
  return code === 0 ? undefined : `${script}: ${lastLine(output)}`;
}

/** `red` if a test failed, `green` if all passed, `broken` if they could not be run. */
async function judge(copy, red) {
  return isSimulation(red) ? judgeSimulation(copy, seedsOf(red)) : judgeTests(copy, red.split(' '));
}

async function judgeSimulation(copy, seeds) {
  const { output } = await run(copy, process.execPath, [
    'scripts/simulate.mjs',
    '--seed',
    '1',
    '--seeds',
    String(seeds),
    '--json',
  ]);
  const report = parse(output.split('\n').find((line) => line.startsWith('{"firstSeed"')));
  if (!report) return { outcome: 'broken', detail: lastLine(output) };
  const { failed } = report;
  return failed
    ? { outcome: 'red', detail: `seed ${failed.seed}: ${failed.violation.split('\n')[0]}` }
    : { outcome: 'green' };
}

async function judgeTests(copy, files) {
  const out = join(copy, 'report.json');
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const { output } = await run(copy, process.execPath, [
    vitest,
    'run',
    '--reporter=json',
    `--outputFile=${out}`,
    ...files,
  ]);
  const report = existsSync(out) ? parse(readFileSync(out, 'utf8')) : undefined;
  const tests = report?.testResults.flatMap(({ assertionResults }) => assertionResults) ?? [];
  if (tests.length === 0) return { outcome: 'broken', detail: lastLine(output) };
  const failed = tests.find(({ status }) => status === 'failed');
  return failed
    ? { outcome: 'red', detail: failed.fullName }
    : { outcome: report.success ? 'green' : 'broken', detail: lastLine(output) };
}

async function inCopy(use) {
  const copy = mkdtempSync(join(tmpdir(), 'tallystick-planted-'));
  try {
    for (const part of PARTS) cpSync(join(ROOT, part), join(copy, part), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
    return await use(copy);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

function run(cwd, program, args) {
  return new Promise((resolve) => {
    execFile(program, args, { cwd, maxBuffer: 2 ** 28 }, (error, stdout, stderr) => {
      resolve({ code: error ? 1 : 0, output: `${stderr}${stdout}` });
    });
  });
}

function parse(json) {
  try {
    return JSON.parse(json);
  } catch {
    return undefined; // cut off, or never written
  }
}

function isSimulation(red) {
  return red.startsWith('simulation ');
}

function seedsOf(red) {
  return Number(red.split(' ')[1]);
}

function lastLine(output) {
  return output.trim().split('\n').at(-1) ?? '';
}

function say(result, name, red, detail = '') {
  if (!values.json) console.log(`${result.padEnd(10)} ${name.padEnd(34)} ${red.padEnd(40)} ${detail}`);
}
