import { answerJob } from '../child-job.js';
import { type JobKind, RUN } from './jobs.js';

// The process of runInChild.
answerJob<{ kind: JobKind; job: never }, unknown>(({ kind, job }) => RUN[kind](job));
