import { TallystickError } from '../errors.js';
import { type JobKind, RUN } from './jobs.js';

// The process of runInChild: takes one job, says what it found, and ends.

process.once('message', ({ kind, job }: { kind: JobKind; job: never }) => {
  RUN[kind](job)
    .then((findings) => ({ findings }))
    .catch((error: unknown) =>
      error instanceof TallystickError
        ? { code: error.code, detail: error.detail }
        : { code: 'INTERNAL', detail: error instanceof Error ? (error.stack ?? error.message) : String(error) },
    )
    .then((answer) => process.send?.(answer, () => process.disconnect()));
});
