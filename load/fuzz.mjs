import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { connect } from '../dist/client/index.js';
import { openSources } from '../scripts/sources.mjs';
import { freePorts } from './ports.mjs';
import { startServerProcess } from './server.mjs';

/**
 * Mutated frames:   npm run fuzz -- [--frames 1000000] [--seed 1] [--only kernel|socket|forwarded] [--json]
 *
 * So many at the decoder and the kernel, in this process; so many at the sockets of a real server; and so many at the socket of a
 * lane that has to pass them on. A seed gives the same
 * frames again. Exits with 1 at the first thing that is not as it must be, and names it with its seed.
 */

const LANES = 2;
/** Frames of one seed at the kernel; each seed has a kernel of its own. */
const FRAMES_A_SEED = 20_000;
/** Frames after which the server is warm, has made checkpoints, and its memory is what it needs. */
const WARM_UP_FRAMES = 100_000;
const FRAMES_A_STEP = 5_000;
const MOST_GROWTH_BYTES = 16 * 1_048_576;
/** Without a single answer, though some are awaited. The longest that a read may wait for a position is 5 s. */
const HANG_MILLISECONDS = 20_000;

const { values } = parseArgs({
  options: {
    frames: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const frames = Number(values.frames);
const seed = Number(values.seed);
if (!(Number.isSafeInteger(frames) && frames > 0)) throw new Error(`--frames is a whole number, not ${values.frames}.`);
if (!Number.isSafeInteger(seed)) throw new Error(`--seed is a whole number, not ${values.seed}.`);

const began = performance.now();
/** Of each lane the last progress, and when it was. */
const last = new Map();
const sources = await openSources();
// Most frames are refused by an error; what is wrong is said by its message.
Error.stackTraceLimit = 0;
const report = {};
try {
  if (isWanted('kernel')) report.kernel = await atTheKernel();
  if (isWanted('socket')) report.socket = await atTheSocket(false);
  if (isWanted('forwarded')) report.forwarded = await atTheSocket(true);
  report.seconds = Math.round((performance.now() - began) / 1000);
  console.log(values.json ? JSON.stringify(report) : table(report));
  process.exitCode = isRight(report) ? 0 : 1;
} finally {
  await sources.close();
}

function isWanted(part) {
  return values.only === undefined || values.only === part;
}

async function atTheKernel() {
  const { fuzzKernel } = await sources.ssrLoadModule('/test/fuzz/kernel-fuzz.ts');
  const total = {};
  for (let next = seed; (total.frames ?? 0) < frames; next++) {
    const left = frames - (total.frames ?? 0);
    for (const [key, value] of Object.entries(fuzzKernel(next, Math.min(left, FRAMES_A_SEED)))) {
      total[key] = (total[key] ?? 0) + value;
    }
    progress('kernel', total.frames);
    await new Promise(setImmediate);
  }
  return total;
}

/** @param isForwarded on a connection to another lane, which has to pass everything on */
async function atTheSocket(isForwarded) {
  const { fuzzForwarded, fuzzLanes, SERVER_ENVIRONMENT } = await sources.ssrLoadModule('/test/fuzz/socket-fuzz.ts');
  Object.assign(process.env, SERVER_ENVIRONMENT);
  const dataDir = mkdtempSync(join(tmpdir(), 'tallystick-fuzz-'));
  const flags = ['--port', String(await freePorts(LANES)), '--lanes', String(LANES), '--partitions', String(LANES)];
  let server = await startServerProcess(dataDir, ...flags);
  try {
    const started = performance.now();
    const elapsed = () => performance.now() - started;
    const url = new URL(server.url);
    const lanes = isForwarded ? [await fuzzForwarded(url, seed, elapsed)] : await fuzzLanes(url, seed, elapsed);
    await runAll(lanes, server, Math.min(frames, WARM_UP_FRAMES));
    const warm = memoryOf(server.child.pid);
    await runAll(lanes, server, frames);
    const end = memoryOf(server.child.pid);
    await expectToCount(server.url);
    await Promise.all(lanes.map((lane) => lane.verify()));
    server.child.kill('SIGKILL');
    await server.exited;
    server = await startServerProcess(dataDir, ...flags);
    const counters = await Promise.all(lanes.map((lane) => lane.verify()));
    await expectToCount(server.url);
    return { ...sumOf(lanes), counters: counters.reduce((sum, count) => sum + count), ...growth(warm, end) };
  } finally {
    server.child.kill('SIGKILL');
    await server.exited;
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** Runs all lanes at a time, by steps, and ends the process where no answer comes any more. */
async function runAll(lanes, server, target) {
  const watchdog = setInterval(lookForHang, 1_000, lanes);
  const ended = server.exited.then((exit) => {
    throw new Error(`The server ended: ${JSON.stringify(exit)}`);
  });
  ended.catch(() => {}); // where it ends later it was told to
  try {
    const share = Math.ceil(target / lanes.length);
    await Promise.race([Promise.all(lanes.map((lane) => runOne(lane, share))), ended]);
  } finally {
    clearInterval(watchdog);
  }

  async function runOne(lane, share) {
    while (lane.report.frames < share) {
      await lane.run(Math.min(FRAMES_A_STEP, share - lane.report.frames));
      progress('sockets', sumOf(lanes).frames);
    }
  }
}

function lookForHang(lanes) {
  for (const lane of lanes) {
    const state = `${lane.report.frames} ${lane.report.connections} ${lane.inFlight}`;
    const before = last.get(lane);
    if (lane.inFlight === 0 || before?.state !== state) last.set(lane, { state, at: performance.now() });
    else if (performance.now() - before.at > HANG_MILLISECONDS) {
      console.error(`HANG: no answer for ${HANG_MILLISECONDS / 1000} s, after ${lane.describe()}`);
      process.exit(1);
    }
  }
}

async function expectToCount(url) {
  const client = await connect(url);
  const before = await client.get('after');
  if ((await client.increment('after')) !== before + 1n) throw new Error('The server counts wrong afterwards.');
  await client.close();
}

/** Of a process, in bytes. What is mapped from files is the system's cache, which it takes back when it needs to. */
function memoryOf(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const of = (key) => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(status)[1]) * 1024;
  return { resident: of('VmRSS'), own: of('RssAnon') + of('RssShmem') };
}

function growth(warm, end) {
  return { warmBytes: warm.own, endBytes: end.own, grownBytes: end.own - warm.own, residentBytes: end.resident };
}

function sumOf(lanes) {
  const total = {};
  for (const { report } of lanes) {
    for (const [key, value] of Object.entries(report)) total[key] = (total[key] ?? 0) + value;
  }
  return total;
}

function isRight({ kernel, socket, forwarded }) {
  const isPartRight = (part) =>
    part === undefined || (part.reached * 2 >= part.frames && (part.grownBytes ?? 0) <= MOST_GROWTH_BYTES);
  return [kernel, socket, forwarded].every(isPartRight);
}

function progress(where, done) {
  if (!process.stderr.isTTY || values.json) return;
  const seconds = (performance.now() - began) / 1000;
  process.stderr.write(`\r${where}: ${done.toLocaleString('en-US')} frames, ${Math.round(seconds)} s   `);
}

function table({ kernel, seconds, ...servers }) {
  const share = ({ frames, reached }) =>
    `${reached.toLocaleString('en-US')} (${Math.round((100 * reached) / frames)}%)`;
  const rows = [];
  const add = (label, value) => rows.push([label, typeof value === 'number' ? value.toLocaleString('en-US') : value]);
  if (kernel) {
    add('kernel: frames', kernel.frames);
    add('… that reached the operation decoder', share(kernel));
    add('… applied', kernel.applied);
    add('… refused or read, memory compared', kernel.hashes);
    add('… streams that lost their framing', kernel.lostFraming);
  }
  for (const [name, part] of Object.entries(servers)) {
    add(`${name}: frames`, part.frames);
    add('… that reached the operation decoder', share(part));
    add('… refused', part.refused);
    add('… connections / broken', `${part.connections} / ${part.broken}`);
    add('… frames before a HELLO was taken', part.hellos);
    add('… counters compared, also after kill -9', part.counters);
    add('… memory when warm / at the end, MB', `${megabytes(part.warmBytes)} / ${megabytes(part.endBytes)}`);
    add('… grown by, MB (at most 16)', megabytes(part.grownBytes));
  }
  add('seconds', seconds);
  return rows.map(([label, value]) => `${label.padEnd(42)}${String(value).padStart(24)}`).join('\n');
}

function megabytes(bytes) {
  return (bytes / 1_048_576).toFixed(1);
}
