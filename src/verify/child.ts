import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type ErrorCode, TallystickError } from '../errors.js';
import type { JobKind, Jobs } from './jobs.js';

type Answer<K extends JobKind> =
  | { readonly findings: Jobs[K][1] }
  | { readonly code: ErrorCode; readonly detail: string };

/**
 * Runs a job in a process of its own.
 *
 * @throws TallystickError LOG_CORRUPT also where the process died by a signal: it read what LMDB can't make sense of;
 * INTERNAL if it said nothing
 */
export async function runInChild<K extends JobKind>(kind: K, job: Jobs[K][0]): Promise<Jobs[K][1]> {
  // From src/ (tests) and from dist/ alike.
  const main = fileURLToPath(new URL('../../dist/verify/job-main.js', import.meta.url));
  const child = fork(main, { serialization: 'advanced', stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv: [] });
  let answer: Answer<K> | undefined;
  let stderr = '';
  child.once('message', (message) => {
    answer = message as Answer<K>;
  });
  child.stderr?.on('data', (text) => {
    stderr += text;
  });
  const ended = new Promise<NodeJS.Signals | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (_, signal) => resolve(signal));
  });
  child.send({ kind, job });
  const signal = await ended;
  if (answer && 'findings' in answer) return answer.findings;
  if (answer) throw new TallystickError(answer.code, answer.detail);
  if (signal) throw new TallystickError('LOG_CORRUPT', `The process that read it died by ${signal}.`);
  throw new TallystickError('INTERNAL', `The process that verified said nothing: ${stderr}`);
}
