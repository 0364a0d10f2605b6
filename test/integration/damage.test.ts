import { expect, test } from 'vitest';
import { damageCases } from '../../load/damage-cases.mjs';

// `npm run damage` is the same with 1,000 flipped bits and 200 truncations.
test('a flipped bit or a cut in any file is refused, or harms nothing, and a repair leads back to a sound directory', async () => {
  const report = await damageCases({ flips: 8, truncations: 4, repairs: 4, seed: 7 });
  expect(report.bad).toEqual([]);
  expect(report.cases).toBe(12);
  const refused = Object.values(report.files).reduce((sum, row) => sum + (row['refused'] ?? 0), 0);
  expect(refused).toBeGreaterThan(0);
  expect(Object.keys(report.repaired)).not.toEqual([]);
}, 300_000);
