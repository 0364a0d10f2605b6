import { join } from 'node:path';
import { median } from '../load/histogram.mjs';
import { random, randomNames } from '../load/names.mjs';
import { addFrame, bodiesOf, byName, writeBlocks, writeStream } from './bytes.mjs';
import { cutFrames, encodeNames } from './layers/codec.mjs';
import { runNative } from './native.mjs';
import { Row } from './rows.mjs';

const NAME_BYTES = 20;
const ROUNDS = 5;

/** Frames cut and answered, of one operation and of 1,000; operations written from names. */
export async function codecRows({ directory, operations, runs, progress }) {
  progress(0, 1);
  const names = randomNames(operations, NAME_BYTES, random(7));
  const encoder = new TextEncoder();
  const file = join(directory, 'codec');
  const rows = [];
  for (const size of [1, 1_000]) {
    const stream = Buffer.concat(bodiesOf(names, size, byName).map((body, i) => addFrame(0, i + 1, body)));
    writeStream(file, [stream]);
    const row = new Row('codec', `cut and answer frames of ${size.toLocaleString('en')}`, 'M frames/s');
    await fill(
      row,
      runs,
      () => cutFrames(stream),
      () => runNative('codec', 'cut', file, ROUNDS),
    );
    rows.push(row);
  }
  writeBlocks(
    file,
    names.map((name) => encoder.encode(name)),
  );
  const row = new Row('codec', 'write operations by name', 'M/s');
  await fill(
    row,
    runs,
    () => encodeNames(names),
    () => runNative('codec', 'encode', file, ROUNDS),
  );
  return [...rows, row];
}

async function fill(row, runs, ours, theirs) {
  ours();
  for (let i = 0; i < runs; i++) {
    const one = ours();
    const other = await theirs();
    if (one.hash !== other.hash || one.operations !== other.operations)
      throw new Error(`The codec and C differ: ${row.work}.`);
    row.ours.push(one.operations / one.seconds / 1e6);
    row.ceiling.push(other.operations / median(other.seconds.slice(1)) / 1e6);
  }
}
