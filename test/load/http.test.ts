import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';

/** HTTP beside Fastify, small and short: that both are asked alike and answer, not who is faster. */

const LOAD = fileURLToPath(new URL('../../load/http.mjs', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'tallystick-load-'));
const run = promisify(execFile);

afterAll(() => rmSync(directory, { recursive: true }));

interface Row {
  readonly name: string;
  readonly ours: number;
  readonly fastify: number;
  readonly ratio: { readonly median: number; readonly least: number; readonly most: number };
  readonly target?: number;
  readonly requests: number;
}

describe('npm run load:http', () => {
  it('measures each scenario of both, and says the ratio and its target', async () => {
    const args = ['--requests', '200', '--runs', '2', '--connections', '10', '--json', '--out', directory];
    const { stdout } = await run(process.execPath, [LOAD, ...args], { maxBuffer: 1 << 26 });
    const { scenarios, machine } = JSON.parse(stdout) as { scenarios: Row[]; machine: unknown };
    expect(machine).toMatchObject({ node: process.version });
    expect(scenarios.map(({ name, target }) => [name, target])).toEqual([
      ['an increment, applied', 0.7],
      ['an increment, durable', undefined],
      ['a read', 1],
    ]);
    for (const { ours, fastify, ratio, requests } of scenarios) {
      expect(Math.min(ours, fastify, ratio.least)).toBeGreaterThan(0);
      expect(ratio.median).toBeLessThanOrEqual(ratio.most);
      expect(requests).toBe(400);
    }
    const sections = JSON.parse(readFileSync(join(directory, 'http.json'), 'utf8'));
    expect(sections[process.version.split('.')[0] as string].scenarios).toHaveLength(3);
  });
});
