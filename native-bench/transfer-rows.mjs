import { join } from 'node:path';
import { random, randomNames } from '../load/names.mjs';
import { addFrame, bodiesOf, byName, helloFrame, writeStream } from './bytes.mjs';
import { answerFrames } from './layers/transfer.mjs';
import { runNative, startAnswerer } from './native.mjs';
import { Row } from './rows.mjs';

const NAMES = 100_000;
const NAME_BYTES = 20;
const CASES = [
  { size: 1, inFlight: 64, unit: 'K frames/s', scale: 1e3 },
  { size: 1, inFlight: 1, unit: 'K frames/s', scale: 1e3 },
  { size: 1_000, inFlight: 16, unit: 'M increments/s', scale: 1e6 },
];

/** The same frames from the same client over the loopback: to the server's connections, and to C that only answers. */
export async function transferRows({ directory, seconds, runs, progress }) {
  const names = randomNames(NAMES, NAME_BYTES, random(8));
  const frames = join(directory, 'frames');
  const rows = [];
  for (const [i, { size, inFlight, unit, scale }] of CASES.entries()) {
    progress(i, CASES.length);
    writeStream(frames, [
      helloFrame('transfer'),
      ...bodiesOf(names, size, byName).map((body, n) => addFrame(0, n + 1, body)),
    ]);
    const row = new Row('transfer', `frames of ${size.toLocaleString('en')}, ${inFlight} in flight`, unit);
    const rate = async (port) => {
      const { operations, seconds: spent } = await runNative('client', seconds, inFlight, port, frames);
      return operations / spent / scale;
    };
    for (let run = 0; run < runs; run++) {
      const listener = await answerFrames();
      row.ours.push(await rate(listener.port));
      await listener.close();
      const answerer = await startAnswerer(1);
      row.ceiling.push(await rate(answerer.port));
      await answerer.exited;
    }
    rows.push(row);
  }
  return rows;
}
