import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Pending } from '../../src/client/pending.js';
import { idOfOnePlace } from '../support/request-ids.js';

/** What waits for answers, held against a Map. */

const MOST_ID = 0xffff_ffff;
/** Close to each other, all in the same place, and around the last one. */
const id = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: 0, max: 20 }).map(idOfOnePlace),
  fc.integer({ min: 0, max: 20 }).map((below) => MOST_ID - below),
  fc.integer({ min: 0, max: MOST_ID }),
);

test('holds what was set and not deleted, by its id', () => {
  const steps = fc.array(fc.record({ id, isSet: fc.boolean() }), { maxLength: 300, size: 'max' });
  fc.assert(
    fc.property(steps, (all) => {
      const pending = new Pending<{ readonly step: number }>();
      const model = new Map<number, { readonly step: number }>();
      for (const [step, { id, isSet }] of all.entries()) {
        if (isSet) pending.set(id, { step });
        else pending.delete(id);
        if (isSet) model.set(id, { step });
        else model.delete(id);
        expect(pending.size).toBe(model.size);
      }
      for (const { id } of all) expect(pending.get(id)).toEqual(model.get(id));
      const byStep = (found: Iterable<{ readonly step: number }>) => [...found].map(({ step }) => step).sort();
      expect(byStep(pending.takeAll())).toEqual(byStep(model.values()));
      expect(pending.size).toBe(0);
      for (const { id } of all) expect(pending.get(id)).toBeUndefined();
    }),
  );
});
