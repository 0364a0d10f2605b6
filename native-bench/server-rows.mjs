import { join } from 'node:path';
import { Flag } from '../dist/protocol/opcode.js';
import { Counters } from '../load/counters.mjs';
import { random, randomNames } from '../load/names.mjs';
import { RawClient } from '../load/raw-client.mjs';
import { withServer } from '../load/server.mjs';
import { addFrame, bodiesOf, byId, byName, helloFrame, picks, writeStream } from './bytes.mjs';
import { KernelLayer } from './layers/kernel.mjs';
import { runNative } from './native.mjs';
import { Row } from './rows.mjs';

const NAME_BYTES = 20;
const PARTITIONS = 16;
const LANES = [1, 2];
const IN_FLIGHT = 16;
const CASES = [
  { key: 'name', size: 1_000, ack: 'applied', target: 0.5 },
  { key: 'id', size: 1_000, ack: 'applied', target: 0.5 },
  { key: 'id', size: 10_000, ack: 'applied' },
  { key: 'name', size: 1_000, ack: 'durable' },
  { key: 'id', size: 10_000, ack: 'durable' },
];

/**
 * The whole server, from a C client: its ceiling is what its own kernels do with the same batches in one thread and nothing else. As the
 * batches go round the 16 partitions, their counters are no more in the processor's cache there than in the server. With two lanes
 * the ratio may pass 1; the last rows compare two lanes with one.
 */
export async function serverRows({ directory, names: count, operations, seconds, runs, progress }) {
  const names = randomNames(count, NAME_BYTES, random(10));
  const rates = new Map();
  for (const [i, lanes] of LANES.entries()) {
    progress(i, LANES.length);
    await withServer(
      async (url) => {
        for (const one of CASES)
          rates.set(keyOf(one, lanes), await measure(url, names, one, { directory, seconds, runs, operations }));
      },
      '--lanes',
      String(lanes),
      '--partitions',
      String(PARTITIONS),
    );
  }
  const kernel = kernelRates(names, operations);
  const rows = CASES.flatMap((one) =>
    LANES.map((lanes) => {
      const target = lanes === 1 ? one.target : undefined;
      const row = new Row(
        'server',
        `${titleOf(one)}, ${lanes} lane${lanes > 1 ? 's' : ''}, against its kernel`,
        'M/s',
        { target },
      );
      row.ours.push(...rates.get(keyOf(one, lanes)));
      row.ceiling.push(...row.ours.map(() => kernel(one)));
      return row;
    }),
  );
  const lanes = CASES.map((one) => {
    const row = new Row(
      'lanes',
      `${titleOf(one)}, 2 lanes against 1`,
      'M/s',
      one.ack === 'applied' ? { target: 1.7 } : {},
    );
    row.ours.push(...rates.get(keyOf(one, 2)));
    row.ceiling.push(...rates.get(keyOf(one, 1)));
    return row;
  });
  return [...rows, ...lanes];
}

const keyOf = ({ key, size, ack }, lanes) => `${key} ${size} ${ack} ${lanes}`;
const titleOf = ({ key, size, ack }) => `by ${key}, ${size.toLocaleString('en')} a batch, ${ack}`;

/** Of the kernels of all partitions, each with its part of the names, batch by batch in turns: millions of operations a second. */
function kernelRates(names, operations) {
  const parts = Array.from({ length: PARTITIONS }, (_, part) => names.filter((_, i) => i % PARTITIONS === part));
  const next = random(11);
  const layers = parts.map((part) => new KernelLayer(part));
  const known = new Map();
  const measured = (key, size) => {
    const [keysOf, write] = key === 'name' ? [(part) => parts[part], byName] : [(part) => layers[part].ids, byId];
    const batches = Array.from({ length: Math.ceil(operations / size) }, (_, i) => {
      const [body] = bodiesOf(picks(keysOf(i % PARTITIONS), size, next), size, write);
      return { layer: layers[i % PARTITIONS], bodies: [body] };
    });
    const seconds = () => batches.reduce((sum, { layer, bodies }) => sum + layer.run(bodies), 0);
    seconds();
    return (batches.length * size) / Math.min(seconds(), seconds(), seconds()) / 1e6;
  };
  return ({ key, size }) => {
    const name = `${key} ${size}`;
    if (!known.has(name)) known.set(name, measured(key, size));
    return known.get(name);
  };
}

/** Millions of increments a second, for each run. */
async function measure(url, names, { key, size, ack }, { directory, seconds, runs, operations }) {
  const raw = await RawClient.connect(url, 'opener');
  const counters = await Counters.open(raw, names);
  const files = raw.lanes.map(({ port, partitions }, lane) => {
    const path = join(directory, `lane-${lane}`);
    writeStream(path, framesOf(counters, partitions, { key, size, ack, operations: operations / raw.lanes.length }));
    return [port, path];
  });
  const figures = [];
  const before = await counters.sum(raw);
  let sent = 0;
  await runNative('client', seconds / 4, IN_FLIGHT, ...files.flat()).then((warm) => {
    sent += warm.operations;
  });
  for (let run = 0; run < runs; run++) {
    const { operations: done, seconds: spent } = await runNative('client', seconds, IN_FLIGHT, ...files.flat());
    sent += done;
    figures.push(done / spent / 1e6);
  }
  const counted = Number((await counters.sum(raw)) - before);
  raw.close();
  if (counted !== sent) throw new Error(`${sent} increments were acknowledged, ${counted} were counted.`);
  return figures;
}

/** HELLO of a producer that nobody else is, then batches that go round the partitions of a lane. */
function framesOf(counters, partitions, { key, size, ack, operations }) {
  const next = random(12);
  const lists = partitions.map((partition) => counters.numbersOf(partition));
  const write = (writer, number) => {
    if (key === 'name') byName(writer, counters.names[number]);
    else byId(writer, { slot: counters.slots[number], generation: counters.generations[number] });
  };
  const count = Math.max(IN_FLIGHT * 2, Math.ceil(operations / size));
  const frames = Array.from({ length: count }, (_, i) => {
    const at = i % lists.length;
    const [body] = bodiesOf(picks(lists[at], size, next), size, write);
    return addFrame(partitions[at], i + 1, body, ack === 'applied' ? Flag.APPLIED : 0);
  });
  return [helloFrame(`native-${process.pid}-${key}-${size}-${ack}-${partitions[0]}`), ...frames];
}
