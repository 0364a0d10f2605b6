import { CAPACITY, throughRing } from './layers/ring.mjs';
import { runNative } from './native.mjs';
import { Row } from './rows.mjs';

/** A frame of one increment, and a batch of 1,000 by name. */
const CASES = [
  { bytes: 64, messages: 4e6, unit: 'M messages/s', scale: 1e6 },
  { bytes: 22_000, messages: 2e5, unit: 'K messages/s', scale: 1e3 },
];

/** Messages from one thread to another through a ring of the lanes. */
export async function ringRows({ operations, runs, progress }) {
  const rows = [];
  for (const [i, { bytes, messages, unit, scale }] of CASES.entries()) {
    progress(i, CASES.length);
    const count = Math.round((messages * operations) / 4e6);
    const row = new Row('ring', `messages of ${bytes.toLocaleString('en')} bytes`, unit);
    await throughRing(bytes, Math.ceil(count / 10));
    for (let run = 0; run < runs; run++) {
      const ours = await throughRing(bytes, count);
      const theirs = await runNative('ring', bytes, count, CAPACITY);
      row.ours.push(count / ours.seconds / scale);
      row.ceiling.push(count / theirs.seconds / scale);
    }
    rows.push(row);
  }
  return rows;
}
