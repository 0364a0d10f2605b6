import fc from 'fast-check';
import { describe, test } from 'vitest';
import { Flag } from '../../src/protocol/opcode.js';
import type { Operation } from '../../src/protocol/request.js';
import { NOBODY } from './fixture.js';
import { Pair, step } from './random-calls.js';

describe('A kernel under random calls does what the naive model does', () => {
  test('with few names, producers and operation ids', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
        const pair = new Pair({ maximumProducers: 3, maximumOperationIds: 6, producerIdleMilliseconds: 300_000 });
        for (const step of steps) pair.run(step);
        pair.compareAll();
      }),
      { numRuns: 120 },
    );
  });

  test('in a partition of four, where a foreign name refuses the whole body', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40, size: 'max' }), (steps) => {
        const pair = new Pair({ partition: 1, partitions: 4 });
        for (const step of steps) pair.run(step);
        pair.compareAll();
      }),
      { numRuns: 100 },
    );
  });

  test('with thousands of names, so that buckets split and pages fill', () => {
    const bulk = fc.record({
      from: fc.nat(9_000),
      count: fc.integer({ min: 500, max: 3000 }),
      atomic: fc.boolean(),
      spoiled: fc.boolean(),
      long: fc.boolean(),
      deletes: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 3, arbitrary: bulk }, step), { minLength: 5, maxLength: 15, size: 'max' }),
        (steps) => {
          const pair = new Pair();
          for (const step of steps) {
            if ('type' in step) {
              pair.run(step);
              continue;
            }
            const nameOf = (i: number) => `${step.long ? 'a name of some length/' : 'n'}${step.from + i}`;
            const operations: Operation[] = Array.from({ length: step.count }, (_, i) => ({
              key: { name: nameOf(i) },
              delta: BigInt(i - 20),
            }));
            // The last operation fails, and an atomic batch takes all the names before it back.
            if (step.spoiled) operations.push({ key: { slot: 2 ** 31, generation: 0 }, delta: 1n });
            const flags = step.atomic ? Flag.ATOMIC : 0;
            pair.both((counters) => counters.add({ operations }, flags, NOBODY, pair.time));
            for (let i = 0; step.deletes && i < step.count; i += 11) {
              const request = { key: { name: nameOf(i) }, reason: 'gone' };
              pair.both((counters) => counters.delete(request, NOBODY, pair.time));
            }
          }
          pair.compareAll();
        },
      ),
      { numRuns: 15 },
    );
  });
});
