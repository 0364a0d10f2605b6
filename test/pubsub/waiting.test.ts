import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { type Told, writeTold } from '../../src/protocol/tail.js';
import { Waiting } from '../../src/pubsub/waiting.js';

/** What waits, naively: an object of each counter, in the order in which they came first. */
class Naive {
  readonly #told = new Map<string, Told>();

  get size(): number {
    return this.#told.size;
  }

  fold(name: string, value: bigint, exists: boolean, delta: bigint): void {
    const before = this.#told.get(name);
    const isFound = before && !('delta' in before);
    const all = BigInt.asIntN(64, delta + (before && 'delta' in before ? before.delta : 0n));
    const changed: Told = exists ? { kind: 'change', name, value, delta: all } : { kind: 'deleted', name, delta: all };
    const found: Told = exists ? { kind: 'value', name, value } : { kind: 'absent', name };
    this.#told.set(name, isFound ? found : changed);
  }

  find(name: string, value: bigint): void {
    this.#told.set(name, { kind: 'value', name, value });
  }

  clear(): void {
    this.#told.clear();
  }

  write(items: ByteWriter, bytes: number): number {
    let count = 0;
    for (const [name, told] of this.#told) {
      if (items.length >= bytes) break;
      writeTold(items, told);
      this.#told.delete(name);
      count++;
    }
    return count;
  }
}

const NAMES = Array.from({ length: 70 }, (_, i) => `${i}`.padStart(1 + (i % 5), 'é'));
const name = fc.constantFrom(...NAMES);
const value = fc.oneof(fc.bigInt({ min: -3n, max: 3n }), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }));
const step = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.record({ kind: fc.constant('fold' as const), name, value, exists: fc.boolean(), delta: value }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('find' as const), name, value }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('write' as const), bytes: fc.nat({ max: 200 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const) }) },
);

describe('What waits to be told', () => {
  test('is what a map of objects would have, byte by byte, however much is told at a time', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300, size: 'max' }), (steps) => {
        const [waiting, naive] = [new Waiting(), new Naive()];
        const [written, expected] = [new ByteWriter(), new ByteWriter()];
        for (const each of [...steps, { kind: 'write' as const, bytes: 100_000 }]) {
          if (each.kind === 'fold') {
            const { name, value, exists, delta } = each;
            waiting.fold({ name, value: exists ? value : 0n, exists, delta });
            naive.fold(name, value, exists, delta);
          } else if (each.kind === 'find') {
            waiting.find(each);
            naive.find(each.name, each.value);
          } else if (each.kind === 'clear') {
            waiting.clear();
            naive.clear();
          } else {
            written.reset();
            expected.reset();
            expect(waiting.write(written, each.bytes)).toBe(naive.write(expected, each.bytes));
            expect(written.view()).toEqual(expected.view());
          }
          expect(waiting.size).toBe(naive.size);
        }
      }),
    );
  });

  test('is told of thousands, each change of a name as one', () => {
    const waiting = new Waiting();
    for (let round = 1n; round <= 3n; round++) {
      for (let i = 0; i < 5_000; i++) waiting.fold({ name: `${i}`, value: round, exists: true, delta: 1n });
    }
    const [written, expected] = [new ByteWriter(), new ByteWriter()];
    for (let i = 0; i < 5_000; i++) writeTold(expected, { kind: 'change', name: `${i}`, value: 3n, delta: 3n });
    expect(waiting.write(written, Number.POSITIVE_INFINITY)).toBe(5_000);
    expect(written.view()).toEqual(expected.view());
    expect(waiting.size).toBe(0);
  });
});
