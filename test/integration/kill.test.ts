import { expect, test } from 'vitest';
import type { KillReport } from '../../load/kill-cycles.d.mts';
import { killCycles } from '../../load/kill-cycles.mjs';

function expectExact(report: KillReport): void {
  expect(report).toMatchObject({
    refused: 0,
    unknownOutcomes: 0,
    wrongAnswers: 0,
    wrongCounters: 0,
    wrongHistories: 0,
    actualSum: report.expectedSum,
    partitions: 16,
    partitionsThatDiffer: 0,
    backups: { failed: 0, wrongHistories: 0, partitionsThatDiffer: 0 },
  });
}

// `npm run torture` is both with 50 kills.
const KINDS = ['lmdb', 'files'] as const;
test.each(KINDS)(
  'kill -9 under load, five times: every sum is what was acknowledged, and memory is that of a replay (%s)',
  async (log) => {
    const report = await killCycles({ cycles: 5, config: { log } });
    expectExact(report);
    expect(report.counted).toBeGreaterThanOrEqual(5);
    expect(report.withDedupHit * 3).toBeGreaterThanOrEqual(report.counted);
    expect(report.acknowledged).toBeGreaterThan(1_000);
  },
  400_000,
);

test.each(KINDS)(
  'kill -9 while checkpoints and backups are written, and in the recovery: the same, and each of them was whole or not there (%s)',
  async (log) => {
    const kinds = ['load', 'backup', 'both', 'recovery'] as const;
    const report = await killCycles({ cycles: 5, config: { log, checkpointTailBytes: 65_536 }, interrupted: 3, kinds });
    expectExact(report);
    expect(report.interruptedCheckpoints).toBeGreaterThanOrEqual(3);
    expect(report.checkpoints).toBeGreaterThan(16);
    expect(report.backups.complete).toBeGreaterThanOrEqual(1);
  },
  400_000,
);
