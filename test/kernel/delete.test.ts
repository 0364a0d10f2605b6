import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ABSENT, ERRORS, OK } from '../../src/errors.js';
import { REPEATED } from '../../src/partition/partition.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { encodeAdd, encodeDelete } from '../../src/protocol/request.js';
import type { Session } from '../model/counter-model.js';
import { bodyOf, idOf, Kernel, NOBODY, replay, START } from './fixture.js';
import { Pair } from './random-calls.js';

const MIN = -(2n ** 63n);
const unknown = ERRORS.ID_UNKNOWN.status;

/** A DELETE of one name. */
const gone = (name: string, expected?: bigint) => ({
  key: { name },
  reason: 'because',
  ...(expected !== undefined && { expect: expected }),
});

describe('DELETE', () => {
  test('answers the value, takes counter and name away, and reports the delta that it caused', () => {
    const kernel = new Kernel();
    kernel.step('a', 5n);
    kernel.step('b', 7n);
    const { sequence } = kernel.partition;
    expect(kernel.delete(gone('a'))).toEqual({ status: OK, answer: { status: OK, previous: 5n } });
    expect(kernel.partition.effect).toBe(-5n);
    expect(kernel.partition.statistics).toMatchObject({ counters: 1, names: 1, sequence: sequence + 1 });
    expect(kernel.get([{ name: 'a' }, { name: 'b' }]).answer).toEqual([{ status: ABSENT }, { status: OK, value: 7n }]);
  });

  test('of a counter that is not there says so, and takes its position all the same', () => {
    const kernel = new Kernel();
    const { sequence } = kernel.partition;
    expect(kernel.delete(gone('a')).answer).toEqual({ status: ABSENT, previous: 0n });
    expect(kernel.partition.effect).toBe(0n);
    expect(kernel.partition.sequence).toBe(sequence + 1);
  });

  test('of a name that was only opened says that there was no counter, and ends its id', () => {
    const kernel = new Kernel();
    kernel.open(['a']);
    expect(kernel.delete(gone('a')).answer).toEqual({ status: ABSENT, previous: 0n });
    expect(kernel.partition.statistics).toMatchObject({ names: 0, counters: 0 });
    expect(kernel.get([{ slot: 0, generation: 0 }]).answer).toEqual([{ status: unknown }]);
  });

  test('with `expect` deletes only what has that value, absent being 0', () => {
    const kernel = new Kernel();
    const failed = (previous: bigint) => ({ status: ERRORS.EXPECTATION_FAILED.status, previous });
    expect(kernel.delete(gone('a', 1n)).answer).toEqual(failed(0n));
    expect(kernel.delete(gone('a', 0n)).answer).toEqual({ status: ABSENT, previous: 0n });
    kernel.open(['a']);
    expect(kernel.delete(gone('a', 1n)).answer).toEqual(failed(0n));
    kernel.step('a', 5n);
    expect(kernel.delete(gone('a', 4n)).answer).toEqual(failed(5n));
    expect(kernel.partition.effect).toBe(0n);
    expect(kernel.value('a')).toBe(5n);
    expect(kernel.delete(gone('a', 5n)).answer).toEqual({ status: OK, previous: 5n });
  });

  test('reports the delta of the least value modulo 2^64, which leads from it to 0', () => {
    const kernel = new Kernel();
    kernel.step('a', MIN);
    expect(kernel.remove('a')).toEqual({ status: OK, previous: MIN });
    expect(BigInt.asIntN(64, MIN + kernel.partition.effect)).toBe(0n);
  });

  test('by an id deletes the counter of the id, and no other', () => {
    const kernel = new Kernel();
    const key = { slot: 0, generation: 0 };
    expect(kernel.delete({ key, reason: 'r' }).answer).toEqual({ status: unknown, previous: 0n });
    kernel.step('a', 5n);
    expect(kernel.delete({ key: { ...key, generation: 1 }, reason: 'r' }).answer?.status).toBe(unknown);
    expect(kernel.delete({ key, expect: 4n, reason: 'r' }).answer?.status).toBe(ERRORS.EXPECTATION_FAILED.status);
    expect(kernel.delete({ key, reason: 'r' }).answer).toEqual({ status: OK, previous: 5n });
    kernel.step('b', 1n);
    expect(kernel.delete({ key, expect: 1n, reason: 'r' }).answer).toEqual({ status: unknown, previous: 0n });
    expect(kernel.value('b')).toBe(1n);
  });

  test('under a sequence happens once: its repeat gets the first answer, and what was created since stays', () => {
    const kernel = new Kernel();
    const session = kernel.openProducer(idOf(1), true).answer as Session;
    kernel.step('a', 5n);
    const request = { ...gone('a'), sequence: { sequence: 1, unanswered: 0 } };
    const first = kernel.delete(request, session);
    expect(first.answer).toEqual({ status: OK, previous: 5n });
    kernel.step('a', 1n);
    expect(kernel.delete(request, session)).toMatchObject({ status: REPEATED, answer: first.answer });
    expect(kernel.value('a')).toBe(1n);
    expect(kernel.delete({ ...request, expect: 5n }, session).status).toBe(ERRORS.SEQUENCE_CONFLICT.status);
    const next = kernel.openProducer(idOf(1), true).answer as Session;
    expect(kernel.delete(request, session).status).toBe(ERRORS.PRODUCER_FENCED.status);
    expect(kernel.delete(request, next).answer).toEqual({ status: OK, previous: 1n });
  });

  test('leaves the operation ids that were used on the counter: a repeat still changes nothing', () => {
    const kernel = new Kernel();
    kernel.step('a', 5n, { operationId: idOf(1) });
    kernel.remove('a');
    expect(kernel.step('a', 5n, { operationId: idOf(1) })).toEqual({ status: OK, value: 5n });
    expect(kernel.value('a')).toBeUndefined();
    expect(kernel.step('b', 5n, { operationId: idOf(1) }).status).toBe(ERRORS.OPERATION_CONFLICT.status);
  });
});

