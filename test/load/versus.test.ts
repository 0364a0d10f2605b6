import { execFile, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

/** The comparison with Redis: that it counts right and takes its turns, not who wins. */

const VERSUS = fileURLToPath(new URL('../../load/versus.mjs', import.meta.url));
const run = promisify(execFile);
const hasRedis = spawnSync('redis-server', ['--version']).status === 0;

interface Contestant {
  readonly name: string;
  readonly perSecond: { readonly median: number };
}

describe('npm run load:versus', () => {
  it('says how to install Redis where the PATH has none', async () => {
    const failed = run(process.execPath, [VERSUS], { env: { PATH: '/nonexistent' } });
    await expect(failed).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('apt-get install redis-server'),
    });
  });

  it.skipIf(!hasRedis)('measures every contestant, and that each of our increments was counted', async () => {
    const args = ['--only', 'batches', '--names', '500', '--seconds', '0.02', '--runs', '1', '--json'];
    const { stdout } = await run(process.execPath, [VERSUS, ...args], { maxBuffer: 1 << 26 });
    const { batches } = JSON.parse(stdout);
    const contestants = batches.contestants as Contestant[];
    expect(contestants.filter(({ name }) => name.startsWith('redis'))).toHaveLength(6);
    expect(contestants.filter(({ name }) => name.startsWith('tallystick')).length).toBeGreaterThanOrEqual(4);
    for (const { perSecond } of contestants) expect(perSecond.median).toBeGreaterThan(0);
  });
});
