import { expect, it } from 'vitest';
import { follow } from './follow-model.js';

/** Some seeds of the model; `npm run follow` plays as many as it is told. */

const SEEDS = 24;

it(`readers are told what was, over ${SEEDS} seeds`, async () => {
  const sums = { frames: 0, told: 0, resets: 0, resumed: 0, crashes: 0, replays: 0, events: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const report = await follow(seed);
    for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += report[key];
  }
  // what never happened was not tried
  for (const [what, times] of Object.entries(sums)) expect([what, times > SEEDS]).toEqual([what, true]);
});
