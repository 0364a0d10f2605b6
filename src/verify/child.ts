import { runJob } from '../child-job.js';
import type { JobKind, Jobs } from './jobs.js';

/** Runs a job of verify in a process of its own. @throws as `runJob` does */
export function runInChild<K extends JobKind>(kind: K, job: Jobs[K][0]): Promise<Jobs[K][1]> {
  return runJob('verify/job-main.js', { kind, job });
}
