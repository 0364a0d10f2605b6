import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Chain, Group } from '../../src/log/group.js';
import { firstPlace } from '../../src/log/replay.js';
import { KERNEL_VERSION, Kind, Partition } from '../../src/partition/partition.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { encodeAdd } from '../../src/protocol/request.js';
import { type FoundRecord, findRecords } from '../../src/repair/found-records.js';
import { salvage } from '../../src/repair/salvage.js';
import { compileWasm } from '../../src/wasm.js';

const SHAPE = { partitions: [0], kernelVersion: KERNEL_VERSION };

let directory: string;
/** One record after the other, as a lane would have written them, each in a group of its own or part of one. */
const records: Uint8Array[] = [];
/** Of the partition after each of its bodies. */
const states: { readonly sequence: number; readonly counters: number }[] = [];

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tallystick-salvage-'));
  const partition = new Partition(compileWasm('kernel'));
  const group = new Group(new Chain(SHAPE, firstPlace(SHAPE)));
  const log = (kind: number, body: Uint8Array) => {
    group.append(
      0,
      partition.sequence,
      { kind, flags: 0, producer: 0, incarnation: 0, milliseconds: states.length },
      body,
    );
    records.push(...group.seal().records.map((record) => record.slice()));
    group.reset();
    states.push({ sequence: partition.sequence, counters: partition.statistics.counters });
  };
  const configuration = {
    partition: 0,
    partitions: 1,
    secret: new Uint8Array(16),
    maximumPages: 1_000,
    maximumProducers: 10,
    maximumOperationIds: 10,
    producerIdleMilliseconds: 1_000,
    operationIdMilliseconds: 1_000,
    windowBytes: 16_000_000,
  };
  log(Kind.CONFIGURE, partition.configure(configuration, 0));
  // The second of these bodies takes three records, the others one each.
  for (const [first, count] of [
    [0, 10],
    [0, 6_000],
    [100, 10],
  ] as const) {
    const operations = Array.from({ length: count }, (_, i) => ({
      key: { name: `a name of some length ${first + i}` },
      delta: 1n,
    }));
    const writer = new ByteWriter();
    encodeAdd(writer, { operations });
    expect(partition.apply(Opcode.ADD, 0, 0, 0, states.length, writer.view())).toBe(0);
    log(Opcode.ADD, writer.copy());
  }
  expect(records).toHaveLength(6);
});
afterAll(() => rmSync(directory, { recursive: true }));

function salvaged(kept: readonly number[], known = 0) {
  const path = join(directory, 'log');
  writeFileSync(path, Buffer.concat(kept.map((index) => records[index] as Uint8Array)));
  const found: FoundRecord[] = [];
  findRecords(path, KERNEL_VERSION, (_, record) => found.push(record));
  const lane = { path: directory, partitions: [0] };
  return salvage({ lane, partition: 0, records: found, known, milliseconds: 0, useCheckpoint: true });
}

test('a body is kept whole or not at all, wherever its records end', async () => {
  const cases: [kept: number[], bodies: number][] = [
    [[0, 1, 2, 3, 4, 5], 4],
    [[0, 1, 2, 3, 4], 3],
    [[0, 1, 2, 3], 2],
    [[0, 1, 2], 2],
    [[0, 1], 2],
    [[0], 1],
    [[0, 1, 2, 4, 5], 2],
    [[0, 1, 3, 4, 5], 2],
  ];
  for (const [kept, bodies] of cases) {
    const { kept: head, counters } = await salvaged(kept);
    expect({ kept, sequence: head.sequence, counters }).toEqual({ kept, ...states[bodies - 1] });
  }
  expect((await salvaged([1, 2, 3])).kept).toEqual({ sequence: 0, hash: 0n });
});

test('what is not kept is told as far as it can be read, and how much can not', async () => {
  const { dropped } = await salvaged([0, 1, 3, 4, 5], 4);
  expect(dropped).toMatchObject({ from: 3, through: 4, readable: 1, times: [3, 3] });
  expect(dropped?.counters).toHaveLength(10);
  expect(dropped?.counters[0]).toEqual({ name: 'a name of some length 100', delta: 1n, operations: 1 });
  expect((await salvaged([0, 1], 9)).dropped).toMatchObject({ from: 3, through: 9, readable: 0, times: undefined });
  expect((await salvaged([0, 1, 2, 3, 4, 5], 4)).dropped).toBeUndefined();
});
