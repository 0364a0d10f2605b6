import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Flag } from '../dist/protocol/opcode.js';
import { Batches, DISTRIBUTIONS } from './batches.mjs';
import { closedLoop } from './closed-loop.mjs';
import { Counters } from './counters.mjs';
import { fill, numberedNames } from './fill.mjs';
import { GROWTH_HEADS, growthRow } from './growth-table.mjs';
import { percentiles } from './histogram.mjs';
import { describeMachine, machineFacts } from './machine.mjs';
import { random } from './names.mjs';
import { memoryBytes } from './process-figures.mjs';
import { RawClient } from './raw-client.mjs';
import { writeSections } from './report-file.mjs';
import { startServerProcess, withServer } from './server.mjs';
import { stallRow } from './stall.mjs';
import { textTable } from './table.mjs';

/**
 * How cost grows with counters, partitions, lanes and connections:   node load/growth.mjs
 *
 *   --only counters,partitions,lanes,connections,stall
 *   --counters 10000,100000,1000000,10000000    with names of 12 bytes; 100000000 takes 10 GB and some minutes
 *   --partitions 1,4,16,64   --lanes 1,2   --connections 1,8,64,1000   --stall 10000000
 *   --seconds 1.5   --json   --out DIR (growth.json)
 */

const NAME_BYTES = 12;
/** Names that are added to while measured; picked at random from all. */
const SAMPLE = 1_000_000;
const NAMES = 1_000_000;
const MEMORY_BYTES = 16 * 2 ** 30;
const AWAITING = 100_000;

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: 'counters,partitions,lanes,connections,stall' },
    counters: { type: 'string', default: '10000,100000,1000000,10000000' },
    partitions: { type: 'string', default: '1,4,16,64' },
    lanes: { type: 'string', default: '1,2' },
    connections: { type: 'string', default: '1,8,64,1000' },
    stall: { type: 'string', default: '10000000' },
    seconds: { type: 'string', default: '1.5' },
    json: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const seconds = Number(options.seconds);
const list = (name) => options[name].split(',').map(Number);

const SECTIONS = {
  counters: withCounters,
  partitions: (count) => withFlags({ partitions: count }, '--partitions', String(count)),
  lanes: (count) => withFlags({ lanes: count }, '--lanes', String(count)),
  connections: withConnections,
  stall: (count) => stallRow(count, seconds, '--memory', String(MEMORY_BYTES)),
};

const report = { machine: machineFacts(tmpdir()), seconds };
if (!options.json) console.log(describeMachine(report.machine));
for (const section of options.only.split(',')) {
  report[section] = [];
  for (const size of list(section)) report[section].push(await SECTIONS[section](size));
  if (!options.json)
    console.log(
      `\n${textTable(
        GROWTH_HEADS[section],
        report[section].map((row) => growthRow(section, row)),
      )}`,
    );
}
if (options.json) console.log(JSON.stringify(report));
if (options.out) writeSections(options.out, 'growth', report);

/** That many counters: how fast they are made and added to, what they take, and how long a start after kill -9 takes. */
async function withCounters(count) {
  const dataDir = mkdtempSync(join(tmpdir(), 'tallystick-growth-'));
  const memory = ['--memory', String(MEMORY_BYTES)];
  let server = await startServerProcess(dataDir, ...memory);
  try {
    const empty = memoryBytes(server.child.pid);
    const client = await RawClient.connect(server.url, 'growth');
    const { text, bytes } = numberedNames(NAME_BYTES);
    const start = performance.now();
    await fill(client, count, bytes);
    const created = count / ((performance.now() - start) / 1_000);
    const next = random(count);
    const sample = Array.from({ length: Math.min(SAMPLE, count) }, () => text(Math.floor(next() * count)));
    const counters = await Counters.open(client, sample);
    const perSecond = await rates([client], counters, 1_000);
    client.close();
    const bytesPerCounter = (memoryBytes(server.child.pid) - empty) / count;
    server.child.kill('SIGKILL');
    await server.exited;
    const killed = performance.now();
    server = await startServerProcess(dataDir, ...memory);
    return {
      counters: count,
      created: Math.round(created),
      ...perSecond,
      bytesPerCounter,
      restartSeconds: (performance.now() - killed) / 1_000,
    };
  } finally {
    server.child.kill('SIGTERM');
    await server.exited;
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** A million counters on a server with a flag. */
async function withFlags(shape, ...flags) {
  let row;
  await withServer(
    async (url, { child }) => {
      const empty = memoryBytes(child.pid);
      const { clients, counters } = await opened(url, 1);
      row = { ...shape, emptyBytes: empty, ...(await rates(clients, counters, 1_000)) };
      for (const client of clients) client.close();
    },
    ...flags,
  );
  return row;
}

/** Many clients, each connected to every lane; together they await so many single increments. */
async function withConnections(count) {
  let row;
  await withServer(async (url, { child }) => {
    const { clients, counters } = await opened(url, count);
    const before = memoryBytes(child.pid);
    const batches = makeBatches(counters, 1, 'id');
    const inFlight = Math.min(1_000, AWAITING / count);
    const { increments, seconds: spent, histogram } = await closedLoop(clients, batches, { inFlight, seconds });
    const peak = memoryBytes(child.pid);
    const sum = await counters.sum(clients[0]);
    if (sum !== BigInt(increments)) throw new Error(`${increments} were acknowledged, ${sum} were counted.`);
    row = {
      clients: count,
      awaiting: inFlight * count,
      perSecond: Math.round(increments / spent),
      ...percentiles(histogram),
      memoryBefore: before,
      memoryAfter: peak,
    };
    for (const client of clients) client.close();
  });
  return row;
}

async function opened(url, count) {
  const clients = [];
  while (clients.length < count) clients.push(await RawClient.connect(url, `growth-${clients.length}`));
  const { text } = numberedNames(NAME_BYTES);
  const counters = await Counters.open(
    clients[0],
    Array.from({ length: NAMES }, (_, i) => text(i)),
  );
  return { clients, counters };
}

/** Durable by name and by id, and by id in memory. */
async function rates(clients, counters, size) {
  const rate = async (key, flags) => {
    const batches = makeBatches(counters, size, key);
    const run = (time) => closedLoop(clients, batches, { inFlight: 16, seconds: time, flags });
    await run(seconds / 5);
    const { increments, seconds: spent } = await run(seconds);
    return Math.round(increments / spent);
  };
  return {
    durableByName: await rate('name', 0),
    durableById: await rate('id', 0),
    appliedById: await rate('id', Flag.APPLIED),
  };
}

function makeBatches(counters, size, key) {
  const pick = DISTRIBUTIONS.uniform(counters.count, random(1));
  return new Batches(counters, {
    size,
    count: Math.max(64, Math.ceil(Math.min(2e6, 4 * counters.count) / size / (size === 1 ? 10 : 1))),
    key,
    pick,
  });
}
