import { defineConfig } from 'vitest/config';

const report = process.env.TALLYSTICK_TEST_REPORT;

/**
 * What judges arithmetic, models, the reading of damaged bytes, and what a server counts, at length: one version of Node is enough for it.
 * The other versions differ in sockets, threads, files and the engine, which the rest goes through (with a short model
 * of the kernel and a short simulation). A file that is not named here runs on each version.
 */
const ONE_NODE = [
  'test/examples/*.test.ts',
  'test/fuzz/fuzz.test.ts',
  'test/history/crash.test.ts',
  'test/history/history.test.ts',
  'test/history/model.test.ts',
  'test/integration/backup.test.ts',
  'test/integration/checkpoint.test.ts',
  'test/integration/damage.test.ts',
  'test/integration/delete.test.ts',
  'test/integration/expiry.test.ts',
  'test/integration/feed.test.ts',
  'test/integration/flush-order.test.ts',
  'test/integration/history.test.ts',
  'test/integration/ingest-*.test.ts',
  'test/integration/kill.test.ts',
  'test/integration/http.test.ts',
  'test/integration/once.test.ts',
  'test/integration/operations.test.ts',
  'test/integration/readme.test.ts',
  'test/integration/rollover.test.ts',
  'test/integration/sequences.test.ts',
  'test/integration/set.test.ts',
  'test/integration/transfer.test.ts',
  'test/integration/uniques.test.ts',
  'test/integration/windows.test.ts',
  'test/http/feed-model.test.ts',
  'test/http/generated.test.ts',
  'test/kernel/fuzz.test.ts',
  'test/kernel/memory.test.ts',
  'test/kernel/once-memory.test.ts',
  'test/kernel/once.test.ts',
  'test/kernel/replay.test.ts',
  'test/kernel/unique-windows.test.ts',
  'test/kernel/uniques-fuzz.test.ts',
  'test/kernel/uniques.test.ts',
  'test/kernel/windows.test.ts',
  'test/lane/checkpointer.test.ts',
  'test/lane/retention.test.ts',
  'test/load/classes.test.ts',
  'test/load/load.test.ts',
  'test/log/segmented-log.test.ts',
  'test/model/through-time.test.ts',
  'test/repair/repair.test.ts',
  'test/repartition/repartition.test.ts',
  'test/series/series.test.ts',
  'test/simulation/simulation-[1-4].test.ts',
  'test/verify/verify.test.ts',
];

export default defineConfig({
  test: {
    pool: 'forks',
    // Much of a test is a wait for a process or a device, so each core has one; by default one core would idle.
    maxWorkers: '100%',
    // Only what hangs ends by these: how long a sound test takes is the machine's matter, and what else runs on it.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    projects: [
      { extends: true, test: { name: 'each-node', include: ['test/**/*.test.ts'], exclude: ONE_NODE } },
      { extends: true, test: { name: 'one-node', include: ONE_NODE } },
    ],
    reporters: report ? ['default', 'json'] : ['default'],
    ...(report && { outputFile: { json: report } }),
  },
});
