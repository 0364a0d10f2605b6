import { parseArgs } from 'node:util';
import { openSources } from './sources.mjs';

/**
 * The model of readers that follow (test/pubsub/follow-model.ts), for longer than the test suite plays it:
 *
 *   npm run follow -- [--seeds 500] [--seed FIRST]      one seed where only that is given
 *
 * Exits with 1 at the first seed in which a reader was told wrong.
 */
const { values } = parseArgs({ options: { seeds: { type: 'string' }, seed: { type: 'string' } } });
const first = Number(values.seed ?? 1);
const seeds = Number(values.seeds ?? (values.seed === undefined ? 500 : 1));
if (!Number.isSafeInteger(first) || !(Number.isSafeInteger(seeds) && seeds > 0))
  throw new Error('--seed and --seeds are whole numbers.');

const sources = await openSources();
const { follow } = await sources.ssrLoadModule('/test/pubsub/follow-model.ts');

const sums = {};
try {
  for (let seed = first; seed < first + seeds; seed++) {
    for (const [key, count] of Object.entries(await follow(seed))) sums[key] = (sums[key] ?? 0) + count;
  }
  console.log(`${seeds} seeds from ${first} on: ${JSON.stringify(sums)}`);
} catch (error) {
  console.error(error);
  process.exitCode = 1;
}
await sources.close();
