import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { applyPatch, readPatches } from './patches.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const patches = readPatches();

describe('the planted bugs', () => {
  it('are at least 25', () => {
    expect(patches.length).toBeGreaterThanOrEqual(25);
  });

  it.each(patches.map((patch) => [patch.name, patch] as const))('%s still fits, and changes one line', (_, patch) => {
    const text = readFileSync(join(ROOT, patch.file), 'utf8');
    const patched = applyPatch(patch, text);
    expect(patched).not.toBe(text);
    const before = text.split('\n');
    const after = new Set(patched.split('\n'));
    expect(before.filter((line) => !after.has(line)).length).toBeLessThanOrEqual(1);
  });

  it('name suites that exist', () => {
    for (const { name, red } of patches) {
      if (/^simulation \d+$/.test(red)) continue;
      for (const file of red.split(' ')) expect(existsSync(join(ROOT, file)), `${name}: ${file}`).toBe(true);
    }
  });
});
