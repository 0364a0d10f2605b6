import { join } from 'node:path';
import { median } from '../load/histogram.mjs';
import { random, randomNames } from '../load/names.mjs';
import { bodiesOf, byName, writeBlocks } from './bytes.mjs';
import { LogLayer } from './layers/log.mjs';
import { runNative } from './native.mjs';
import { Row } from './rows.mjs';

const NAME_BYTES = 20;
/** Groups by the bodies in them, and how many operations each has. */
const GROUPS = [
  { bodies: 1, operations: 1, of: 'one increment' },
  { bodies: 16, operations: 1_000, of: '16,000 increments' },
  { bodies: 128, operations: 1_000, of: '128,000 increments' },
];

const KINDS = [
  ['lmdb', ''],
  ['files', ' in plain files'],
];

/** Groups made durable, one after the other: milliseconds and MB/s, against a bare write and fdatasync of the same bytes. */
export async function logRows({ directory, seconds, runs, progress }) {
  const names = randomNames(1_000, NAME_BYTES, random(9));
  const rows = [];
  for (const [i, { bodies: count, operations, of }] of GROUPS.entries()) {
    progress(i, GROUPS.length);
    const [body] = bodiesOf(names.slice(0, operations), operations, byName);
    const bodies = Array.from({ length: count }, () => body);
    const records = LogLayer.recordsOf(bodies);
    const groups = join(directory, 'groups');
    writeBlocks(groups, [records]);
    const size = records.length < 1e4 ? `${records.length} B` : `${(records.length / 1e3).toFixed(0)} KB`;
    const kinds = KINDS.map(([kind, where]) => ({
      kind,
      p50: new Row('log', `a group of ${of} (${size})${where}, p50`, 'ms', { isLatency: true }),
      through: new Row('log', `groups of ${of}${where}, one after the other`, 'MB/s'),
    }));
    for (let run = 0; run < runs; run++) {
      const bare = await runNative('append', groups, join(directory, 'append'), seconds);
      for (const { kind, p50, through } of kinds) {
        const layer = await LogLayer.create(join(directory, `log-${kind}-${count}-${run}`), kind);
        const { samples, bytes } = await layer.run(bodies, seconds * 1_000);
        await layer.close();
        p50.ours.push(median(samples));
        p50.ceiling.push(bare.p50 * 1_000);
        through.ours.push(bytes / samples.reduce((sum, one) => sum + one, 0) / 1e3);
        through.ceiling.push(bare.bytes / bare.seconds / 1e6);
      }
    }
    for (const { p50, through } of kinds) rows.push(p50, through);
  }
  return rows;
}
