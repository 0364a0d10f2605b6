import { build } from 'hdr-histogram-js';
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

/** Closed loop with IN_FLIGHT batches for some seconds: increments a second, and the latency of a batch. */
function run(client, batches, size) {
  const latency = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 60_000_000,
    numberOfSignificantValueDigits: 3,
  });
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
          resolve({
            perSecond: done / ((now - start) / 1000),
            p50: latency.getValueAtPercentile(50) / 1000,
            p99: latency.getValueAtPercentile(99) / 1000,
          });
        }
      });
    };
    for (let i = 0; i < IN_FLIGHT; i++) send();
  });
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
  const cases = [
    { name: 'by name, 1,000 a batch', floor: 2e6, size: 1000, lists: names, write: byName },
    { name: 'by id, 1,000 a batch', floor: 4e6, size: 1000, lists: ids, write: byId },
    { name: 'by id, 10,000 a batch', floor: 8e6, size: 10_000, lists: ids, write: byId },
  ];
  const rows = [];
  for (const { name, floor, size, lists, write } of cases) {
    const batches = makeBatches(lists, size, next, write);
    const results = [];
    for (let i = 0; i < RUNS; i++) results.push(await run(client, batches, size));
    rows.push({
      case: name,
      floor,
      perSecond: Math.round(median(results.map((result) => result.perSecond))),
      p50: median(results.map((result) => result.p50)),
      p99: median(results.map((result) => result.p99)),
    });
  }
  client.close();
  if (process.argv.includes('--json')) console.log(JSON.stringify(rows));
  else {
    for (const { case: name, floor, perSecond, p50, p99 } of rows) {
      console.log(
        `${name.padEnd(24)} ${(perSecond / 1e6).toFixed(2).padStart(6)} M/s  (floor ${floor / 1e6})  p50 ${p50.toFixed(1)} ms  p99 ${p99.toFixed(1)} ms`,
      );
    }
  }
});
