import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The planted bugs: each a patch beside this file, with a header.
 *
 *   Bug: what the patched program does wrong
 *   Promise: what that breaks
 *   Red: what must notice it: `simulation SEEDS`, or test files
 *   --- a/FILE
 *   +++ b/FILE
 *   @@ … @@
 */

const HERE = dirname(fileURLToPath(import.meta.url));
const HEADER = /^Bug: (.+)\nPromise: (.+)\nRed: (.+)\n--- a\/(.+)\n\+\+\+ b\/(.+)\n/;

/** Reads all patches, by name. Throws for one that does not have its header or changes more than one file. */
export function readPatches() {
  const names = readdirSync(HERE).filter((name) => name.endsWith('.patch'));
  return names.sort().map((name) => readPatch(name.slice(0, -'.patch'.length), readFileSync(join(HERE, name), 'utf8')));
}

function readPatch(name, text) {
  const header = HEADER.exec(text);
  if (!header) throw new Error(`${name}.patch does not begin with Bug, Promise, Red and one file.`);
  const [whole, bug, promise, red, file, after] = header;
  const hunks = text.slice(whole.length).split(/^@@.*@@.*\n/m);
  if (file !== after || hunks.shift() !== '' || hunks.length === 0)
    throw new Error(`${name}.patch is no patch of ${file}.`);
  return { name, bug, promise, red, file, hunks: hunks.map(readHunk) };
}

function readHunk(hunk) {
  const lines = hunk.replace(/\n$/, '').split('\n');
  const side = (sign) => lines.filter((line) => line[0] === ' ' || line[0] === sign).map((line) => line.slice(1));
  return { before: side('-').join('\n'), after: side('+').join('\n') };
}

/**
 * The text of its file with the bug in it. The lines of a hunk are found by what they say and not by their numbers, and must
 * be there exactly once: a patch of code that has changed must be made anew.
 */
export function applyPatch({ name, file, hunks }, text) {
  let lines = `\n${text}`;
  for (const { before, after } of hunks) {
    const parts = lines.split(`\n${before}\n`);
    if (parts.length !== 2)
      throw new Error(`${name}.patch no longer fits ${file}: its lines are there ${parts.length - 1} times.`);
    lines = parts.join(`\n${after}\n`);
  }
  return lines.slice(1);
}
