import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Slots } from '../../src/pubsub/slots.js';

it('Slots are what a set of numbers is', () => {
  const slot = fc.oneof(fc.nat({ max: 70 }), fc.nat({ max: 100_000 }));
  fc.assert(
    fc.property(fc.array(fc.tuple(slot, fc.boolean()), { maxLength: 100 }), (steps) => {
      const [slots, model] = [new Slots(), new Set<number>()];
      for (const [slot, isAdded] of steps) {
        if (isAdded) {
          slots.add(slot);
          model.add(slot);
        } else {
          slots.delete(slot);
          model.delete(slot);
        }
        for (const each of [slot, slot + 1, slot + 32, slot + 1_000_000]) expect(slots.has(each)).toBe(model.has(each));
      }
      for (const [slot] of steps) expect(slots.has(slot)).toBe(model.has(slot));
    }),
  );
});
