import { describe, expect, test } from 'vitest';
import { connect } from '../../src/client/index.js';
import { systemClock } from '../../src/clock.js';
import { TIMEOUT_MILLISECONDS } from '../integration/clients.js';
import { type ServerProcess, serverOfTest } from '../integration/server-process.js';
import { Random } from '../support/random.js';
import { fuzzKernel } from './kernel-fuzz.js';
import { Mutator } from './mutate.js';
import { fuzzForwarded, fuzzLanes, type LaneFuzz } from './socket-fuzz.js';
import { ValidFrames } from './valid-frames.js';

/** A small share of `npm run fuzz`. */

test('a seed gives the same frames again, and another one others', () => {
  const bytesOf = (seed: number): string[] => {
    const random = new Random(seed);
    const server = { partition: 0, partitions: 1, epoch: 1, position: 5, direct: true, nextSequence: 3 };
    const valid = new ValidFrames(random, server);
    const mutator = new Mutator(random, () => valid.next(server));
    return Array.from({ length: 300 }, () => Buffer.from(mutator.next().bytes).toString('hex'));
  };
  expect(bytesOf(1)).toEqual(bytesOf(1));
  expect(new Set([...bytesOf(1), ...bytesOf(2)]).size).toBeGreaterThan(550);
});

describe('mutated frames at the kernel', () => {
  test.each([1, 2])('come to what the model says, and leave no trace where they are refused (seed %i)', (seed) => {
    const { frames, reached, applied, hashes, lostFraming } = fuzzKernel(seed, 3_000);
    expect(reached * 2).toBeGreaterThan(frames);
    expect(applied).toBeGreaterThan(500);
    expect(hashes).toBeGreaterThan(1_000);
    expect(lostFraming).toBeGreaterThan(5);
  });
});

describe('mutated frames at the socket of a server', () => {
  const flags = ['--log-level', 'error'];

  async function expectRight(server: ServerProcess, lanes: readonly LaneFuzz[]): Promise<void> {
    await Promise.all(lanes.map((lane) => lane.run(1_500)));
    for (const { report } of lanes) {
      expect(report.reached * 2).toBeGreaterThan(report.frames);
      expect(report.broken).toBeGreaterThan(5);
    }
    const client = await connect(server.url, { timeout: TIMEOUT_MILLISECONDS });
    expect(await client.increment('after')).toBe(1n);
    await client.close();
    await server.crash();
    for (const lane of lanes) expect(await lane.verify()).toBeGreaterThan(100);
  }

  test('get the answers that the model gives, and what was acknowledged stays', async () => {
    const server = await serverOfTest({ lanes: 2, partitions: 2, flags });
    await expectRight(server, await fuzzLanes(new URL(server.url), 1, elapsed()));
  });

  test('and so they do through a lane that has to pass them on', async () => {
    const server = await serverOfTest({ lanes: 2, partitions: 2, flags });
    await expectRight(server, [await fuzzForwarded(new URL(server.url), 1, elapsed())]);
  });
});

function elapsed(): () => number {
  const began = systemClock.monotonicMilliseconds();
  return () => systemClock.monotonicMilliseconds() - began;
}
