import { connect } from '../dist/client/index.js';
import { fill, numberedNames } from './fill.mjs';
import { percentiles } from './histogram.mjs';
import { random } from './names.mjs';
import { openLoop } from './open-loop.mjs';
import { RawClient } from './raw-client.mjs';
import { withServer } from './server.mjs';

/** What a caller feels of checkpoints and growth: durable increments at a fixed rate, on a quiet server and on one that does both. */

const NAME_BYTES = 12;
const RATE = 1_000;
/** New counters a second meanwhile, made in steps. */
const GROWTH = 100_000;
const STEP_MILLISECONDS = 100;
const TIMES = 6;

/** @returns percentiles of both, and how many checkpoints were made while the second were taken */
export async function stallRow(count, seconds, ...flags) {
  let row;
  await withServer(
    async (url) => {
      const { text, bytes } = numberedNames(NAME_BYTES);
      const client = await connect(url, { timeout: 60_000 });
      const raw = await RawClient.connect(url, 'stall');
      const next = random(6);
      const measure = async () => {
        const call = () => client.increment(text(Math.floor(next() * count)));
        const { histogram } = await openLoop(call, { rate: RATE, seconds: seconds * TIMES });
        return percentiles(histogram);
      };
      await measure(); // warm
      const quiet = await measure();
      await fill(raw, count, bytes);
      const before = await checkpointsOf(client);
      const busy = await whileGrowing(raw, count, bytes, measure);
      row = { counters: count, quiet, busy, checkpoints: (await checkpointsOf(client)) - before };
      raw.close();
      await client.close();
    },
    ...flags,
  );
  return row;
}

async function checkpointsOf(client) {
  const lanes = await client.stats();
  return lanes.reduce((sum, { checkpoints }) => sum + checkpoints.made, 0);
}

/** Does the work while new counters are made at a steady rate. */
async function whileGrowing(raw, from, nameOf, work) {
  let made = from;
  let isDone = false;
  const step = (GROWTH * STEP_MILLISECONDS) / 1_000;
  const growing = (async () => {
    while (!isDone) {
      const start = performance.now();
      const first = made;
      await fill(raw, step, (number, into) => nameOf(first + number, into));
      made += step;
      const rest = STEP_MILLISECONDS - (performance.now() - start);
      if (rest > 0) await new Promise((resolve) => setTimeout(resolve, rest));
    }
  })();
  try {
    return await work();
  } finally {
    isDone = true;
    await growing;
  }
}
