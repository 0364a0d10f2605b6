import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sumsWithin } from '../../src/client/windows.js';

/** Changes within the oldest bucket of a window, before it begins and after. */
const changes = fc.record({
  before: fc.record({ up: fc.bigInt(0n, 1_000n), down: fc.bigInt(0n, 1_000n) }),
  after: fc.record({ up: fc.bigInt(0n, 1_000n), down: fc.bigInt(0n, 1_000n) }),
  up: fc.bigInt(0n, 5_000n),
  down: fc.bigInt(0n, 5_000n),
});

test('the sums of a sliding window are off by their error at most, wherever in its oldest bucket the changes were', () => {
  fc.assert(
    fc.property(changes, fc.integer({ min: 1, max: 60_000 }), ({ before, after, up, down }, milliseconds) => {
      const oldest = before.up + after.up - before.down - after.down;
      const decreases = { sum: -down, oldest: -before.down - after.down };
      const whole = 60_000;
      const told = sumsWithin({ sum: up - down, oldest, decreases }, milliseconds, whole);
      const { value, increases = -1n, decreases: lost = -1n, gross = -1n, error } = told;
      expect(value).toBe(increases - lost);
      expect(gross).toBe(increases + lost);
      expect(increases >= 0n && lost >= 0n).toBe(true);
      expect(value).toBe(sumsWithin({ sum: up - down, oldest }, milliseconds, whole).value);
      // A window of the whole bucket has nothing before it.
      const [truly, fell] =
        milliseconds === whole
          ? [up + before.up + after.up, down + before.down + after.down]
          : [up + after.up, down + after.down];
      for (const [is, was] of [
        [increases, truly],
        [lost, fell],
        [gross, truly + fell],
        [value, truly - fell],
      ] as const) {
        const off = is > was ? is - was : was - is;
        expect(off <= error).toBe(true);
      }
    }),
    // Two shares that are rounded apart
    {
      numRuns: 20_000,
      examples: [[{ before: { up: 0n, down: 146n }, after: { up: 1n, down: 0n }, up: 0n, down: 0n }, 31_242]],
    },
  );
});
