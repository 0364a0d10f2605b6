import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

interface Report {
  readonly lines: number;
  readonly resumedFrom: { readonly lines: number } | null;
  readonly linesOfLastRun: number;
  readonly wrong: readonly string[];
  readonly kills: readonly {
    readonly victim: string;
    readonly point: number;
    readonly before: number;
    readonly after: number;
    readonly resumedFrom: number | null;
  }[];
}

it('an ingest counts every line once although the server, the ingest, and both are killed with -9', async () => {
  const script = join(ROOT, 'load/resume.mjs');
  const args = [script, '--lines', '200000', '--kills', '3', '--seed', '1', '--json'];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const { lines, resumedFrom, linesOfLastRun, wrong, kills } = JSON.parse(stdout) as Report;

  expect(wrong).toEqual([]);
  expect(kills.map(({ victim }) => victim)).toEqual(['server', 'ingest', 'both']);
  for (const { point, before, after } of kills) {
    expect(before).toBeGreaterThanOrEqual(point);
    expect(after).toBeGreaterThanOrEqual(before);
    expect(after).toBeLessThan(1);
  }
  const places = kills.map((kill) => kill.resumedFrom);
  expect(places).toEqual([null, expect.any(Number), expect.any(Number)]);
  expect(resumedFrom?.lines).toBe(places[2]);
  expect(Number(resumedFrom?.lines) + linesOfLastRun).toBe(lines);
});
