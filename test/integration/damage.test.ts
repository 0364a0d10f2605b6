import { expect, test } from 'vitest';
import { damageCases } from '../../load/damage-cases.mjs';

// `npm run damage` is the same with 1,000 flipped bits and 200 truncations.
const KINDS = ['lmdb', 'files'] as const;
test.each(KINDS)(
  'a flipped bit or a cut in any file is refused, or harms nothing, and a repair leads back to a sound directory (%s)',
  async (log) => {
    const report = await damageCases({ flips: 6, truncations: 3, repairs: 3, seed: 7, log });
    expect(report.bad).toEqual([]);
    expect(report.cases).toBe(9);
    const refused = Object.values(report.files).reduce((sum, row) => sum + (row['refused'] ?? 0), 0);
    expect(refused).toBeGreaterThan(0);
    expect(Object.keys(report.repaired)).not.toEqual([]);
  },
  600_000,
);
