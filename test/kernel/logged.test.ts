import { describe, expect, test } from 'vitest';
import { ERRORS, OK } from '../../src/errors.js';
import { Kind, REPEATED } from '../../src/partition/partition.js';
import { decodeSteps } from '../../src/partition/steps.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { encodeAdd, type Operation } from '../../src/protocol/request.js';
import type { Session } from '../model/counter-model.js';
import { applyTo, bodyOf, idOf, Kernel, NOBODY, replay, START } from './fixture.js';

const NAMES = ['page views of /', 'page views of /about', 'likes of the first post'];
const operations = NAMES.map((name, i) => ({ key: { name }, delta: BigInt(i + 1) }));
const SEQUENCE = { sequence: 1, unanswered: 0, cursor: Uint8Array.of(7, 8, 9) };
const PREFIX_BYTES = 6;
const PAYLOAD_BYTES = 8;

/** A kernel that has the three counters. */
function known(): Kernel {
  const kernel = new Kernel();
  kernel.add({ operations });
  return kernel;
}

/** What the log has of an ADD. */
function logged(kernel: Kernel, wanted: readonly Operation[]) {
  const body = bodyOf(encodeAdd, { operations: wanted });
  expect(kernel.call(Opcode.ADD, 0, NOBODY, START, body)).toBe(OK);
  return { body, call: kernel.log.at(-1) };
}

describe('The log has an ADD', () => {
  test('by the ids of its counters, without their names, where all are there', () => {
    const kernel = known();
    const { call } = logged(kernel, operations);
    expect(call?.kind).toBe(Kind.STEPS);
    expect(decodeSteps(call?.body as Uint8Array, 0).operations).toEqual(
      operations.map(({ delta }, slot) => ({ key: { slot, generation: 0 }, delta })),
    );
  });

  test('with its prefix and the hash that a repeat is known by, where it is sequenced', () => {
    const kernel = known();
    const session = kernel.openProducer(idOf(1)).answer as Session;
    kernel.add({ sequence: SEQUENCE, operations }, 0, session);
    const body = kernel.log.at(-1)?.body as Uint8Array;
    const sent = bodyOf(encodeAdd, { sequence: SEQUENCE, operations });
    expect(body.subarray(0, PREFIX_BYTES)).toEqual(sent.subarray(0, PREFIX_BYTES));
    expect(decodeSteps(body, Flag.SEQUENCED)).toMatchObject({ sequence: SEQUENCE, operations: [{}, {}, {}] });
    expect(body.length).toBeLessThan(sent.length / 2);
  });

  test.each<[string, readonly Operation[]]>([
    ['a name that has no counter yet', [...operations, { key: { name: 'a name of its own' }, delta: 1n }]],
    ['an operation with a bound', [...operations, { key: { name: 'likes of the first post' }, delta: 1n, max: 9n }]],
    ['an id that no counter has', [...operations, { key: { slot: 99, generation: 0 }, delta: 1n }]],
    ['no operations', []],
  ])('as it came, with %s', (_, wanted) => {
    const { body, call } = logged(known(), wanted);
    expect(call).toMatchObject({ kind: Opcode.ADD, body });
  });

  test('in fewer bytes than it came in, by name and by id', () => {
    const kernel = known();
    const ids = operations.map(({ delta }, slot) => ({ key: { slot, generation: 0 }, delta }));
    for (const wanted of [operations, ids]) {
      const { body, call } = logged(kernel, wanted);
      expect([call?.kind, (call?.body.length as number) < body.length]).toEqual([Kind.STEPS, true]);
    }
  });

  test('as it came, where that has as few', () => {
    const kernel = new Kernel();
    const short = [{ key: { name: 'a' }, delta: 5n }];
    const { sequence } = SEQUENCE;
    const session = kernel.openProducer(idOf(1)).answer as Session;
    kernel.add({ sequence: { sequence, unanswered: 0 }, operations: short }, 0, session);
    kernel.add({ sequence: { sequence: sequence + 1, unanswered: 0 }, operations: short }, 0, session);
    expect(kernel.log.at(-1)?.kind).toBe(Opcode.ADD);
  });

  test('with the generation of a counter that has the slot of another', () => {
    const kernel = known();
    kernel.delete({ key: { name: NAMES[1] as string }, reason: 'r' });
    kernel.add({ operations: [{ key: { name: 'another with its slot' }, delta: 1n }] });
    const { call } = logged(kernel, [{ key: { name: 'another with its slot' }, delta: -70n }]);
    expect(decodeSteps(call?.body as Uint8Array, 0).operations).toEqual([
      { key: { slot: 1, generation: 1 }, delta: -70n },
    ]);
  });

  test('whatever the number of the counter and the delta, and a replay comes to the same', () => {
    const kernel = new Kernel();
    kernel.watched = false;
    const [counters, batch] = [524_290, 10_000];
    for (let from = 0; from < counters; from += batch) {
      const names = Array.from({ length: Math.min(batch, counters - from) }, (_, i) => `counter ${from + i}`);
      kernel.add({ operations: names.map((name) => ({ key: { name }, delta: 1n })) });
    }
    // On both sides of where the varint of a number gets longer.
    const slots = [0, 1, 31, 32, 4_095, 4_096, 524_287, 524_288];
    const steps = slots.flatMap((slot) =>
      [1n, 0n, -1n, 63n, -64n, 64n, 2n ** 62n, 1n].map((delta) => ({ slot, delta })),
    );
    const byId = steps.map(({ slot, delta }) => ({ key: { slot, generation: 0 }, delta }));
    const byName = steps.map(({ slot, delta }) => ({ key: { name: `counter ${slot}` }, delta: -delta }));
    for (const wanted of [byId, byName]) {
      const { call } = logged(kernel, wanted);
      expect(decodeSteps(call?.body as Uint8Array, 0).operations).toEqual(
        wanted.map(({ delta }, i) => ({ key: byId[i]?.key, delta })),
      );
    }
    expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
  });
});

