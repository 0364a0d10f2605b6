import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { REPORTS, rewritten } from './performance/blocks.mjs';

/**
 * Writes the figures of docs/PERFORMANCE.md from the reports in docs/performance, which the scripts that measure put there:
 *
 *   node load/load.mjs --out docs/performance       and versus.mjs, growth.mjs, profile.mjs, native-bench/run.mjs alike
 *   node load/checkpoint.mjs --seconds 1800 --out docs/performance
 *   node load/checkpoint.mjs --counters 10000000 --out docs/performance --report restart
 *   node load/accuracy.mjs --out docs/performance      classes.mjs, http.mjs, history.mjs, follow.mjs and stalled.mjs alike
 *   node load/performance.mjs
 */

const PAGE = fileURLToPath(new URL('../docs/PERFORMANCE.md', import.meta.url));
const reportPath = (name) => fileURLToPath(new URL(`../docs/performance/${name}.json`, import.meta.url));

const reports = {};
for (const name of REPORTS) {
  if (existsSync(reportPath(name))) reports[name] = JSON.parse(readFileSync(reportPath(name), 'utf8'));
}
writeFileSync(PAGE, rewritten(readFileSync(PAGE, 'utf8'), reports));
