import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect } from '../dist/client/index.js';
import { spawnChild } from './child.mjs';
import { random } from './names.mjs';

/**
 * One damage at a time to a copy of a real data directory: the server must refuse it, or have exactly what it had. Where it
 * starts, `verify` is asked as well; of what was refused, some are repaired.
 */

const PROGRAM = fileURLToPath(new URL('../bin/tallystick.cjs', import.meta.url));
const SHAPE = ['--lanes', '2', '--partitions', '4'];
/** Several segments and checkpoints in a few megabytes. */
const SMALL = { logSegmentBytes: 65_536, checkpointTailBytes: 100_000 };
const ROUNDS = 50;
/** For a busy machine; no case waits so long where all is well. */
const TIMEOUT_MILLISECONDS = 240_000;

/**
 * @param log what the log is kept in
 * @param onCase is told each case as it is done
 * @returns for each kind of file how its cases came out, and what must not have happened, by case
 */
export async function damageCases({ flips, truncations, repairs, seed, log = 'lmdb', onCase = () => {} }) {
  const root = mkdtempSync(join(tmpdir(), 'tallystick-damage-'));
  try {
    const original = join(root, 'original');
    const configFile = join(root, 'config.json');
    writeFileSync(configFile, JSON.stringify({ ...SMALL, log }));
    const server = new Servers(configFile);
    const truth = await fillDirectory(server, original);
    const next = random(seed);
    const total = flips + truncations;
    const cases = [];
    let repaired = 0;
    for (let number = 0; number < total; number++) {
      const damage = pickDamage(original, number < flips ? 'flip' : 'truncation', next);
      // Spread over all of them, since what is refused comes in no order: where one is due it is the next that is refused.
      const isRepaired = repaired < Math.floor(((number + 1) * repairs) / total);
      const found = await runCase({ root, original, server, truth, damage, isRepaired });
      if (found.repaired) repaired++;
      const one = { number, ...damage, ...found };
      cases.push(one);
      onCase(one, total);
    }
    return { seed, ...summary(cases) };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** Servers on directories, and what they say of themselves. */
class Servers {
  constructor(configFile) {
    this.configFile = configFile;
  }

  /** How it ended, or the url of the one that serves. */
  async start(dataDir) {
    const flags = ['--data-dir', dataDir, '--port', '0', '--log-level', 'warn', '--config', this.configFile, ...SHAPE];
    const child = spawnChild(process.execPath, [PROGRAM, 'serve', ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (text) => {
      stderr += text;
    });
    const exited = new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal, stderr })));
    const ready = new Promise((resolve) => {
      child.stdout.once('data', (line) => resolve(String(line)));
    });
    const first = await Promise.race([ready.then((line) => ({ line })), exited]);
    const stop = async (signal) => {
      child.kill(signal);
      return await exited;
    };
    return { ...first, url: first.line && `tallystick://${/ready tcp=(\S+) /.exec(first.line)?.[1]}`, stop };
  }
}

/** A directory with counters of all kinds, its server stopped; and the state of each partition: its sequence and hash. */
async function fillDirectory(servers, dataDir) {
  const { url, stop } = await servers.start(dataDir);
  const client = await connect(url, { producer: 'filler', timeout: TIMEOUT_MILLISECONDS });
  for (let round = 0; round < ROUNDS; round++) {
    const names = Array.from({ length: 500 }, (_, i) => `counter:${(i * 7 + round * 13) % 3_000}`);
    await client.batch(names.map((name, i) => ({ name, delta: i - 100 })));
    await client.increment(`once:${round}`, 1, { id: `operation ${round}` });
    if (round % 5 === 0) await client.set(`stock:${round}`, round, { reason: 'delivery' });
    if (round % 10 === 9) await client.delete(`stock:${round - 4}`, { reason: 'sold' });
  }
  await client.close();
  const truth = await statesOf(url);
  await stop('SIGTERM');
  return truth;
}

async function statesOf(url) {
  const client = await connect(url, { producer: false, timeout: TIMEOUT_MILLISECONDS });
  const lanes = await client.stats({ stateHash: true });
  await client.close();
  const partitions = lanes.flatMap(({ partitions }) => partitions);
  return new Map(partitions.map(({ partition, sequence, stateHash }) => [partition, `${sequence} ${stateHash}`]));
}

/** A bit of some file, or a length that it is cut to. LMDB's locks hold nothing that must last. */
function pickDamage(original, kind, next) {
  const files = readdirSync(original, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(original.length + 1))
    .filter((file) => !file.endsWith('-lock'))
    .filter((file) => statSync(join(original, file)).size > 0)
    .sort();
  const file = files[Math.floor(next() * files.length)];
  const { size } = statSync(join(original, file));
  const at = Math.floor(next() * size);
  return kind === 'flip' ? { kind, file, at, bit: Math.floor(next() * 8) } : { kind, file, at };
}

