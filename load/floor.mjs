import { build } from 'hdr-histogram-js';
import { connect } from '../dist/client/index.js';
import { ByteWriter } from '../dist/protocol/bytes.js';
import { Opcode } from '../dist/protocol/opcode.js';
import { partitionOf } from '../dist/protocol/partition-hash.js';
import { encodeOpen, writeOperationById, writeOperationByName } from '../dist/protocol/request.js';
import { decodeOpenAnswer } from '../dist/protocol/response.js';
import { random, randomNames } from './names.mjs';
import { RawClient } from './raw-client.mjs';
import { withServer } from './server.mjs';

/**
 * The speed floor: durable, exactly-once increments of uniformly random names, client and server on one machine.
 *
 *   node load/floor.mjs [--names 1000000] [--seconds 5] [--runs 5] [--json]
 */

const NAMES = numberOption('--names', 1_000_000);
const SECONDS = numberOption('--seconds', 5);
const RUNS = numberOption('--runs', 5);
const NAME_BYTES = 20;
const IN_FLIGHT = 16;

function numberOption(name, value) {
  const at = process.argv.indexOf(name);
  return at < 0 ? value : Number(process.argv[at + 1]);
}

/** Names by their partition. */
function byPartition(names, partitions) {
  const encoder = new TextEncoder();
  const lists = Array.from({ length: partitions }, () => []);
  for (const name of names) {
    const bytes = encoder.encode(name);
    lists[partitionOf(bytes, 0, bytes.length, partitions)].push(name);
  }
  return lists;
}

/** Batches of `size` random picks of one partition each, going round the partitions, without the sequence prefix. */
function makeBatches(lists, size, next, write) {
  const batches = [];
  const count = Math.max(lists.length * 2, Math.ceil((2 * NAMES) / size));
  for (let i = 0; i < count; i++) {
    const partition = i % lists.length;
    const list = lists[partition];
    const writer = new ByteWriter(size * 30);
    writer.varint(size);
    for (let k = 0; k < size; k++) write(writer, list[Math.floor(next() * list.length)]);
    batches.push({ partition, rest: writer.copy() });
  }
  return batches;
}

function histogram() {
  return build({ lowestDiscernibleValue: 1, highestTrackableValue: 60_000_000, numberOfSignificantValueDigits: 3 });
}

function result(done, start, latency) {
  return {
    perSecond: done / ((performance.now() - start) / 1000),
    p50: latency.getValueAtPercentile(50) / 1000,
    p99: latency.getValueAtPercentile(99) / 1000,
  };
}

/** Closed loop with IN_FLIGHT batches for some seconds: increments a second, and the latency of a batch. */
function run(client, batches, size) {
  const latency = histogram();
  return new Promise((resolve) => {
    const start = performance.now();
    const end = start + SECONDS * 1000;
    let at = Math.floor(Math.random() * batches.length);
    let done = 0;
    let flying = 0;
    const send = () => {
      const { partition, rest } = batches[at++ % batches.length];
      const sent = performance.now();
      flying++;
      client.sequenced(Opcode.ADD, 0, partition, rest, () => {
        const now = performance.now();
        latency.recordValue(Math.round((now - sent) * 1000));
        done += size;
        flying--;
        if (now < end) send();
        else if (flying === 0) {
          resolve(result(done, start, latency));
        }
      });
    };
    for (let i = 0; i < IN_FLIGHT; i++) send();
  });
}

/** The same through the public SDK: IN_FLIGHT callers, each awaiting one batch of names after the other. */
function runBatches(client, names, size, next) {
  return through(async (end, latency) => {
    let done = 0;
    const caller = async () => {
      while (performance.now() < end) {
        const operations = [];
        for (let i = 0; i < size; i++) operations.push({ name: names[Math.floor(next() * names.length)] });
        const sent = performance.now();
        await client.batch(operations);
        latency.recordValue(Math.round((performance.now() - sent) * 1000));
        done += size;
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, caller));
    return done;
  });
}

