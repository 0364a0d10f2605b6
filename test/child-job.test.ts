import { expect, test } from 'vitest';
import { runJob } from '../src/child-job.js';

interface Job {
  readonly answer?: unknown;
  readonly refusal?: string;
  readonly signal?: NodeJS.Signals;
  readonly breaks?: string;
}

const run = (job: Job) => runJob<Job, unknown>('../test/fixtures/jobs.mjs', job);

test('a job ends with its answer, also where its process would never end by itself', async () => {
  const answer = { sums: new Map([['a', 2n ** 63n]]), missing: undefined };
  expect(await run({ answer })).toEqual(answer);
});

test('what a job throws is thrown, with its code where it has one', async () => {
  await expect(run({ refusal: 'DATA_DAMAGED' })).rejects.toMatchObject({
    code: 'DATA_DAMAGED',
    detail: 'As it was told.',
  });
  await expect(run({ breaks: 'It broke.' })).rejects.toMatchObject({
    code: 'INTERNAL',
    detail: expect.stringMatching(/^Error: It broke\.\n {4}at /),
  });
});

test('a process that dies over its job says that what it read is damaged', async () => {
  await expect(run({ signal: 'SIGSEGV' })).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
});