describe('A deleted counter', () => {
  test('that is created again is absent until it is written, and starts at 0', () => {
    const kernel = new Kernel();
    kernel.step('a', 5n);
    kernel.remove('a');
    kernel.open(['a']);
    expect(kernel.get([{ name: 'a' }]).answer).toEqual([{ status: ABSENT }]);
    expect(kernel.step('a', 0n)).toEqual({ status: OK, value: 0n });
    kernel.remove('a');
    expect(kernel.step('a', 2n, { min: 3n })).toEqual({ status: ERRORS.OUT_OF_BOUNDS.status, value: 0n });
    expect(kernel.set({ key: { name: 'a' }, value: 9n, reason: 'r' }).answer).toEqual({ status: OK, previous: 0n });
  });

  test('leaves its slot to the next one, under another generation: the old id is unknown in every request', () => {
    const kernel = new Kernel();
    for (const name of ['a', 'b', 'c']) kernel.step(name, 1n);
    kernel.remove('a');
    kernel.remove('b');
    expect(kernel.open(['new', 'newer', 'newest']).answer).toEqual([
      { status: OK, slot: 1, generation: 1 },
      { status: OK, slot: 0, generation: 1 },
      { status: OK, slot: 3, generation: 0 },
    ]);
    kernel.step('new', 40n);
    const key = { slot: 1, generation: 0 };
    expect(kernel.get([key]).answer).toEqual([{ status: unknown }]);
    const refused = [{ index: 0, status: unknown }];
    const operations = [{ key, delta: 1n }];
    expect(kernel.add({ operations }, Flag.VALUES).answer).toEqual({ refused, values: [0n] });
    expect(kernel.add({ operations }, Flag.ATOMIC).answer?.refused).toEqual(refused);
    expect(kernel.set({ key, value: 1n, reason: 'r' }).answer?.status).toBe(unknown);
    expect(kernel.delete({ key, reason: 'r' }).answer?.status).toBe(unknown);
    expect(kernel.get([{ ...key, generation: 1 }]).answer).toEqual([{ status: OK, value: 40n }]);
  });

  test('leaves nothing of its name in memory', () => {
    const kernel = new Kernel();
    const names = ['s', 'secret', 'secret of some length', 'sécret'];
    for (const name of names) kernel.step(name, 0x5ec2e7n);
    const { state } = kernel.partition;
    const found = (bytes: Uint8Array) => names.slice(1).map((name) => Buffer.from(bytes).includes(name));
    expect(found(state)).toEqual([true, true, true]);
    for (const name of names) kernel.remove(name);
    expect(found(kernel.partition.state)).toEqual([false, false, false]);
    expect(Buffer.from(kernel.partition.state).includes(Buffer.of(0xe7, 0xc2, 0x5e))).toBe(false);
  });

  test('at the last generation takes its slot with it: no other counter ever has it', () => {
    const pair = new Pair();
    const { kernel, model } = pair;
    kernel.watched = false;
    const add = { operations: [{ key: { name: 'a' }, delta: 1n }] };
    const [addBody, deleteBody] = [bodyOf(encodeAdd, add), bodyOf(encodeDelete, gone('a'))];
    for (let generation = 0; generation < 65_535; generation++) {
      kernel.partition.apply(Opcode.ADD, 0, 0, 0, START, addBody);
      kernel.partition.apply(Opcode.DELETE, 0, 0, 0, START, deleteBody);
      model.add(add, 0, NOBODY, START);
      model.delete(gone('a'), NOBODY, START);
    }
    expect(pair.both((counters) => counters.open(['a'], START)).answer).toEqual([
      { status: OK, slot: 0, generation: 65_535 },
    ]);
    pair.both((counters) => counters.add(add, 0, NOBODY, START));
    pair.both((counters) => counters.delete(gone('a'), NOBODY, START));
    expect(pair.both((counters) => counters.open(['a', 'b'], START)).answer).toEqual([
      { status: OK, slot: 1, generation: 0 },
      { status: OK, slot: 2, generation: 0 },
    ]);
    pair.both((counters) => counters.get([0, 1, 65_535].map((generation) => ({ slot: 0, generation }))));
    pair.both((counters) => counters.list({ prefix: new Uint8Array(), cursor: 0, limit: 10 }));
    pair.compareAll();
  });
});

