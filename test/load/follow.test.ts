import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

/** The load of followers, small and short: everyone is told everything, how fast is not asked. */

const FOLLOW = fileURLToPath(new URL('../../load/follow.mjs', import.meta.url));
const run = promisify(execFile);

it('npm run load:follow tells every follower of every probe', async () => {
  const small = ['--followers', '7', '--readers', '3', '--of', '20', '--names', '500', '--interval', '10'];
  const { stdout } = await run(process.execPath, [FOLLOW, ...small, '--seconds', '0.05', '--rounds', '1', '--json']);
  const [report] = JSON.parse(stdout).rounds;
  expect([report.one.feeds, report.many.feeds >= 3]).toEqual([7, true]);
  // each has been told the last of three probes, and before them the value
  expect(report.one.quiet.delivered).toBeGreaterThanOrEqual(7);
  expect(report.one.quiet.delivered).toBeLessThanOrEqual(21);
  expect(report.one.quiet.changes).toBe(report.one.quiet.delivered + 7);
  expect(report.many.quiet.delivered).toBeGreaterThanOrEqual(3);
  expect(report.many.busy.delivered).toBeGreaterThanOrEqual(3);
  expect(report.many.busy.changes).toBeGreaterThan(report.many.busy.delivered);
  for (const { quiet, busy, alone, perSecond } of [report.one, report.many]) {
    expect(alone).toBeGreaterThan(0);
    expect(perSecond).toBeGreaterThan(0);
    for (const { p50, p99, max } of [quiet, busy]) expect(p50 <= p99 && p99 <= max).toBe(true);
  }
});
