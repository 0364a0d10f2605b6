// Appends six groups to a new log, and prints what became of each: an append that is not answered within 2 s is `silent`,
// one that was not written is tried once more. Runs from dist/, under strace (lmdb-log.test.ts, file-segment.test.ts).
//
//   append-child.mjs DIRECTORY KIND BYTES [now]   of each group; within the call, where that can be
import { join } from 'node:path';
import { setTimeout as after } from 'node:timers/promises';
import { Chain, Group } from '../../dist/log/group.js';
import { createLaneStorage, openLaneStorage } from '../../dist/log/lane-storage.js';

const shape = { partitions: [0], kernelVersion: 1 };
const [parent, kind, bytes, now] = process.argv.slice(2);
const directory = join(parent, 'lane');
await createLaneStorage(directory, shape, { kind });
const { log } = await openLaneStorage(directory, shape, { kind });
const mark = { group: 0, heads: new Map([[0, { sequence: 0, hash: 0n }]]) };
const start = await log.replay({ mark, visit: () => {} });
const group = new Group(new Chain(shape, start));
const header = { kind: 4, flags: 0, producer: 1, incarnation: 1, milliseconds: 1_700_000_000_000 };
const outcomes = [];
for (let sequence = 1; sequence <= 6 && outcomes.at(-1) !== 'silent'; sequence++) {
  group.append(0, sequence, header, new Uint8Array(Number(bytes)));
  const sealed = group.seal();
  const appended = () => (now ? log.appendNow(sealed) : undefined) ?? log.append(sealed);
  const append = async () => (await Promise.race([appended(), after(2_000, { kind: 'silent' })])).kind;
  outcomes.push(await append());
  if (outcomes.at(-1) === 'not-written') outcomes.push(await append());
  group.reset();
}
console.log(JSON.stringify(outcomes));
// An environment that failed can't be closed.
process.exit(0);