function inflict(dataDir, { kind, file, at, bit }) {
  const path = join(dataDir, file);
  if (kind === 'truncation') {
    truncateSync(path, at);
    return;
  }
  const bytes = readFileSync(path);
  bytes[at] ^= 1 << bit;
  writeFileSync(path, bytes);
}

/** `outcome`: refused, harmless, found (it serves what it had, and verify finds the damage), WRONG or CRASHED. */
async function runCase({ root, original, server, truth, damage, isRepaired }) {
  const dataDir = join(root, 'case');
  const fresh = () => {
    rmSync(dataDir, { recursive: true, force: true });
    cpSync(original, dataDir, { recursive: true });
    inflict(dataDir, damage);
  };
  fresh();
  const started = await server.start(dataDir);
  if (!started.line) {
    const code = /^([A-Z_]+):/m.exec(started.stderr)?.[1];
    if (started.signal || !code || code === 'INTERNAL') return { outcome: 'CRASHED', detail: started.stderr };
    if (!isRepaired) return { outcome: 'refused', code };
    fresh();
    return { outcome: 'refused', code, repaired: await repair({ root, server, truth, dataDir }) };
  }
  const states = await statesOf(started.url).catch((error) => error);
  const { signal, stderr } = await started.stop('SIGKILL');
  if (states instanceof Error || signal !== 'SIGKILL') return { outcome: 'CRASHED', detail: `${states} ${stderr}` };
  const differing = [...truth].filter(([partition, state]) => states.get(partition) !== state);
  if (differing.length > 0) return { outcome: 'WRONG', detail: JSON.stringify({ truth: differing, is: [...states] }) };
  fresh();
  const verified = await run('verify', dataDir);
  if (verified.status !== 0 && verified.status !== 1) return { outcome: 'CRASHED', detail: verified.err };
  return { outcome: verified.status === 0 ? 'harmless' : 'found' };
}

/** 'exact' or 'shorter' where what was made verifies, starts, and has of each partition what it says; else what went wrong. */
async function repair({ root, server, truth, dataDir }) {
  const into = join(root, 'repaired');
  rmSync(into, { recursive: true, force: true });
  const { status, out, err } = await run('repair', dataDir, '--yes', '--lose-partitions', '--json', '--into', into);
  if (!existsSync(join(dataDir, 'tallystick.json')) || err.startsWith('DIRECTORY_INVALID'))
    return 'impossible: its manifest is damaged';
  if (status !== 0) return `FAILED: ${err}`;
  const verified = await run('verify', into, '--replay');
  if (verified.status !== 0) return `FAILED: verify says ${verified.out}${verified.err}`;
  const started = await server.start(into);
  if (!started.line) return `FAILED: ${started.stderr}`;
  const states = await statesOf(started.url);
  await started.stop('SIGKILL');
  const partitions = JSON.parse(out).lanes.flatMap((lane) => lane.partitions);
  const wrong = partitions.filter(
    ({ partition, dropped }) => !dropped && states.get(partition) !== truth.get(partition),
  );
  if (wrong.length > 0) return `FAILED: ${JSON.stringify({ wrong, states: [...states], truth: [...truth] })}`;
  return partitions.some(({ dropped }) => dropped) ? 'shorter' : 'exact';
}

function run(...args) {
  return new Promise((resolve) => {
    execFile(process.execPath, [PROGRAM, ...args], { maxBuffer: 1 << 28 }, (error, out, err) =>
      resolve({ status: error ? (error.code ?? error.signal) : 0, out, err }),
    );
  });
}

const kindOfFile = (file) => basename(file).replace(/\d+/, 'N');

function summary(cases) {
  const files = {};
  for (const { file, outcome } of cases) {
    const kind = kindOfFile(file);
    files[kind] ??= { cases: 0, refused: 0, found: 0, harmless: 0, WRONG: 0, CRASHED: 0 };
    const row = files[kind];
    row.cases++;
    row[outcome]++;
  }
  const repaired = {};
  for (const { repaired: result } of cases) {
    const key = result?.replace(/:.*/s, '');
    if (key) repaired[key] = (repaired[key] ?? 0) + 1;
  }
  const isBad = ({ outcome, repaired: result }) =>
    outcome === 'WRONG' || outcome === 'CRASHED' || result?.startsWith('FAILED');
  return { cases: cases.length, files, repaired, bad: cases.filter(isBad) };
}