describe('A replay of the other form', () => {
  test('forgets as many operation ids as the first one did, whatever was replayed before', () => {
    const kernel = new Kernel();
    const [later, flags] = [START + 700_000, Flag.ATOMIC];
    const ids = (from: number, count: number) =>
      Array.from({ length: count }, (_, i) => ({
        key: { name: NAMES[0] as string },
        delta: 1n,
        operationId: idOf(from + i),
      }));
    kernel.add({ operations });
    kernel.add({ operations: ids(0, 200) });
    kernel.add({ operations: ids(1_000, 8) }, 0, NOBODY, later);
    kernel.add({ operations }, flags, NOBODY, later);
    expect(kernel.log.at(-1)?.kind).toBe(Kind.STEPS);
    expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
  });
});

describe('A sequence that was replayed from the other form', () => {
  /** A kernel that has applied the sequence, and one that has replayed it. */
  function replayed(flags: number) {
    const kernel = known();
    const session = kernel.openProducer(idOf(1)).answer as Session;
    const sent = { kind: Opcode.ADD, flags: flags | Flag.SEQUENCED, session, milliseconds: START };
    const body = bodyOf(encodeAdd, { sequence: SEQUENCE, operations });
    expect(applyTo(kernel.partition, { ...sent, body })).toBe(OK);
    const answer = kernel.partition.answer.slice();
    const steps = kernel.partition.steps?.slice() as Uint8Array;
    const partition = replay([...kernel.log, { ...sent, kind: Kind.STEPS, body: steps }]);
    return { live: kernel.partition, partition, sent, body, steps, answer };
  }

  test('is known by what was sent, and gets its first answer', () => {
    const { live, partition, sent, body, answer } = replayed(Flag.VALUES);
    expect(partition.stateHash).toBe(live.stateHash);
    expect(applyTo(partition, { ...sent, body })).toBe(REPEATED);
    expect(partition.answer).toEqual(answer);
  });

  test('conflicts with anything else', () => {
    const { partition, sent } = replayed(0);
    const other = operations.map(({ key }) => ({ key, delta: 5n }));
    const body = bodyOf(encodeAdd, { sequence: SEQUENCE, operations: other });
    expect(applyTo(partition, { ...sent, body })).toBe(ERRORS.SEQUENCE_CONFLICT.status);
  });

  test('is refused whole where its hash is cut off', () => {
    const { partition, sent, steps } = replayed(0);
    const { stateHash } = partition;
    const body = steps.subarray(0, PREFIX_BYTES + PAYLOAD_BYTES - 1);
    expect(applyTo(partition, { ...sent, kind: Kind.STEPS, body })).toBe(ERRORS.BAD_REQUEST.status);
    expect(partition.stateHash).toBe(stateHash);
  });
});
