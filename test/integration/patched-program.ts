import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { directoryOfTest } from './server-process.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/**
 * A copy of the built program with one piece of one file replaced, to see that a test notices a bug. It goes with the
 * test that runs.
 *
 * @returns its `bin/tallystick.cjs`
 */
export function patchedProgram(file: string, piece: string, replacement: string): string {
  const copy = directoryOfTest();
  for (const part of ['bin', 'dist', 'package.json']) cpSync(join(ROOT, part), join(copy, part), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  const path = join(copy, 'dist', file);
  const text = readFileSync(path, 'utf8');
  if (text.split(piece).length !== 2) throw new Error(`${file} does not have \`${piece}\` exactly once.`);
  writeFileSync(path, text.replace(piece, replacement));
  return join(copy, 'bin/tallystick.cjs');
}

/** The program without its bound of 10 s for a flush, for tests that let one hang: how soon they have seen what they wait for is the machine's matter. */
export function patientProgram(): string {
  const bound = 'const UNANSWERED_MILLISECONDS =';
  return patchedProgram('log/group-commit.js', `${bound} 10_000`, `${bound} 600_000`);
}
