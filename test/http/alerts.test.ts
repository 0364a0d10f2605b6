import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const RULES = join(import.meta.dirname, '../../ops/alerts.yml');
const CASES = join(import.meta.dirname, 'alerts.yml');

const promtool = (...args: string[]) => spawnSync('promtool', args, { encoding: 'utf8' });
const isThere = promtool('--version').status === 0;

describe('the rules for Prometheus', () => {
  it('each have a case in which they are due', () => {
    const cases = readFileSync(CASES, 'utf8');
    const alerts = [...readFileSync(RULES, 'utf8').matchAll(/- alert: (\w+)/g)].map(([, name]) => name as string);
    expect(alerts.length).toBeGreaterThan(8);
    expect(alerts.filter((name) => !cases.includes(name))).toEqual([]);
  });

  it.skipIf(!isThere)(`are as promtool wants them${isThere ? '' : ' (skipped: it is not on the path)'}`, () => {
    const { status, stdout, stderr } = promtool('check', 'rules', RULES);
    expect(status, stdout + stderr).toBe(0);
  });

  it.skipIf(!isThere)(`warn when they are due, and not before${isThere ? '' : ' (skipped: no promtool)'}`, () => {
    const { status, stdout, stderr } = promtool('test', 'rules', CASES);
    expect(status, stdout + stderr).toBe(0);
  });
});
