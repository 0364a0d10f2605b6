import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ERRORS, OK } from '../../src/errors.js';
import type { CounterClass } from '../../src/partition/classes.js';
import { encodeOnce } from '../../src/protocol/once.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import type { Key } from '../../src/protocol/request.js';
import { bodyOf, idOf, NOBODY, replay, START } from './fixture.js';
import { CLASSES, DAY, HOUR, itemOf, kernelOf, LONGEST_STEP, once, pass, range, SECOND } from './once-calls.js';

const [BAD_REQUEST, NAME_INVALID, ID_UNKNOWN, OVERFLOW, MEMORY_FULL, NOT_TRACKED, ITEMS_FULL, SEQUENCE_CONFLICT] = (
  [
    'BAD_REQUEST',
    'NAME_INVALID',
    'ID_UNKNOWN',
    'OVERFLOW',
    'MEMORY_FULL',
    'NOT_TRACKED',
    'ITEMS_FULL',
    'SEQUENCE_CONFLICT',
  ] as const
).map((code) => ERRORS[code].status) as [number, number, number, number, number, number, number, number];
const MAX = 2n ** 63n - 1n;
/** What a counter is, naively: a value, and when each item was counted last, by the kernel's clock. */
interface ModelCounter {
  value: bigint;
  readonly items: Map<number, number>;
}

/** Counters as the kernel must have them, by a clock that steps as its own does. */
class Model {
  readonly counters = new Map<string, ModelCounter>();
  clock = 0;
  time = START;

  pass(now: number): void {
    const step = now - this.time;
    if (step > 0 && step <= LONGEST_STEP) this.clock += step;
    this.time = now;
  }

