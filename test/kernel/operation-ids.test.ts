import { describe, expect, test } from 'vitest';
import { ERRORS, OK } from '../../src/errors.js';
import { Flag } from '../../src/protocol/opcode.js';
import type { Key } from '../../src/protocol/request.js';
import { idOf, Kernel, NOBODY, START } from './fixture.js';

const LIFE = 600_000;
const operationId = idOf(1);
const conflict = ERRORS.OPERATION_CONFLICT.status;
const full = ERRORS.OPERATIONS_FULL.status;

/** Steps `a` once for each number, under the id of that number. */
function addAll(kernel: Kernel, numbers: readonly number[], milliseconds = START) {
  const operations = numbers.map((number) => ({ key: { name: 'a' }, delta: 1n, operationId: idOf(number) }));
  return kernel.add({ operations }, Flag.VALUES, NOBODY, milliseconds).answer;
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

describe('An operation id', () => {
  test('is applied once; its repeat changes nothing and gets the first answer', () => {
    const kernel = new Kernel();
    expect(kernel.step('a', 5n, { operationId })).toEqual({ status: OK, value: 5n });
    kernel.step('a', 100n);
    expect(kernel.step('a', 5n, { operationId })).toEqual({ status: OK, value: 5n });
    expect(kernel.value('a')).toBe(105n);
  });

  test('keeps a refusal as well', () => {
    const kernel = new Kernel();
    const refused = { status: ERRORS.OUT_OF_BOUNDS.status, value: 0n };
    expect(kernel.step('a', -1n, { min: 0n, operationId })).toEqual(refused);
    kernel.step('a', 10n);
    expect(kernel.step('a', -1n, { min: 0n, operationId })).toEqual(refused);
    expect(kernel.value('a')).toBe(10n);
  });

  test('within one batch counts once', () => {
    const kernel = new Kernel();
    expect(addAll(kernel, [1, 2, 1, 1])).toEqual({ refused: [], values: [1n, 2n, 1n, 1n] });
    expect(kernel.value('a')).toBe(2n);
  });

  test('with another counter, delta or bounds is a conflict, and the value is the one that stands', () => {
    const kernel = new Kernel();
    kernel.step('a', 5n, { min: 0n, operationId });
    kernel.step('a', 1n);
    kernel.step('b', 2n);
    expect(kernel.step('b', 5n, { min: 0n, operationId })).toEqual({ status: conflict, value: 2n });
    expect(kernel.step('c', 5n, { min: 0n, operationId })).toEqual({ status: conflict, value: 0n });
    expect(kernel.step('a', 6n, { min: 0n, operationId })).toEqual({ status: conflict, value: 6n });
    expect(kernel.step('a', 5n, { min: 1n, operationId })).toEqual({ status: conflict, value: 6n });
    expect(kernel.step('a', 5n, { max: 0n, operationId })).toEqual({ status: conflict, value: 6n });
    expect(kernel.step('a', 5n, { operationId })).toEqual({ status: conflict, value: 6n });
    expect(kernel.step('a', 5n, { min: 0n, operationId })).toEqual({ status: OK, value: 5n });
    expect(kernel.partition.statistics.names).toBe(2);
  });

  test('is the same whether the counter is addressed by name or by id', () => {
    const kernel = new Kernel();
    kernel.open(['other', 'a']);
    const add = (key: Key, number: number) => {
      const operations = [{ key, delta: 1n, operationId: idOf(number) }];
      return kernel.add({ operations }, Flag.VALUES).answer;
    };
    const first = { refused: [], values: [1n] };
    expect(add({ name: 'a' }, 1)).toEqual(first);
    expect(add({ slot: 1, generation: 0 }, 1)).toEqual(first);
    expect(add({ slot: 1, generation: 0 }, 2)).toEqual({ refused: [], values: [2n] });
    expect(add({ name: 'a' }, 2)).toEqual({ refused: [], values: [2n] });
    expect(add({ slot: 0, generation: 0 }, 2)?.refused).toEqual([{ index: 0, status: conflict }]);
    // remembered under a name that did not exist then, and has an id now
    expect(add({ name: 'new' }, 3)).toEqual(first);
    expect(add({ slot: 2, generation: 0 }, 3)).toEqual(first);
  });

  test('of an unknown counter id is not remembered', () => {
    const kernel = new Kernel();
    const key = { slot: 0, generation: 0 };
    const add = () => kernel.add({ operations: [{ key, delta: 1n, operationId }] }, Flag.VALUES).answer;
    expect(add()?.refused).toEqual([{ index: 0, status: ERRORS.ID_UNKNOWN.status }]);
    expect(kernel.partition.statistics.operationIds).toBe(0);
    kernel.open(['a']);
    expect(add()).toEqual({ refused: [], values: [1n] });
  });

  test('of a refused atomic batch is not remembered', () => {
    const kernel = new Kernel();
    kernel.step('a', 1n, { operationId: idOf(7) });
    const operations = [
      { key: { name: 'a' }, delta: 1n, operationId: idOf(7) },
      { key: { name: 'a' }, delta: 1n, operationId: idOf(8) },
      { key: { name: 'a' }, delta: 1n, max: 0n, operationId: idOf(9) },
    ];
    const aborted = ERRORS.ATOMIC_ABORTED.status;
    expect(kernel.add({ operations }, Flag.ATOMIC | Flag.VALUES).answer).toEqual({
      refused: [aborted, aborted, ERRORS.OUT_OF_BOUNDS.status].map((status, index) => ({ index, status })),
      values: [1n, 1n, 1n],
    });
    expect(kernel.partition.statistics.operationIds).toBe(1);
    expect(addAll(kernel, [7, 8])).toEqual({ refused: [], values: [1n, 2n] });
    expect(addAll(kernel, [7, 8])).toEqual({ refused: [], values: [1n, 2n] });
  });

  test('is forgotten when its time is over, the oldest first, by batches and by ticks', () => {
    const kernel = new Kernel();
    addAll(kernel, [1], START);
    addAll(kernel, [2], START + 1);
    kernel.tick(START + LIFE - 1);
    expect(kernel.partition.statistics.operationIds).toBe(2);
    kernel.tick(START + LIFE);
    expect(kernel.partition.statistics.operationIds).toBe(1);
    kernel.add({ operations: [] }, 0, NOBODY, START + LIFE + 1);
    expect(kernel.partition.statistics.operationIds).toBe(0);
    expect(addAll(kernel, [1, 2], START + LIFE + 1)?.values).toEqual([3n, 4n]);
  });

  test('is not forgotten by a clock that was set, forwards or backwards', () => {
    const kernel = new Kernel();
    addAll(kernel, [1]);
    for (const time of [START + 3_600_001, START, START + 10 ** 12, START - 10 ** 12]) kernel.tick(time);
    expect(kernel.partition.statistics.operationIds).toBe(1);
    for (let minute = 1; minute <= 10; minute++) kernel.tick(START - 10 ** 12 + minute * 60_000);
    expect(kernel.partition.statistics.operationIds).toBe(0);
  });

  test('is refused when the set is full, never traded for a live one, and taken again as the oldest expire', () => {
    const kernel = new Kernel({ maximumOperationIds: 3 });
    kernel.step('a', 10n);
    addAll(kernel, [1, 2, 3]);
    expect(addAll(kernel, [4, 1])).toEqual({ refused: [{ index: 0, status: full }], values: [13n, 11n] });
    expect(addAll(kernel, [1, 2, 3])?.values).toEqual([11n, 12n, 13n]);
    expect(kernel.step('a', 1n)).toEqual({ status: OK, value: 14n });
    expect(addAll(kernel, [4, 5, 6, 7], START + LIFE)).toEqual({
      refused: [{ index: 3, status: full }],
      values: [15n, 16n, 17n, 17n],
    });
  });

  test('among tens of thousands is found; entries and chains are used again', () => {
    const kernel = new Kernel();
    kernel.watched = false;
    let time = START;
    const counted: number[] = [];
    for (let round = 0; round < 4; round++, time += LIFE) {
      for (let from = 0; from < 60_000; from += 5000) {
        const numbers = range(from, from + 5000).map((number) => number + round * 60_000);
        const first = addAll(kernel, numbers, time);
        expect(first?.refused).toEqual([]);
        expect(addAll(kernel, numbers, time)).toEqual(first);
      }
      counted.push(kernel.partition.statistics.operationIds);
    }
    expect(kernel.value('a')).toBe(240_000n);
    // a batch forgets two for each that it adds, so the old ones are gone when half of the new ones are there
    expect(counted).toEqual([60_000, 60_000, 60_000, 60_000]);
    const { memoryBytes } = kernel.partition.statistics;
    for (let round = 4; round < 14; round++, time += LIFE) {
      for (let from = 0; from < 60_000; from += 10_000)
        addAll(
          kernel,
          range(from, from + 10_000).map((n) => n + round * 60_000),
          time,
        );
    }
    expect(kernel.partition.statistics.memoryBytes).toBeLessThanOrEqual(memoryBytes + 65_536);
  });
});
