import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type ErrorCode, TallystickError } from './errors.js';

/**
 * Work on files that may be damaged, in a process of its own: whatever they do to it, this one goes on and knows where it was. Jobs and findings are values that one process can send to another.
 */

type Answer<Findings> = { readonly findings: Findings } | { readonly code: ErrorCode; readonly detail: string };

/**
 * Runs a job in a process of its own.
 *
 * @param main below dist, what calls `answerJob`
 * @throws TallystickError LOG_CORRUPT also where the process died by a signal; INTERNAL if it said nothing
 */
export async function runJob<Job, Findings>(main: string, job: Job): Promise<Findings> {
  // From src/ (tests) and from dist/ alike.
  const path = fileURLToPath(new URL(`../dist/${main}`, import.meta.url));
  const child = fork(path, { serialization: 'advanced', stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv: [] });
  let answer: Answer<Findings> | undefined;
  let stderr = '';
  child.once('message', (message) => {
    answer = message as Answer<Findings>;
    // What it was to do is done and flushed. By itself it may never end: where Node ends, it waits for compilations, and one of
    // these may wait for a garbage collection (nodejs/node#54918).
    child.kill('SIGKILL');
  });
  child.stderr?.on('data', (text) => {
    stderr += text;
  });
  const ended = new Promise<NodeJS.Signals | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (_, signal) => resolve(signal));
  });
  child.send(job as object);
  const signal = await ended;
  if (answer && 'findings' in answer) return answer.findings;
  if (answer) throw new TallystickError(answer.code, answer.detail);
  if (signal) throw new TallystickError('LOG_CORRUPT', `The process that read it died by ${signal}.`);
  throw new TallystickError('INTERNAL', `The process that read it said nothing: ${stderr}`);
}

/** The other side: takes one job and says what it found; then it is ended. */
export function answerJob<Job, Findings>(run: (job: Job) => Promise<Findings>): void {
  process.once('message', (job: Job) => {
    run(job)
      .then((findings): Answer<Findings> => ({ findings }))
      .catch(
        (error: unknown): Answer<Findings> =>
          error instanceof TallystickError
            ? { code: error.code, detail: error.detail }
            : { code: 'INTERNAL', detail: error instanceof Error ? (error.stack ?? error.message) : String(error) },
      )
      .then((answer) => process.send?.(answer));
  });
}
