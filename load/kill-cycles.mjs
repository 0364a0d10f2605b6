import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '../dist/client/index.js';
import { wrongHistories } from './compare-histories.mjs';
import { Backups } from './kill-backups.mjs';
import { Checkpoints } from './kill-checkpoints.mjs';
import { KilledServer } from './killed-server.mjs';
import { killFromThread, killInCheckpoint } from './killer.mjs';
import { freePorts } from './ports.mjs';
import { compareWithReplay } from './replay.mjs';
import { RESTARTING_CLASSES, restartingCounters } from './restarting-counters.mjs';
import { Workload } from './workload.mjs';

/**
 * Clients write without a pause while their server is killed with -9 at random moments and started again on the same
 * ports; they resend by themselves. Every other one reaches all partitions through the first lane. A cycle counts if a batch was sent and not answered at the kill.
 */

const LANES = 4;
/** The kill comes at a random moment within this time after every client is at work again. */
const LONGEST_BEFORE_KILL_MILLISECONDS = 30;
/** A start takes about so long. */
const LONGEST_RECOVERY_MILLISECONDS = 1_500;
const READ_AT_A_TIME = 5_000;
/** Of what is compared in the end, on a machine that does much else. */
const TIMEOUT_MILLISECONDS = 120_000;
/** An hour of the server's is 3.6 s then, and a day 86 s. */
const CLOCK_TIMES = 1_000;
/** Every counter has a history, in which late increments come one by one. */
const CLASSES = [{ pattern: '*', history: true, lateness: 'any' }];

/**
 * @param config  more of the server's configuration
 * @param interrupted  how many checkpoints must have been interrupted: kills after the first `cycles` wait for one until they were
 * @param kinds  what else is going on, in turns: nothing (`load`), a backup (`backup`), a backup that is killed too (`both`), or the
 * recovery, in which the server is killed once more (`recovery`)
 * @param isFast  whether the server's clock runs so fast that hours close, counters come to their end, days begin, and histories are rolled up
 * all the while
 */
export async function killCycles({
  cycles,
  clients = 4,
  config = {},
  interrupted = 0,
  kinds = ['load'],
  isFast = false,
  onCycle = () => {},
}) {
  const directory = mkdtempSync(join(tmpdir(), 'tallystick-torture-'));
  const dataDir = join(directory, 'data');
  const configFile = join(directory, 'config.json');
  const classes = isFast ? [...RESTARTING_CLASSES, ...CLASSES] : CLASSES;
  writeFileSync(configFile, JSON.stringify({ classes, ...config }));
  const port = String(await freePorts(LANES));
  const flags = ['--port', port, '--lanes', String(LANES), '--config', configFile];
  const clock = isFast ? { since: Date.now(), times: CLOCK_TIMES } : undefined;
  const server = new KilledServer(dataDir, flags, clock);
  await server.start();
  const { url, now } = server;
  const backups = new Backups(directory, clock);
  const workloads = [];
  let isWhole = false;
  try {
    const inFlight = new Int32Array(new SharedArrayBuffer(4));
    for (let i = 0; i < clients; i++) {
      const restarting = isFast ? restartingCounters(`client-${i}`) : [];
      workloads.push(await Workload.start(url, `client-${i}`, { inFlight, direct: i % 2 === 0, restarting, now }));
    }
    const all = [];
    while (!isEnough(all, cycles, interrupted)) {
      const kind = kinds[all.length % kinds.length];
      // Chance alone would leave it open how many kills are needed.
      const isAimed = all.length >= cycles && sum(all, 'interrupted') < interrupted;
      const cycle = await killOnce({ workloads, server, inFlight, dataDir, backups, kind, isAimed });
      all.push(cycle);
      onCycle(cycle, all);
    }
    await Promise.all(workloads.map((workload) => workload.stop()));
    const counters = await compareCounters(url, workloads, now);
    // Time that passes is in the log too: a kill takes back what was told of it.
    const signal = isFast ? 'SIGTERM' : 'SIGKILL';
    const before = await statsOf(url);
    await server.kill(signal);
    await server.start();
    const after = await statsOf(url);
    await server.kill(signal);
    const restored = await backups.restoreAll(['--config', configFile]);
    const differing = await compareWithReplay(dataDir, before, after);
    // A restored server goes on with what time brings, of which the log that it comes from knows nothing.
    const ofBackups = isFast ? [] : await compareWithReplay(dataDir, ...restored);
    isWhole = true;
    return {
      ...summary(all, workloads),
      backups: {
        complete: backups.complete,
        interrupted: backups.interrupted,
        killed: backups.killed,
        failed: backups.failed,
        acceptedParts: backups.acceptedParts,
        wrongHistories: backups.wrongHistories,
        partitionsThatDiffer: ofBackups.length,
      },
      checkpoints: (await checkpointsIn(dataDir)).made,
      ...counters,
      partitions: before.flatMap(({ partitions }) => partitions).length,
      partitionsThatDiffer: differing.length,
    };
  } finally {
    await server.kill();
    await Promise.all(workloads.map((workload) => workload.abandon()));
    // A server that does not start again is to be looked at.
    if (isWhole) rmSync(directory, { recursive: true, force: true });
    else console.error(`The data of the server are kept: ${dataDir}`);
  }
}

