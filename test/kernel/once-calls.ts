import { expect } from 'vitest';
import { OK } from '../../src/errors.js';
import type { CounterClass } from '../../src/partition/classes.js';
import { encodeUtf8 } from '../../src/protocol/bytes.js';
import type { OnceOperation } from '../../src/protocol/once.js';
import { Flag } from '../../src/protocol/opcode.js';
import { type configuration, Kernel, NOBODY, START } from './fixture.js';

/** Items that count once, as tests of the kernel count them. */

export const SECOND = 1_000;
export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;
/** The longest step of a clock that counts as time. */
export const LONGEST_STEP = HOUR;

export const CLASSES: readonly CounterClass[] = [
  { pattern: 'few*', once: 10 * SECOND, onceItems: 3 },
  { pattern: 'plain*' },
  { pattern: 'seen*', uniques: 5, once: HOUR, onceItems: 1000 },
  { pattern: '*', once: DAY, onceItems: 1_000_000 },
];

export function kernelOf(wanted: Partial<typeof configuration> = {}, classes = CLASSES): Kernel {
  const kernel = new Kernel(wanted);
  kernel.classify(classes);
  return kernel;
}

export const itemOf = (number: number) => encodeUtf8(`item ${number}`);

/** Counts items under a name: for each whether it counted, and the statuses of those that were refused. */
export function once(
  kernel: Kernel,
  name: string,
  numbers: Iterable<number>,
  now = START,
  more: Partial<OnceOperation> = {},
): { counted: boolean[]; statuses: number[]; value: bigint | undefined } {
  const key = { name };
  const [counted, statuses]: [boolean[], number[]] = [[], []];
  let value: bigint | undefined;
  const all = [...numbers];
  for (let i = 0; i < all.length; i += 10_000) {
    const operations = all.slice(i, i + 10_000).map((number) => ({ key, item: itemOf(number), ...more }));
    const { status, answer } = kernel.once({ operations }, Flag.VALUES, NOBODY, now);
    expect(status).toBe(OK);
    counted.push(...(answer?.counted ?? []));
    statuses.push(...(answer?.refused ?? []).map((refused) => refused.status));
    value = answer?.values.at(-1);
  }
  return { counted, statuses, value };
}

export function* range(from: number, to: number): Generator<number> {
  for (let number = from; number < to; number++) yield number;
}

/** Lets time pass in steps that count as such, each a tick. */
export function pass(kernel: Kernel, from: number, milliseconds: number): number {
  const end = from + milliseconds;
  kernel.tick(from);
  for (let now = from; now < end; ) {
    now = Math.min(end, now + LONGEST_STEP);
    kernel.tick(now);
  }
  return end;
}
