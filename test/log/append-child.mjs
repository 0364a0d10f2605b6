// Appends six groups to a new log, and prints what became of each: an append that is not answered within 2 s is `silent`,
// one that was not written is tried once more. Runs from dist/, under strace (lmdb-log.test.ts).
//
//   append-child.mjs DIRECTORY BYTES   of each group
import { join } from 'node:path';
import { setTimeout as after } from 'node:timers/promises';
import { Chain, Group } from '../../dist/log/group.js';
import { createLaneStorage, openLaneStorage } from '../../dist/log/lane-storage.js';

const shape = { partitions: [0], kernelVersion: 1 };
const directory = join(process.argv[2], 'lane');
await createLaneStorage(directory, shape);
const { log } = await openLaneStorage(directory, shape);
const mark = { group: 0, heads: new Map([[0, { sequence: 0, hash: 0n }]]) };
const start = await log.replay({ mark, visit: () => {} });
const group = new Group(new Chain(shape, start));
const header = { kind: 4, flags: 0, producer: 1, incarnation: 1, milliseconds: 1_700_000_000_000 };
const outcomes = [];
for (let sequence = 1; sequence <= 6 && outcomes.at(-1) !== 'silent'; sequence++) {
  group.append(0, sequence, header, new Uint8Array(Number(process.argv[3])));
  const sealed = group.seal();
  const append = async () => (await Promise.race([log.append(sealed), after(2_000, { kind: 'silent' })])).kind;
  outcomes.push(await append());
  if (outcomes.at(-1) === 'not-written') outcomes.push(await append());
  group.reset();
}
console.log(JSON.stringify(outcomes));
// An environment that failed can't be closed.
process.exit(0);