/**
 * So many cycles that count; then on until enough of them interrupted a checkpoint, and, for up to three times as many, until a
 * third of them show a dedup hit.
 */
function isEnough(all, cycles, interrupted) {
  const counted = all.filter(({ inFlight }) => inFlight > 0);
  const hits = counted.filter(({ repeated }) => repeated > 0);
  const isShown = 3 * hits.length >= counted.length || counted.length >= 3 * cycles;
  return counted.length >= cycles && isShown && sum(all, 'interrupted') >= interrupted;
}

async function killOnce({ workloads, server, inFlight: counter, dataDir, backups, kind, isAimed }) {
  const { child, exited } = server;
  await roundOf(workloads);
  const repeatedBefore = sum(workloads, 'repeated');
  const hasBackup = kind === 'backup' || kind === 'both';
  if (hasBackup) await backups.begin(dataDir);
  const inFlight = isAimed
    ? await killInCheckpoint(child.pid, dataDir, counter)
    : await killFromThread(child.pid, Math.random() * LONGEST_BEFORE_KILL_MILLISECONDS, counter);
  await exited;
  if (hasBackup) await backups.end(kind === 'both');
  const { interrupted } = await checkpointsIn(dataDir);
  const recoveries = kind === 'recovery' && (await server.killRecovery(LONGEST_RECOVERY_MILLISECONDS)) ? 1 : 0;
  const milliseconds = await server.start();
  // What was in flight is answered when each of the calls of that time has ended.
  await roundOf(workloads);
  return { inFlight, interrupted, recoveries, repeated: sum(workloads, 'repeated') - repeatedBefore, milliseconds };
}

const roundOf = (workloads) => Promise.all(workloads.map((workload) => workload.round()));
const sum = (workloads, key) => workloads.reduce((total, workload) => total + workload[key], 0);

/** The checkpoints of a dead server: how many were made, and in how many lanes one was being written. */
async function checkpointsIn(dataDir) {
  const checkpoints = new Checkpoints(dataDir);
  const counts = { made: checkpoints.made(), interrupted: checkpoints.unfinished() };
  await checkpoints.close();
  return counts;
}

/** Each counter, and its history, against what was acknowledged of it by all clients together. */
async function compareCounters(url, workloads, now) {
  const expected = new Map();
  for (const workload of workloads) {
    for (const [name, value] of workload.expected) expected.set(name, (expected.get(name) ?? 0n) + value);
  }
  const client = await connect(url, { producer: false, timeout: TIMEOUT_MILLISECONDS });
  let expectedSum = 0n;
  let actualSum = 0n;
  let wrongCounters = 0;
  const names = [...expected.keys()];
  for (let from = 0; from < names.length; from += READ_AT_A_TIME) {
    for (const { name, value } of await client.read(names.slice(from, from + READ_AT_A_TIME))) {
      expectedSum += expected.get(name);
      actualSum += value;
      if (value !== expected.get(name)) wrongCounters++;
    }
  }
  const restarting = workloads.flatMap((workload) => workload.restarting);
  const areRight = await Promise.all(restarting.map((counter) => counter.isRight(client, now)));
  const histories = (await wrongHistories(client, expected)) + areRight.filter((isRight) => !isRight).length;
  const rows = (await client.stats()).map(({ history }) => history.rows);
  const hourRows = rows.reduce((sum, { hour }) => sum + hour, 0);
  await client.close();
  const sums = { expectedSum: String(expectedSum), actualSum: String(actualSum) };
  const lives = restarting.reduce((sum, counter) => sum + counter.lives.length, 0);
  return { counters: names.length, ...sums, wrongCounters, wrongHistories: histories, lives, hourRows };
}

async function statsOf(url) {
  const client = await connect(url, { producer: false });
  const stats = await client.stats({ stateHash: true });
  await client.close();
  return stats;
}

function summary(all, workloads) {
  const counted = all.filter(({ inFlight }) => inFlight > 0);
  const restarts = all.map(({ milliseconds }) => milliseconds).sort((a, b) => a - b);
  return {
    cycles: all.length,
    counted: counted.length,
    interruptedCheckpoints: sum(all, 'interrupted'),
    interruptedRecoveries: sum(all, 'recoveries'),
    withDedupHit: counted.filter(({ repeated }) => repeated > 0).length,
    repeatedBatches: sum(workloads, 'repeated'),
    acknowledged: sum(workloads, 'acknowledged'),
    refused: sum(workloads, 'refused'),
    unknownOutcomes: sum(workloads, 'unknown'),
    wrongAnswers: sum(workloads, 'wrongAnswers'),
    restartMilliseconds: {
      median: Math.round(restarts[restarts.length >> 1] ?? 0),
      max: Math.round(restarts.at(-1) ?? 0),
    },
  };
}
