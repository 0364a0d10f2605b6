import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ERRORS, OK } from '../../src/errors.js';
import { Kind } from '../../src/partition/partition.js';
import { decodeSteps } from '../../src/partition/steps.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import type { Operation } from '../../src/protocol/request.js';
import { Kernel, NOBODY, START } from './fixture.js';

/** So many that heads have one to three bytes; the last ones are deleted again. */
const COUNTERS = 4_200;
const DELETED = 100;
const MAX = 2n ** 63n - 1n;

function filled(): Kernel {
  const kernel = new Kernel();
  kernel.watched = false;
  const names = Array.from({ length: COUNTERS }, (_, i) => `n${i}`);
  kernel.add({ operations: names.map((name, i) => ({ key: { name }, delta: BigInt(i) })) });
  for (const name of names.slice(-DELETED)) kernel.delete({ key: { name }, reason: 'gone' });
  return kernel;
}

const stepOf = (slots: number): fc.Arbitrary<Operation> =>
  fc.record({
    key: fc.record({ slot: fc.nat(slots), generation: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 0, 1) }),
    delta: fc.oneof(fc.bigInt(-70n, 70n), fc.bigInt(-(2n ** 63n), MAX)),
  });

describe('A batch of steps by id alone', () => {
  test('leaves the same memory and answer as the same operations among others, whatever is refused', () => {
    const plain = filled();
    const mixed = filled();
    const property = fc.property(
      fc.array(stepOf(COUNTERS + 5), { maxLength: 200 }),
      fc.constantFrom(0, Flag.VALUES, Flag.ATOMIC, Flag.ATOMIC | Flag.VALUES),
      (operations, flags) => {
        // A bound that bounds nothing makes a batch one of the other kind
        const bounded = operations.map((operation, i) => (i === 0 ? { ...operation, min: -(2n ** 63n) } : operation));
        const [one, other] = [plain.add({ operations }, flags), mixed.add({ operations: bounded }, flags)];
        expect(one).toEqual(other);
        expect(plain.partition.stateHash).toBe(mixed.partition.stateHash);
      },
    );
    fc.assert(property, { numRuns: 300 });
  });

  test('is logged byte for byte as the same operations by name, whatever lengths heads, generations and deltas have', () => {
    const [byId, byName] = [filled(), filled()];
    for (const kernel of [byId, byName]) {
      // in slots that counters have left: a later generation
      kernel.add({ operations: Array.from({ length: DELETED }, (_, i) => ({ key: { name: `m${i}` }, delta: 1n })) });
    }
    const names = [
      ...Array.from({ length: COUNTERS - DELETED }, (_, i) => `n${i}`),
      ...Array.from({ length: DELETED }, (_, i) => `m${i}`),
    ];
    const keys = (byId.open(names).answer ?? []).map((id) => id as { slot: number; generation: number });
    const operation = fc.record({
      index: fc.oneof({ weight: 4, arbitrary: fc.nat(20) }, { weight: 4, arbitrary: fc.nat(COUNTERS - 1) }),
      delta: fc.oneof(
        { weight: 8, arbitrary: fc.constant(1n) },
        fc.bigInt(-70n, 70n),
        fc.bigInt(-(2n ** 28n), 2n ** 28n),
        fc.bigInt(-(2n ** 50n), 2n ** 50n),
      ),
    });
    const property = fc.property(fc.array(operation, { minLength: 1, maxLength: 400 }), (picked) => {
      byId.add({
        operations: picked.map(({ index, delta }) => ({
          key: keys[index] as { slot: number; generation: number },
          delta,
        })),
      });
      byName.add({ operations: picked.map(({ index, delta }) => ({ key: { name: names[index] as string }, delta })) });
      const [one, other] = [byId.log.at(-1)?.body, byName.log.at(-1)?.body];
      // what is no shorter stays as it came
      if (byId.log.at(-1)?.kind === Kind.STEPS) expect(one).toEqual(other);
      expect(byId.partition.stateHash).toBe(byName.partition.stateHash);
    });
    fc.assert(property, { numRuns: 300 });
  });

  test('finds counters whose heads have four bytes', () => {
    const kernel = new Kernel();
    kernel.watched = false;
    const all = 2 ** 19 + 9_000;
    for (let from = 0; from < all; from += 10_000) {
      const names = Array.from({ length: Math.min(10_000, all - from) }, (_, i) => `n${from + i}`);
      kernel.add({ operations: names.map((name) => ({ key: { name }, delta: 0n })) });
    }
    const slots = Array.from({ length: 300 }, (_, i) => (i % 3 === 0 ? i : all - 1 - i * 30));
    const operations = slots.map((slot) => ({ key: { slot, generation: 0 }, delta: BigInt(slot) }));
    kernel.add({ operations });
    expect(decodeSteps(kernel.log.at(-1)?.body as Uint8Array, 0).operations).toEqual(operations);
    const values = kernel.get(slots.map((slot) => ({ name: `n${slot}` }))).answer;
    expect(values?.map(({ value }) => value)).toEqual(slots.map(BigInt));
    const beyond = kernel.add({ operations: [{ key: { slot: all, generation: 0 }, delta: 1n }] }).answer;
    expect(beyond?.refused).toEqual([{ index: 0, status: ERRORS.ID_UNKNOWN.status }]);
  });

  test('is logged in the shortest form where a delta, or the head before one that is long, came in a longer one', () => {
    const kernel = filled();
    const longDeltas = [(5 << 2) | 1, 0, 0x84, 0, (6 << 2) | 1, 0, 2, (7 << 2) | 1, 0, 0x86, 0x80, 0];
    const longHead = [0x80 | (8 << 2) | 1, 0, 0, 0x86, 1];
    const body = Uint8Array.from([4, ...longDeltas, ...longHead]);
    expect(kernel.call(Opcode.ADD, 0, NOBODY, START, body)).toBe(OK);
    const logged = [4, (5 << 2) | 1, 4, 6 << 2, (7 << 2) | 1, 6, (8 << 2) | 1, 0x86, 1];
    expect([...(kernel.log.at(-1)?.body ?? [])]).toEqual(logged);
  });

  test('is taken apart only as a whole: what is malformed behind good operations changes nothing', () => {
    const kernel = filled();
    const good = [1, ...[(5 << 2) | 1, 0, 2]];
    const before = kernel.partition.stateHash;
    const bodies = [
      [2, ...good.slice(1)], // one is missing
      [...good, 0], // one byte too many
      [1, (5 << 2) | 1, 0], // its delta is missing
      [1, (5 << 2) | 1, 0, ...Array.from({ length: 10 }, () => 0xff)],
    ];
    for (const body of bodies) {
      const status = kernel.call(Opcode.ADD, 0, NOBODY, START, Uint8Array.from(body));
      expect(status).toBe(ERRORS.BAD_REQUEST.status);
      expect(kernel.partition.stateHash).toBe(before);
    }
    expect(kernel.call(Opcode.ADD, 0, NOBODY, START, Uint8Array.from(good))).toBe(OK);
  });

  test('says what it stepped, as other batches do', () => {
    const kernel = filled();
    kernel.add({ operations: [3, 4_099, 31].map((slot) => ({ key: { slot, generation: 0 }, delta: 1n })) });
    expect([0, 1, 2].map((index) => kernel.partition.slotOfOperation(index))).toEqual([3, 4_099, 31]);
    kernel.add({ operations: [{ key: { name: 'n7' }, delta: 1n }] });
    expect(kernel.partition.slotOfOperation(0)).toBe(7);
  });
});
