import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const DIRECTORY = fileURLToPath(new URL('.', import.meta.url));
const programPath = (name) => fileURLToPath(new URL(`out/${name}`, import.meta.url));
const execute = promisify(execFile);

/** What is missing to build the C programs, in a sentence; undefined where nothing is. */
export function missingTools() {
  const missing = ['gcc', 'make'].filter((tool) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).status !== 0);
  if (missing.length === 0) return undefined;
  return `The native ceilings need ${missing.join(' and ')}, which the PATH does not have. On Debian or Ubuntu: apt-get install gcc make libc6-dev`;
}

/** Builds the C programs. */
export function buildNative() {
  const { status, stderr } = spawnSync('make', ['--silent', '-C', DIRECTORY, 'CC=gcc'], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`The C programs can't be built:\n${stderr}`);
}

/** Runs a program to its end; what it said as JSON. */
export async function runNative(name, ...args) {
  const { stdout } = await execute(programPath(name), args.map(String));
  return JSON.parse(stdout);
}

/** Starts the answerer for so many connections: its port, and when it has ended. */
export async function startAnswerer(connections) {
  const child = spawn(programPath('answerer'), [String(connections)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  return { port: Number(line), exited };
}
