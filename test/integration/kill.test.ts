import { expect, test } from 'vitest';
import { killCycles } from '../../load/kill-cycles.mjs';

// `npm run torture` is the same with 50 kills.
test('kill -9 under load, five times: every sum is what was acknowledged, and memory is that of a replay', async () => {
  const report = await killCycles({ cycles: 5 });
  expect(report).toMatchObject({
    refused: 0,
    unknownOutcomes: 0,
    wrongAnswers: 0,
    wrongCounters: 0,
    actualSum: report.expectedSum,
    partitions: 16,
    partitionsThatDiffer: 0,
  });
  expect(report.counted).toBeGreaterThanOrEqual(5);
  expect(report.withDedupHit * 3).toBeGreaterThanOrEqual(report.counted);
  expect(report.acknowledged).toBeGreaterThan(1_000);
}, 180_000);
