import fc from 'fast-check';
import { expect, it } from 'vitest';
import { SlotTopics } from '../../src/pubsub/slot-topics.js';

it('Topics of slots are what a map of numbers is, and the bits say of which slots there are any', () => {
  const slot = fc.oneof(fc.nat({ max: 40 }), fc.nat({ max: 1_000 }), fc.nat({ max: 100_000 }));
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
      for (const [slot] of steps) {
        for (const each of [slot, slot + 1, slot + 8]) expect(topics.get(each)).toBe(model.get(each) ?? -1);
      }
      for (const slot of [12_345, 10_000_000, 2 ** 32 - 2]) expect(topics.get(slot)).toBe(model.get(slot) ?? -1);
      const bits = [...topics.words].flatMap((word, at) =>
        word === 0 ? [] : Array.from({ length: 32 }, (_, bit) => ((word >>> bit) & 1 ? at * 32 + bit : -1)),
      );
      expect(bits.filter((slot) => slot >= 0)).toEqual([...model.keys()].sort((a, b) => a - b));
    }),
    { numRuns: 500 },
  );
});
