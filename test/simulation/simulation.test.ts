import { expect, it } from 'vitest';
import { simulate } from './simulation.js';

it('a seed replays exactly, traced or not', async () => {
  for (const seed of [1, 2, 3, 4, 5, 2 ** 40 + 1]) {
    const first = await simulate(seed);
    const again = await simulate(seed);
    const { trace, ...traced } = await simulate(seed, true);
    expect(again).toEqual(first);
    expect(traced).toEqual(first);
    expect(trace?.length).toBeGreaterThan(50);
  }
});

it('other seeds go other ways', async () => {
  const hashes = new Set<number>();
  for (const seed of [11, 12, 13, 14]) hashes.add((await simulate(seed)).traceHash);
  expect(hashes.size).toBe(4);
});
