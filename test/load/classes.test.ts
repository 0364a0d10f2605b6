import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

/** What classes cost, small and short: that the loads run, not how fast. */

const CLASSES = fileURLToPath(new URL('../../load/classes.mjs', import.meta.url));
const run = promisify(execFile);

it('npm run load:classes measures each case beside the one without classes', async () => {
  const small = ['--names', '500', '--seconds', '0.05', '--runs', '1', '--json'];
  const { stdout } = await run(process.execPath, [CLASSES, ...small]);
  const { cases } = JSON.parse(stdout) as { cases: { perSecond: number; throughput: { median: number } }[] };
  expect(cases).toHaveLength(5);
  expect(cases[0]?.throughput.median).toBe(1);
  for (const { perSecond } of cases) expect(perSecond).toBeGreaterThan(0);
});