  /** Items are kept from the next whole second on. */
  #isOver(since: number, within: number): boolean {
    return Math.ceil(since / SECOND) * SECOND + within <= this.clock;
  }

  once(name: string, item: number, delta: bigint, within: number | undefined) {
    const rule = CLASSES.find(({ pattern }) => name.startsWith(pattern.replace('*', ''))) as CounterClass;
    const counter = this.counters.get(name);
    const value = counter?.value ?? 0n;
    const kept = rule.once;
    if (kept === undefined || (within && within !== kept)) return { status: NOT_TRACKED, counted: false, value };
    const since = counter?.items.get(item);
    if (since !== undefined && !this.#isOver(since, kept)) return { status: OK, counted: false, value };
    if (value + delta > MAX || value + delta < -MAX - 1n) return { status: OVERFLOW, counted: false, value };
    const live = [...(counter?.items.values() ?? [])].filter((at) => !this.#isOver(at, kept)).length;
    if (live >= (rule.onceItems ?? 0)) return { status: ITEMS_FULL, counted: false, value };
    const next = counter ?? { value: 0n, items: new Map<number, number>() };
    next.value = value + delta;
    next.items.set(item, this.clock);
    this.counters.set(name, next);
    return { status: OK, counted: true, value: next.value };
  }
}

describe('An item counts once', () => {
  test('within the time of its class, and again when that is over: the naive model agrees, whatever the clock does', () => {
    const operation = fc.record({
      name: fc.constantFrom('a', 'b', 'few', 'few2', 'plain', 'seen'),
      item: fc.nat(12),
      delta: fc.option(fc.constantFrom(1n, -3n, MAX, -MAX), { nil: undefined, freq: 4 }),
      within: fc.constantFrom(0, 0, 0, DAY, 10 * SECOND),
    });
    const later = fc.oneof(
      { weight: 4, arbitrary: fc.nat(2_500) },
      fc.constantFrom(9_999, 10_000, 10_001, HOUR, HOUR + 1, DAY, -DAY, -1),
    );
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ operations: fc.array(operation, { maxLength: 12 }), later }) },
      fc.record({ remove: fc.constantFrom('a', 'few', 'seen'), later }),
      fc.record({ hours: fc.nat(30), later }),
      fc.record({ later }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40, size: 'max' }), (steps) => {
        const kernel = kernelOf();
        const model = new Model();
        let now = START;
        for (const each of steps) {
          now += each.later;
          if ('operations' in each) {
            model.pass(now);
            const operations = each.operations.map(({ name, item, delta, within }) => ({
              key: { name },
              item: itemOf(item),
              ...((delta !== undefined || within) && { delta: delta ?? 1n, within }),
            }));
            const { answer } = kernel.once({ operations }, Flag.VALUES, NOBODY, now);
            const expected = each.operations.map(({ name, item, delta = 1n, within }) =>
              model.once(name, item, delta, within),
            );
            expect(answer?.counted).toEqual(expected.map(({ counted }) => counted));
            expect(answer?.values).toEqual(expected.map(({ value }) => value));
            expect(answer?.refused).toEqual(
              expected.flatMap(({ status }, index) => (status ? [{ index, status }] : [])),
            );
          } else if ('remove' in each) {
            model.pass(now);
            kernel.delete({ key: { name: each.remove }, reason: 'r' }, NOBODY, now);
            model.counters.delete(each.remove);
          } else {
            for (let hour = 0; hour < ('hours' in each ? each.hours : 1); hour++, now += LONGEST_STEP) {
              model.pass(now);
              kernel.tick(now);
            }
            now = model.time;
          }
        }
        for (const [name, { value }] of model.counters) expect(kernel.value(name)).toBe(value);
        expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
      }),
      { numRuns: 150 },
    );
  });

  test('through every size up to 50,000, and each again a day later, as they come and as they go', () => {
    const kernel = kernelOf();
    kernel.watched = false;
    let now = START;
    let value = 0n;
    for (const to of [1, 2, 4, 62, 63, 64, 65, 126, 127, 200, 1000, 50_000]) {
      const known = Number(value);
      const { counted, statuses } = once(kernel, 'a', range(0, to), now);
      expect(counted).toEqual([...range(0, to)].map((number) => number >= known));
      expect(statuses).toEqual([]);
      value = BigInt(to);
      now += SECOND;
    }
    expect(kernel.value('a')).toBe(50_000n);
    now = pass(kernel, now, DAY - 2 * SECOND);
    // the last ones are not over yet; when they are, a tick forgets most, and some of the others are met where they lie
    expect(once(kernel, 'a', range(49_000, 49_100), now).counted).not.toContain(true);
    now = pass(kernel, now, 2 * SECOND);
    expect(once(kernel, 'a', [...range(45_000, 45_100), ...range(49_990, 50_000)], now).counted).not.toContain(false);
    once(kernel, 'a', range(100_000, 102_000), now); // each forgets some, so that chains are put together
    expect(once(kernel, 'a', range(45_000, 45_100), now).counted).not.toContain(true);
    expect(once(kernel, 'a', range(0, 50_000), now).counted.filter(Boolean)).toHaveLength(50_000 - 110);
    expect(kernel.value('a')).toBe(102_000n);
    expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
  });

  test('to the millisecond not early, and at most a second late', () => {
    for (const off of [0, 1, 999]) {
      const kernel = kernelOf();
      kernel.tick(START + off);
      expect(once(kernel, 'few', [1], START + off).counted).toEqual([true]);
      expect(once(kernel, 'few', [1], START + off + 9_999).counted).toEqual([false]);
      expect(once(kernel, 'few', [1], START + off + 10_999).counted).toEqual([true]);
    }
  });

  test('and the clock of the machine, set forward or back by days, does not bring its time', () => {
    const kernel = kernelOf();
    once(kernel, 'a', [1], START);
    for (const days of [1, 3, -2, 40]) {
      expect(once(kernel, 'a', [1], START + days * DAY).counted, `${days} days`).toEqual([false]);
    }
  });

  test('by a key of either kind, a delta and a time that the class must have', () => {
    const kernel = kernelOf();
    const [id] = kernel.open(['a']).answer ?? [];
    const { slot = 0, generation = 0 } = id?.slot === undefined ? {} : id;
    const keys: Key[] = [
      { slot, generation },
      { name: 'a' },
      { slot: 99, generation: 0 },
      { name: 'a' },
      { name: 'a' },
    ];
    const deltas = [5n, 7n, 1n, -2n, 1n];
    const withins = [0, 0, 0, DAY, HOUR];
    const operations = keys.map((key, i) => ({
      key,
      item: itemOf(i < 2 ? 1 : i),
      delta: deltas[i] as bigint,
      within: withins[i] as number,
    }));
    const { answer } = kernel.once({ operations }, Flag.VALUES);
    expect(answer?.counted).toEqual([true, false, false, true, false]);
    expect(answer?.values).toEqual([5n, 5n, 0n, 3n, 3n]);
    expect(answer?.refused).toEqual([
      { index: 2, status: ID_UNKNOWN },
      { index: 4, status: NOT_TRACKED },
    ]);
  });

  test('under a sequence is applied once, and its repeat gets the first answer', () => {
    const kernel = kernelOf();
    const session = kernel.openProducer(idOf(1)).answer;
    const request = {
      sequence: { sequence: 1, unanswered: 0 },
      operations: [{ key: { name: 'a' }, item: itemOf(1) }],
    };
    const first = kernel.once(request, Flag.VALUES, session);
    expect(first.answer).toEqual({ refused: [], counted: [true], values: [1n] });
    expect(kernel.once(request, Flag.VALUES, session).answer).toEqual(first.answer);
    const other = { ...request, operations: [{ key: { name: 'a' }, item: itemOf(2) }] };
    expect(kernel.once(other, Flag.VALUES, session).status).toBe(SEQUENCE_CONFLICT);
    expect(kernel.partition.operations).toBe(0);
    kernel.once({ operations: other.operations });
    expect([kernel.partition.operations, kernel.partition.slotOfOperation(0)]).toEqual([1, 0]);
  });

  test('goes to windows and history as an increment does, and gets the time to live of its class', () => {
    const kernel = kernelOf({}, [{ pattern: '*', windows: '1h', once: DAY, onceItems: 9, ttl: HOUR }]);
    once(kernel, 'a', [1, 1, 2], START);
    expect(kernel.partition.window(Uint8Array.of(1, 96, 1, 4, 97), START)).toBe(OK);
    expect(kernel.partition.answer.at(-2)).toBe(4); // zigzag 2
    expect(kernel.partition.hasDue(START + HOUR - 1)).toBe(false);
    expect(kernel.partition.hasDue(START + HOUR)).toBe(true);
  });

  test('beside the items that were ever seen: neither knows of the other', () => {
    const kernel = kernelOf();
    const key = { name: 'seen' };
    const see = (from: number, to: number) =>
      kernel.see({ sightings: [...range(from, to)].map((number) => ({ key, item: itemOf(number) })) }, Flag.VALUES)
        .answer?.seen;
    see(0, 3);
    expect(once(kernel, 'seen', range(0, 100)).counted).not.toContain(false);
    expect(see(0, 4)?.map(({ isNew }) => isNew)).toEqual([false, false, false, true]);
    expect(once(kernel, 'seen', range(0, 101)).counted.filter(Boolean)).toHaveLength(1);
    expect(kernel.uniques('each', [key]).answer?.counts).toEqual([{ status: OK, exact: true, count: 4 }]);
    see(0, 50);
    expect(kernel.uniques('each', [key]).answer?.counts[0]?.exact).toBe(false);
    const now = pass(kernel, START, 2 * HOUR);
    expect(kernel.uniques('each', [key]).answer?.counts[0]?.count).toBe(50);
    expect(once(kernel, 'seen', [1], now).counted).toEqual([true]);
  });

  test('refuses as a whole what is no body of a ONCE', () => {
    const kernel = kernelOf();
    const bad = [
      [1],
      [1, 0, 1, 65],
      [1, 4, 97],
      [1, 4, 97, 0],
      [1, 4, 97, 1],
      [1, 6, 97, 1, 65],
      [1, 6, 97, 1, 65, 2],
      [1, 6, 97, 1, 65, 2, 0, 0],
      [1, 6, 97, 1, 65, 2, 255, 255, 255, 255, 255, 255, 255, 255, 1],
      [1, 4, 97, 1, 65, 9],
      [2, 4, 97, 1, 65, 0],
      [2, 6, 97, 1, 65, 2, 0, 0, 1, 66],
    ];
    const before = kernel.partition.stateHash;
    for (const body of bad) {
      const status = kernel.call(Opcode.ONCE, 0, NOBODY, START, Uint8Array.from(body));
      expect([BAD_REQUEST, NAME_INVALID], `${body}`).toContain(status);
    }
    const body = bodyOf(encodeOnce, { operations: [{ key: { name: 'a' }, item: itemOf(1) }] });
    expect(kernel.call(Opcode.ONCE, Flag.ATOMIC, NOBODY, START, body)).toBe(BAD_REQUEST);
    expect(kernel.partition.stateHash).toBe(before);
  });
});

