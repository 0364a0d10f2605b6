import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';

/** The canonical load, small and short: what it sends and counts is right, how fast is not asked. */

const LOAD = fileURLToPath(new URL('../../load/load.mjs', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'tallystick-load-'));
const run = promisify(execFile);

afterAll(() => rmSync(directory, { recursive: true }));

interface Row {
  readonly perSecond: number;
  readonly p50: number;
}

describe('npm run load', () => {
  it('counts every increment that it measured, and says so', async () => {
    const { stdout } = await run(
      process.execPath,
      [LOAD, '--names', '500', '--seconds', '0.02', '--json', '--out', directory],
      { maxBuffer: 1 << 26 },
    );
    const report = JSON.parse(stdout);
    expect(report.increments.acknowledged).toBeGreaterThan(500);
    expect(report.increments.counted).toBe(report.increments.acknowledged);
    expect(report.throughput.length).toBeGreaterThan(16);
    for (const { perSecond, p50 } of report.throughput as Row[]) {
      expect(perSecond).toBeGreaterThan(0);
      expect(p50).toBeGreaterThan(0);
    }
    expect(report.machine).toMatchObject({ cores: expect.any(Number), node: process.version });
    const { increments, throughput } = JSON.parse(readFileSync(join(directory, 'load.json'), 'utf8'));
    expect(increments).toEqual(report.increments);
    expect(throughput.length).toBe(report.throughput.length);
    for (const plot of ['throughput.svg', 'latency.svg']) {
      const svg = readFileSync(join(directory, plot), 'utf8');
      expect(svg).toMatch(/^<svg [^>]*>[\s\S]*<polyline [\s\S]*<\/svg>\n$/);
      expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    }
  });
});