describe('Counters that come and go', () => {
  /** A body of each, made once, so that a million calls take no time. */
  const bodies = (names: readonly string[]) =>
    names.map((name) => ({
      add: bodyOf(encodeAdd, { operations: [{ key: { name }, delta: 3n }] }),
      delete: bodyOf(encodeDelete, gone(name)),
    }));
  const apply = ({ partition }: Kernel, kind: number, body: Uint8Array) => {
    if (partition.apply(kind, 0, 0, 0, START, body) !== OK) throw new Error(`${kind} is refused.`);
  };

  test('take no more memory after two million changes than after the first ones', () => {
    const kernel = new Kernel();
    const few = bodies(['a', 'bc', 'likes:post:7', 'ünï', 'n'.repeat(1024), 'm'.repeat(1023), '{tag}x']);
    let pages = 0;
    for (let round = 0; round < 150_000; round++) {
      for (const body of few) apply(kernel, Opcode.ADD, body.add);
      if (round === 0) pages = kernel.partition.pages;
      const [odd, even] = [few.filter((_, i) => (i + round) % 2), few.filter((_, i) => (i + round) % 2 === 0)];
      for (const body of odd.concat(even)) apply(kernel, Opcode.DELETE, body.delete);
    }
    expect(kernel.partition.pages).toBe(pages);
    expect(kernel.partition.statistics).toMatchObject({ names: 0, counters: 0, sequence: 2_100_001 });
    // each slot that was worn out is 16 bytes, and there were 65,536 counters in each
    const { answer: [opened] = [] } = kernel.open(['a']);
    expect(opened).toMatchObject({ status: OK });
    expect(opened?.slot).toBeLessThan(7 + 1_050_000 / 65_536);
  });

  test('of ever other names take the memory of as many names as live at a time', () => {
    const kernel = new Kernel();
    const living: string[] = [];
    let pages = 0;
    for (let i = 0; i < 60_000; i++) {
      const name = `${100_000 + i}/${'x'.repeat(i % 40)}`;
      living.push(name);
      const [body] = bodies([name]);
      apply(kernel, Opcode.ADD, (body as { add: Uint8Array }).add);
      if (living.length <= 2000) continue;
      const [old] = bodies(living.splice((i * 7919) % living.length, 1));
      apply(kernel, Opcode.DELETE, (old as { delete: Uint8Array }).delete);
      if (i === 20_000) pages = kernel.partition.pages;
    }
    expect(kernel.partition.pages - pages).toBeLessThanOrEqual(1);
    kernel.watched = false;
    expect(living.every((name) => kernel.value(name) === 3n)).toBe(true);
    expect(kernel.partition.statistics.names).toBe(2000);
  });

  test('are replayed to the same memory, byte for byte', () => {
    const change = fc.tuple(fc.boolean(), fc.nat(30), fc.nat(12));
    fc.assert(
      fc.property(fc.array(change, { minLength: 50, maxLength: 300, size: 'max' }), (changes) => {
        const kernel = new Kernel();
        kernel.watched = false;
        for (const [creates, number, length] of changes) {
          const name = `${number}${'y'.repeat(length)}`;
          if (creates) kernel.step(name, BigInt(length + 1));
          else kernel.remove(name);
        }
        expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
      }),
      { numRuns: 20 },
    );
  });
});
