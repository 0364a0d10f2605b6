// Appends groups of one record to a log of tiny segments, drops what it may, and prints a line for each thing that is
// done. Runs from dist/, under strace (segmented-log.test.ts).
import { writeSync } from 'node:fs';
import { Chain, Group } from '../../dist/log/group.js';
import { createLaneStorage, openLaneStorage } from '../../dist/log/lane-storage.js';

const [directory, groups, kind] = process.argv.slice(2);
const shape = { partitions: [0], kernelVersion: 1 };
const say = (what) => writeSync(1, `${JSON.stringify(what)}\n`);
// Three groups make a segment, and whatever may go goes.
const retention = { bytes: 0, milliseconds: 0, clock: { wallMilliseconds: () => Date.now() } };

await createLaneStorage(directory, shape, { kind });
const { log, mark } = await openLaneStorage(directory, shape, { kind, segmentBytes: 250, retention });
const start = await log.replay({ mark: mark.read(), visit: () => {} });
const group = new Group(new Chain(shape, start));
const header = { kind: 4, flags: 0, producer: 1, incarnation: 1, milliseconds: 1_700_000_000_000 };
for (let sequence = start.records + 1; sequence <= Number(groups); sequence++) {
  group.append(0, sequence, header, new Uint8Array(40));
  const sealed = group.seal();
  let outcome = await log.append(sealed);
  say({ sequence, outcome: outcome.kind });
  if (outcome.kind === 'not-written') {
    outcome = await log.append(sealed);
    say({ sequence, outcome: outcome.kind });
  }
  if (outcome.kind === 'unknown') say({ again: (await log.append(sealed)).kind });
  if (outcome.kind === 'flushed') mark.write(sealed);
  group.reset();
}
await log.release(Number(groups)).then(
  () => say({ released: log.firstRecord }),
  (error) => say({ released: error.code }),
);
// An environment that failed can't be closed.
process.exit(0);
