import { join } from 'node:path';
import { median } from '../load/histogram.mjs';
import { random, randomNames } from '../load/names.mjs';
import { bodiesOf, byId, byName, picks, writeBlocks } from './bytes.mjs';
import { KernelLayer } from './layers/kernel.mjs';
import { runNative } from './native.mjs';
import { Row } from './rows.mjs';

const BATCH = 1_000;
const NAME_BYTES = 20;

/**
 * The kernel by name and by id. The ceiling is C with prefetching and the same keyed hash; beside it C without stages, and with a hash
 * that has no key. Both sides must end with the same values.
 *
 * @param sizes how many counters the one partition has, a set of rows for each
 */
export async function kernelRows({ directory, sizes, operations, runs, progress }) {
  const rows = [];
  for (const [i, size] of sizes.entries()) {
    progress(i, sizes.length);
    rows.push(...(await rowsOf(directory, size, operations, runs)));
  }
  return rows;
}

async function rowsOf(directory, size, operations, runs) {
  const next = random(size);
  const names = randomNames(size, NAME_BYTES, next);
  const of = `${size.toLocaleString('en')} names`;
  const rows = [];
  const insert = join(directory, 'insert');
  const measured = join(directory, 'measured');
  for (const key of ['name', 'id']) {
    const layer = new KernelLayer(names);
    const bodies =
      key === 'name'
        ? bodiesOf(picks(names, operations, next), BATCH, byName)
        : bodiesOf(picks(layer.ids, operations, next), BATCH, byId);
    writeBlocks(insert, layer.insert);
    writeBlocks(measured, bodies);
    const row = (work) => new Row('kernel', `${work}, ${of}`, 'M/s');
    const best = new Row('kernel', `by ${key}, ${of}`, 'M/s', { target: key === 'name' ? 0.8 : 0.6 });
    const naive = row(`by ${key}, C without stages`);
    const cheap = row(`by ${key}, C with a hash without key`);
    const shown = key === 'name' ? [best, naive, cheap] : [best, naive];
    layer.run(bodies);
    for (let i = 0; i < runs; i++) {
      const ours = operations / layer.run(bodies) / 1e6;
      for (const [kind, hash, to] of [
        ['prefetched', 'siphash', best],
        ['naive', 'siphash', naive],
        ['prefetched', 'cheap', cheap],
      ]) {
        if (!shown.includes(to)) continue;
        const { seconds, hash: theirs } = await runNative('kernel', insert, measured, kind, hash, runs + 1);
        if (i === runs - 1 && theirs !== layer.hash()) throw new Error(`The kernel and C differ: ${to.work}.`);
        to.ours.push(ours);
        to.ceiling.push(operations / median(seconds.slice(1)) / 1e6);
      }
    }
    rows.push(...shown);
  }
  return rows;
}
