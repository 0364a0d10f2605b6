import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { rewritten } from '../../load/performance/blocks.mjs';

const file = (name: string) => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url));
const page = readFileSync(file('PERFORMANCE.md'), 'utf8');
const names = [
  'load',
  'versus',
  'native',
  'profile',
  'growth',
  'checkpoint',
  'restart',
  'accuracy',
  'follow',
  'stalled',
];
const reports = Object.fromEntries(
  names
    .filter((name) => existsSync(file(`performance/${name}.json`)))
    .map((name) => [name, JSON.parse(readFileSync(file(`performance/${name}.json`), 'utf8'))]),
);

describe('docs/PERFORMANCE.md', () => {
  it('shows the figures of the reports beside it, and no others', () => {
    expect(rewritten(page, reports)).toBe(page);
  });

  it.runIf(reports.load)('has the plots that it shows', () => {
    for (const plot of ['latency.svg', 'throughput.svg']) expect(existsSync(file(`performance/${plot}`))).toBe(true);
  });
});