describe('What cannot be counted', () => {
  test('for want of memory for its item, where there is some for its name, leaves no name behind', () => {
    const kernel = kernelOf({ maximumPages: 124 });
    kernel.watched = false;
    const numbers = [...range(10_000, 14_000)];
    kernel.add({ operations: numbers.map((number) => ({ key: { name: `plain${number}` }, delta: 1n })) });
    for (let i = 0; once(kernel, 'a', range(i * 1000, i * 1000 + 1000)).statuses.length === 0; i++);
    for (const number of numbers) kernel.remove(`plain${number}`);
    const told = numbers.map((number) => once(kernel, `again${number}`, [1]));
    const counted = told.filter((one) => one.counted[0]).length;
    expect([counted > 100, counted < numbers.length - 100]).toEqual([true, true]);
    expect(new Set(told.flatMap(({ statuses }) => statuses))).toEqual(new Set([MEMORY_FULL]));
    expect(kernel.partition.statistics).toMatchObject({ names: counted + 1, counters: counted + 1 });
    expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
  });

  test('for want of room in its class is refused, leaves no trace, and is counted when an older one is over', () => {
    const kernel = kernelOf();
    expect(once(kernel, 'few', [1, 2, 3, 4, 1], START)).toEqual({
      counted: [true, true, true, false, false],
      statuses: [ITEMS_FULL],
      value: 3n,
    });
    expect(once(kernel, 'few', [4], START + 9_999).statuses).toEqual([ITEMS_FULL]);
    expect(once(kernel, 'few', [4, 5, 6, 7], START + 10_000)).toEqual({
      counted: [true, true, true, false],
      statuses: [ITEMS_FULL],
      value: 6n,
    });
  });

  test('for an overflow is refused, and its item counts when there is room', () => {
    const kernel = kernelOf();
    kernel.set({ key: { name: 'a' }, value: MAX, reason: 'r' });
    expect(once(kernel, 'a', [1]).statuses).toEqual([OVERFLOW]);
    kernel.set({ key: { name: 'a' }, value: 0n, reason: 'r' });
    expect(once(kernel, 'a', [1], START).counted).toEqual([true]);
  });

  test('under a class that counts nothing once leaves no name behind', () => {
    const kernel = kernelOf();
    expect(once(kernel, 'plain', [1]).statuses).toEqual([NOT_TRACKED]);
    expect(kernel.partition.statistics.names).toBe(0);
  });

  test('for want of memory leaves no name and no item behind, and what was counted stays so', () => {
    for (const isWide of [true, false]) {
      const kernel = kernelOf({ maximumPages: 124 });
      const model = new Map<string, Set<number>>();
      let refusals = 0;
      for (let round = 0; refusals < 2_000; round++) {
        const name = isWide ? `n${round}` : `n${round % 3}`;
        const numbers = [...range(round * 40, round * 40 + 40)];
        const names = kernel.partition.statistics.names;
        const { counted, statuses } = once(kernel, name, numbers);
        expect(new Set(statuses).size).toBeLessThanOrEqual(1);
        for (const status of statuses) expect(status).toBe(MEMORY_FULL);
        if (!counted.includes(true)) expect(kernel.partition.statistics.names).toBe(names);
        const items = model.get(name) ?? new Set<number>();
        numbers.forEach((number, i) => {
          if (counted[i]) items.add(number);
        });
        if (items.size) model.set(name, items);
        refusals += statuses.length;
      }
      kernel.watched = false;
      for (const [name, items] of model) {
        expect(kernel.value(name)).toBe(BigInt(items.size));
        expect(once(kernel, name, items).counted).not.toContain(true);
      }
      expect(kernel.partition.statistics.names).toBe(model.size);
      expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
    }
  });
});
