import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { connect, TallystickError } from '../dist/client/index.js';
import { FollowReader } from './follow-reader.mjs';
import { checkHeard } from './heard.mjs';
import { freePorts } from './ports.mjs';
import { replayLanes } from './replay.mjs';
import { startServerProcess } from './server.mjs';
import { Truth } from './truth.mjs';

/**
 * Readers that follow a real server while it is killed with -9 and started again:   npm run torture:follow -- [--runs 50] [--json]
 *
 * Writers write at random all the while; readers stall, lose their connections and go on. Then the log says what every counter was at every position, and all that
 * any reader was told is held against that (load/heard.mjs). Exits with 1 at the first run in which a reader was told wrong.
 */
const { values } = parseArgs({
  options: { runs: { type: 'string', default: '50' }, json: { type: 'boolean', default: false } },
});
const RUNS = Number(values.runs);
if (!(Number.isSafeInteger(RUNS) && RUNS > 0)) throw new Error(`--runs is a whole number, not ${values.runs}.`);
const LANES = 2;
const PARTITIONS = 4;
const NAMES = 60;
const READERS = 12;
const WRITERS = 2;
/** Each has so many requests on their way. */
const CALLERS = 8;
const KILLS = 2;
/** Of readers, between two kills. */
const STEPS = 20;
const LONGEST_STEP = 50;
const INTERVALS = [0, 0, 10, 50, 200];
/** Until everyone must have been told everything. */
const SETTLE_MILLISECONDS = 30_000;
const TIMEOUT_MILLISECONDS = 60_000;

const below = (count) => Math.floor(Math.random() * count);
const pick = (items) => items[below(items.length)];

const sums = { runs: 0, kills: 0, readers: 0, positions: 0, frames: 0, told: 0, resets: 0, resumed: 0 };
for (let run = 0; run < RUNS; run++) {
  for (const [key, count] of Object.entries(await play())) sums[key] += count;
  sums.runs++;
  if (!values.json) console.log(`run ${run + 1}: ${JSON.stringify(sums)}`);
}
if (values.json) console.log(JSON.stringify(sums));

async function play() {
  const directory = mkdtempSync(join(tmpdir(), 'tallystick-follow-'));
  const dataDir = join(directory, 'data');
  const port = await freePorts(LANES);
  const flags = ['--port', String(port), '--lanes', String(LANES), '--partitions', String(PARTITIONS)];
  let server = await startServerProcess(dataDir, ...flags);
  const names = Array.from({ length: NAMES }, (_, i) => `follow:${i}`);
  const clients = [];
  const readers = [];
  let isRight = false;
  try {
    for (let i = 0; i < WRITERS; i++) clients.push(await connect(server.url, { timeout: TIMEOUT_MILLISECONDS }));
    const [client] = clients;
    let isOver = false;
    const writing = clients.flatMap((each) =>
      Array.from({ length: CALLERS }, () => writeAtRandom(each, names, () => isOver)),
    );
    const lanes = await lanesOf(client);
    for (let i = 0; i < READERS; i++) readers.push(follow(client, server.url, lanes, names));
    for (let kill = 0; kill <= KILLS; kill++) {
      for (let step = 0; step < STEPS; step++) {
        await delay(below(LONGEST_STEP));
        const reader = pick(readers);
        const chance = below(10);
        if (chance < 4) reader.drop();
        else reader.stall(chance < 7);
      }
      if (kill === KILLS) break;
      server.child.kill('SIGKILL');
      await server.exited;
      server = await startServerProcess(dataDir, ...flags);
    }
    isOver = true;
    await Promise.all(writing);
    const last = await lastChange(client, names);
    await settle(readers, last);
    for (const reader of readers) reader.end();
    await Promise.all(clients.map((each) => each.close()));
    server.child.kill('SIGKILL');
    await server.exited;
    const report = await check(dataDir, client, names, readers);
    isRight = true;
    return { kills: KILLS, readers: READERS, ...report };
  } finally {
    for (const reader of readers) reader.end();
    server.child.kill('SIGKILL');
    await server.exited;
    if (isRight) rmSync(directory, { recursive: true, force: true });
    else console.error(`The data of the server are kept: ${dataDir}`);
  }
}

/** For each partition its lane. */
async function lanesOf(client) {
  const lanes = [];
  for (const { lane, partitions } of await client.stats())
    for (const { partition } of partitions) lanes[partition] = lane;
  return lanes;
}

function follow(client, url, lanes, names) {
  const partition = below(PARTITIONS);
  const own = names.filter((name) => client.partitionOf(name) === partition);
  const some = own.filter(() => below(2) === 0);
  const direct = below(2) === 0;
  const { hostname: host, port } = new URL(url);
  const target = { host, port: Number(port) + (direct ? lanes[partition] : 0), direct };
  const what = below(2) === 0 ? { names: some.length > 0 ? some : own } : { prefix: pick(['', 'follow:', 'follow:1']) };
  return new FollowReader(target, { partition, interval: pick(INTERVALS), ...what });
}

async function writeAtRandom(client, names, isOver) {
  while (!isOver()) {
    try {
      const kind = below(20);
      if (kind === 0) await client.delete(pick(names), { reason: 'test' });
      else if (kind === 1) await client.set(pick(names), below(1_000) - 500, { reason: 'test' });
      else
        await client.batch(Array.from({ length: 1 + below(20) }, () => ({ name: pick(names), delta: below(9) - 3 })));
    } catch (error) {
      // the log says what became of it
      if (!(error instanceof TallystickError)) throw error;
    }
  }
}

/** Changes everything once more, so that everyone has something to be told; the position of each partition then. */
async function lastChange(client, names) {
  await client.batch(names.map((name) => ({ name, delta: 1 })));
  return client.flush();
}

async function settle(readers, position) {
  const isDone = (reader) => reader.isAt(position.sequenceOf(reader.wish.partition) ?? 0);
  for (const reader of readers) reader.stall(false);
  for (const began = performance.now(); !readers.every(isDone); await delay(10)) {
    if (performance.now() - began > SETTLE_MILLISECONDS) throw new Error('A reader was not told everything.');
  }
}

/** Holds what all readers were told against the log. */
async function check(dataDir, client, names, readers) {
  const truths = Array.from({ length: PARTITIONS }, () => undefined);
  for (const partition of truths.keys())
    truths[partition] = new Truth(names.filter((name) => client.partitionOf(name) === partition));
  await replayLanes(dataDir, (number, partition) => truths[number].add(partition));
  const report = { frames: 0, told: 0, resets: 0, resumed: 0, positions: 0 };
  for (const truth of truths) report.positions += truth.position;
  for (const { wish, heard } of readers) {
    const follows = (name) => wish.names?.includes(name) ?? name.startsWith(wish.prefix);
    const counts = checkHeard(heard, { follows, truth: truths[wish.partition] });
    for (const [key, count] of Object.entries(counts)) report[key] += count;
  }
  return report;
}
