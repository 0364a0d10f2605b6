import { describe, expect, test } from 'vitest';
import { OK } from '../../src/errors.js';
import { Days } from '../../src/lane/days.js';
import type { CounterClass } from '../../src/partition/classes.js';
import { DUE } from '../../src/partition/partition.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { encodeAdd, encodeGet, encodeOpen } from '../../src/protocol/request.js';
import { Random } from '../support/random.js';
import { anyBody, CLASSES, EXPIRE, NAMES } from './any-body.js';
import { bodyOf, classify, Kernel, NOBODY, START } from './fixture.js';

/** What a kernel knows of counters that were touched by bodies of the last two groups. */

function isClean({ partition }: Kernel, ...names: string[]): boolean {
  expect(partition.read(bodyOf(encodeGet, { keys: names.map((name) => ({ name })) }))).toBe(OK);
  return partition.dirty.areReadClean;
}

function add(kernel: Kernel, ...names: string[]): void {
  const operations = names.map((name) => ({ key: { name }, delta: 1n }));
  expect(kernel.call(Opcode.ADD, 0, NOBODY, START, bodyOf(encodeAdd, { operations }))).toBe(OK);
}

/** By ids: steps. */
function addTo(kernel: Kernel, ...slots: number[]): void {
  const operations = slots.map((slot) => ({ key: { slot, generation: 0 }, delta: 1n }));
  expect(kernel.call(Opcode.ADD, 0, NOBODY, START, bodyOf(encodeAdd, { operations }))).toBe(OK);
}

/** A kernel with some counters that are all clean. */
function cleanKernel(...names: string[]): Kernel {
  const kernel = new Kernel();
  kernel.watched = false;
  add(kernel, ...names);
  kernel.partition.dirty.keep();
  kernel.partition.dirty.seal();
  kernel.partition.dirty.seal();
  return kernel;
}

