import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Writes a report as JSON, and what belongs to it beside it, by file name. */
export function writeReport(directory, name, report, others = {}) {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, `${name}.json`), `${JSON.stringify(report, rounded, 1)}\n`);
  for (const [file, text] of Object.entries(others)) writeFileSync(join(directory, file), text);
}

/** The same, where only some sections were measured: the others stay as an earlier run left them. */
export function writeSections(directory, name, report) {
  const path = join(directory, `${name}.json`);
  const earlier = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
  writeReport(directory, name, { ...earlier, ...report });
}

/** No figure has more than six digits that mean anything. */
function rounded(_key, value) {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}