/** Handles that are added to, so many a turn of the event loop that each partition's batch has about `size`. */
function runHandles(client, handles, size, next) {
  return through(async (end, latency) => {
    let done = 0;
    while (performance.now() < end) {
      const sent = performance.now();
      const turn = size * client.partitions;
      let hasRoom = true;
      for (let i = 0; i < turn; i++) hasRoom = handles[Math.floor(next() * handles.length)].add(1);
      if (hasRoom) await new Promise((resolve) => setImmediate(resolve));
      else await client.drain();
      done += turn;
      latency.recordValue(Math.round((performance.now() - sent) * 1000));
    }
    await client.flush();
    return done;
  });
}

async function through(work) {
  const latency = histogram();
  const start = performance.now();
  const done = await work(start + SECONDS * 1000, latency);
  return result(done, start, latency);
}

async function openAll(client, lists) {
  const ids = lists.map(() => []);
  for (const [partition, list] of lists.entries()) {
    for (let from = 0; from < list.length; from += 5000) {
      const names = list.slice(from, from + 5000);
      const writer = new ByteWriter();
      encodeOpen(writer, names);
      const answer = await new Promise((resolve) =>
        client.request(Opcode.OPEN, 0, partition, writer.copy(), (body) => resolve(decodeOpenAnswer(body))),
      );
      for (const id of answer.ids) ids[partition].push(id);
    }
  }
  return ids;
}

const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

await withServer(async (url) => {
  const next = random(1);
  const client = await RawClient.connect(url);
  const names = byPartition(randomNames(NAMES, NAME_BYTES, next), client.partitions);
  const ids = await openAll(client, names);
  const byName = (writer, name) => writeOperationByName(writer, name, 1);
  const byId = (writer, { slot, generation }) => writeOperationById(writer, slot, generation, 1);
  const raw = (size, lists, write) => {
    const batches = makeBatches(lists, size, next, write);
    return () => run(client, batches, size);
  };
  const sdk = await connect(url, { timeout: 60_000 });
  const flat = names.flat();
  const handles = [];
  /** Every handle has its id before anything is measured. */
  const openHandles = async () => {
    for (const name of flat) handles.push(sdk.counter(name));
    for (const handle of handles) if (!handle.add(1)) await sdk.drain();
    await sdk.flush();
  };
  const cases = [
    ['frames by name, 1,000 a batch', 2e6, raw(1000, names, byName)],
    ['frames by id, 1,000 a batch', 4e6, raw(1000, ids, byId)],
    ['frames by id, 10,000 a batch', 8e6, raw(10_000, ids, byId)],
    ['SDK batch(), 1,000 names', 1e6, () => runBatches(sdk, flat, 1000, next)],
    ['SDK counter().add(), 1,000 a batch', 2e6, () => runHandles(sdk, handles, 1000, next)],
    ['SDK counter().add(), 10,000 a batch', 4e6, () => runHandles(sdk, handles, 10_000, next)],
  ];
  const rows = [];
  for (const [name, floor, once] of cases) {
    if (name.includes('counter()') && handles.length === 0) await openHandles();
    const results = [];
    for (let i = 0; i < RUNS; i++) results.push(await once());
    const figure = (key) => median(results.map((one) => one[key]));
    rows.push({
      case: name,
      floor,
      perSecond: Math.round(figure('perSecond')),
      p50: figure('p50'),
      p99: figure('p99'),
    });
  }
  await sdk.close();
  client.close();
  if (process.argv.includes('--json')) console.log(JSON.stringify(rows));
  else {
    for (const { case: name, floor, perSecond, p50, p99 } of rows) {
      console.log(
        `${name.padEnd(36)} ${(perSecond / 1e6).toFixed(2).padStart(6)} M/s  (floor ${floor / 1e6})  p50 ${p50.toFixed(1)} ms  p99 ${p99.toFixed(1)} ms`,
      );
    }
  }
});
