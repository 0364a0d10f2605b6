import fc from 'fast-check';
import { expect, it } from 'vitest';
import { SlotTopics } from '../../src/pubsub/slot-topics.js';

it('Topics of slots are what a map of numbers is', () => {
  // the last ones lie in cells beside each other, and so do those that follow each other a power of 2 apart
  const slot = fc.oneof(
    fc.nat({ max: 40 }),
    fc.nat({ max: 2 ** 32 - 2 }),
    fc.nat({ max: 20 }).map((i) => i * 2 ** 20),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(slot, fc.boolean()), { maxLength: 200, size: 'max' }), (steps) => {
      const [topics, model] = [new SlotTopics(), new Map<number, number>()];
      steps.forEach(([slot, isSet], step) => {
        if (isSet) {
          topics.set(slot, step);
          model.set(slot, step);
        } else {
          topics.delete(slot);
          model.delete(slot);
        }
      });
      for (const [slot] of steps) expect(topics.get(slot)).toBe(model.get(slot) ?? -1);
      expect(topics.get(12_345)).toBe(model.get(12_345) ?? -1);
    }),
    { numRuns: 500 },
  );
});
