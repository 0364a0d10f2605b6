import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ERRORS, OK } from '../../src/errors.js';
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
