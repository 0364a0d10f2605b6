import { type SpawnSyncReturns, spawnSync } from 'node:child_process';

/** Less than the bound of a test, so that the test can say what hung. */
const SECONDS = 240;
const hasTimeout = spawnSync('timeout', ['1', 'true'], { stdio: 'ignore' }).status === 0;

interface BoundedOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly seconds?: number;
}

/**
 * Runs a program to its end, and kills it with all that it has started after so long: the bound of a test can do nothing while its thread
 * waits in here. Where it was killed, `signal` is SIGKILL.
 */
export function runBounded(
  command: string,
  args: readonly string[],
  { env = process.env, seconds = SECONDS }: BoundedOptions = {},
): SpawnSyncReturns<string> {
  const options = { env, encoding: 'utf8', timeout: (seconds + 5) * 1_000, killSignal: 'SIGKILL' } as const;
  // A signal to the program alone would leave what it traces or has started, which holds its output open.
  if (hasTimeout) return spawnSync('timeout', ['--signal=KILL', String(seconds), command, ...args], options);
  return spawnSync(command, args, options);
}

/** The same, for a program that must succeed: its output. */
export function outputOf(command: string, args: readonly string[], options: BoundedOptions = {}): string {
  const { status, signal, stdout, stderr, error } = runBounded(command, args, options);
  if (status === 0) return stdout;
  const end = signal === 'SIGKILL' ? 'hung, or was killed' : `ended with ${signal ?? status}`;
  throw new Error(`${command} ${args.join(' ')} ${end}: ${error?.message ?? stderr}`);
}

/** Whether a program is there and does what it is asked. */
export function works(command: string, ...args: string[]): boolean {
  return runBounded(command, args, { seconds: 60 }).status === 0;
}