describe('A kernel that keeps what is dirty', () => {
  test('calls nothing clean that a body of the last two groups has changed, ended or begun, and keeps the memory of one that does not', () => {
    const random = new Random(5);
    const kinds = new Set<number>();
    let [clean, dirty] = [0, 0];
    for (let run = 0; run < 15; run++) {
      const [keeping, other] = [new Kernel(), new Kernel()];
      for (const kernel of [keeping, other]) {
        kernel.watched = false; // their memories are compared in the end
        classify(kernel, CLASSES);
      }
      keeping.partition.dirty.keep();
      /** By name: what it was when the last two groups began, the older one first. */
      const then = NAMES.map(() => [undefined, undefined] as (bigint | undefined)[]);
      for (let i = 0, groups = 0, now = START; i < 150; i++, now += random.below(20)) {
        if (random.oneIn(3)) {
          keeping.partition.dirty.seal();
          groups++;
          for (const [at, name] of NAMES.entries()) then[at] = [then[at]?.[1], keeping.value(name)];
        }
        const ids = [0, 1, 2, 3].map((slot) => ({ slot, generation: random.below(3) }));
        const [kind, flags, body] = anyBody(random, ids);
        const before = NAMES.map((name) => keeping.value(name));
        const status = keeping.call(kind, flags, NOBODY, now, body);
        expect(other.call(kind, flags, NOBODY, now, body)).toBe(status);
        if (status === DUE) continue;
        for (const [at, name] of NAMES.entries()) {
          const value = keeping.value(name);
          const isKnown = isClean(keeping, name);
          const isSame = groups >= 2 && then[at]?.[0] === value && then[at]?.[1] === value;
          if (!isSame || value === undefined) {
            expect([name, isKnown]).toEqual([name, false]);
            dirty++;
          }
          if (isKnown) clean++;
          if (value !== before[at]) kinds.add(kind);
        }
      }
      expect(keeping.partition.stateHash).toBe(other.partition.stateHash);
    }
    expect(Math.min(clean, dirty)).toBeGreaterThan(500);
    for (const kind of [Opcode.ADD, Opcode.SET, Opcode.DELETE, Opcode.SEE, Opcode.MERGE, Opcode.ONCE, EXPIRE])
      expect(kinds).toContain(kind);
  });

  test('calls everything dirty until two groups have been sealed', () => {
    const kernel = new Kernel();
    add(kernel, 'a');
    const { dirty } = kernel.partition;
    expect(dirty.isKept).toBe(false);
    dirty.keep();
    const seen = [isClean(kernel, 'a')];
    for (let group = 0; group < 2; group++) {
      dirty.seal();
      seen.push(isClean(kernel, 'a'));
    }
    expect(seen).toEqual([false, false, true]);
    dirty.end();
    expect(dirty.isKept).toBe(false);
  });

  test.each([
    ['by name', (kernel: Kernel) => add(kernel, 'b')],
    ['by id', (kernel: Kernel) => addTo(kernel, 1)],
  ])('calls a counter that is stepped %s dirty until its group is flushed, and others clean', (_, step) => {
    const kernel = cleanKernel('a', 'b', 'c');
    step(kernel);
    const seen: boolean[][] = [];
    for (let group = 0; group < 3; group++) {
      seen.push([isClean(kernel, 'a', 'c'), isClean(kernel, 'b'), isClean(kernel, 'a', 'b')]);
      kernel.partition.dirty.seal();
    }
    expect(seen).toEqual([
      [true, false, false],
      [true, false, false],
      [true, true, true],
    ]);
  });

  test('calls a counter dirty that begins at 0 with a new day', () => {
    const kernel = new Kernel();
    const rules: readonly CounterClass[] = [{ pattern: 'daily:*', rollover: 'daily', zone: 'UTC' }];
    const days = new Days(rules);
    classify(kernel, rules);
    const settle = (now: number) => {
      while (kernel.partition.hasDue(now)) {
        const { kind, body } = days.settling(kernel.partition, now);
        expect(kernel.call(kind, 0, NOBODY, now, body)).toBe(OK);
      }
    };
    settle(START);
    add(kernel, 'daily:a', 'b');
    kernel.partition.dirty.keep();
    for (let group = 0; group < 2; group++) kernel.partition.dirty.seal();
    expect(isClean(kernel, 'daily:a', 'b')).toBe(true);
    settle(START + 86_400_000);
    expect(kernel.value('daily:a')).toBe(0n);
    expect([isClean(kernel, 'daily:a'), isClean(kernel, 'b')]).toEqual([false, true]);
  });

  test('never calls a counter clean that is not there', () => {
    const kernel = cleanKernel('a');
    const opened = bodyOf(encodeOpen, ['opened']);
    expect(kernel.call(Opcode.OPEN, 0, NOBODY, START, opened)).toBe(OK);
    for (let group = 0; group < 2; group++) kernel.partition.dirty.seal();
    expect([isClean(kernel, 'a'), isClean(kernel, 'opened'), isClean(kernel, 'a', 'nobody')]).toEqual([
      true,
      false,
      false,
    ]);
  });

  test('calls counters dirty that share the bit of one that was touched', () => {
    const names = Array.from({ length: 65_536 + 2 }, (_, i) => `${i}`);
    const kernel = new Kernel();
    kernel.watched = false;
    for (let from = 0; from < names.length; from += 10_000) add(kernel, ...names.slice(from, from + 10_000));
    kernel.partition.dirty.keep();
    for (let group = 0; group < 2; group++) kernel.partition.dirty.seal();
    addTo(kernel, 65_536);
    expect(['0', '1', '65536', '65537'].map((name) => isClean(kernel, name))).toEqual([false, true, false, true]);
  });

  test('keeps nothing of a body that is refused', () => {
    const kernel = cleanKernel('a');
    const body = bodyOf(encodeAdd, { operations: [{ key: { name: 'a' }, delta: 1n }] });
    expect(kernel.call(Opcode.ADD, 0, NOBODY, START, body.subarray(0, -1))).not.toBe(OK);
    expect(isClean(kernel, 'a')).toBe(true);
  });
});
