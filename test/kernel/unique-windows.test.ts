import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ABSENT, ERRORS, OK } from '../../src/errors.js';
import { type CounterClass, encodeClasses } from '../../src/partition/classes.js';
import { Kind } from '../../src/partition/partition.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { Flag } from '../../src/protocol/opcode.js';
import { writeNameKey } from '../../src/protocol/request.js';
import type { UniqueItems } from '../../src/protocol/sketch.js';
import type { UniqueCount, UniquesWindow } from '../../src/protocol/uniques.js';
import { type configuration, Kernel, NOBODY, replay, START } from './fixture.js';
import { DAY, HOUR, itemOf, range } from './once-calls.js';

/** Unique items by hour and by day, against a list of everything that was seen. */

const { NOT_TRACKED, BAD_REQUEST, TOO_MANY_OPERATIONS } = ERRORS;
const DAYS = 7;
const CLASSES: readonly CounterClass[] = [
  { pattern: 'plain*', uniques: 10 },
  { pattern: '*', uniques: 20, uniquesWindows: DAYS },
];

/** The classes are there before any name, so that they know everything. */
function kernelOf(wanted: Partial<typeof configuration> = {}, classes = CLASSES): Kernel {
  const kernel = new Kernel(wanted);
  kernel.classify(classes);
  return kernel;
}

function see(kernel: Kernel, name: string, numbers: Iterable<number>, now: number): number[] {
  const all = [...numbers];
  const statuses: number[] = [];
  for (let i = 0; i < all.length; i += 5_000) {
    const sightings = all.slice(i, i + 5_000).map((number) => ({ key: { name }, item: itemOf(number) }));
    const { status, answer } = kernel.see({ sightings }, Flag.VALUES, NOBODY, now);
    expect(status).toBe(OK);
    statuses.push(...(answer?.refused ?? []).map((refused) => refused.status));
  }
  return statuses;
}

const days = (length: number): UniquesWindow => ({ unit: 'days', length });
const hours = (length: number): UniquesWindow => ({ unit: 'hours', length });
const countOf = (kernel: Kernel, name: string, window: UniquesWindow, now: number): UniqueCount | undefined =>
  kernel.uniques('each', [{ name }], window, now).answer?.counts[0];

/** Everything that was seen, and when. */
class Model {
  readonly seen: { readonly name: string; readonly item: number; readonly time: number }[] = [];

  count(names: readonly string[], { unit, length }: UniquesWindow, now: number): number {
    const bucket = unit === 'days' ? DAY : HOUR;
    const last = Math.floor(now / bucket);
    const inWindow = this.seen.filter(({ name, time }) => {
      const number = Math.floor(time / bucket);
      return names.includes(name) && number > last - length && number <= last;
    });
    return new Set(inWindow.map(({ item }) => item)).size;
  }
}

describe('What was seen in the last hours and days', () => {
  const sighting = fc.record({
    name: fc.constantFrom('a', 'b', 'c'),
    items: fc.array(fc.nat(60), { maxLength: 30 }),
    later: fc.oneof({ weight: 4, arbitrary: fc.nat(3 * HOUR) }, fc.constantFrom(DAY, 3 * DAY, 9 * DAY, 0)),
    isTick: fc.boolean(),
  });

  test('is what a list of sightings says, as long as the clock goes forward: exactly up to the threshold', () => {
    fc.assert(
      fc.property(fc.array(sighting, { maxLength: 40, size: 'max' }), (steps) => {
        const kernel = kernelOf();
        const model = new Model();
        let now = START;
        for (const { name, items, later, isTick } of steps) {
          now += later;
          if (isTick) kernel.tick(now);
          expect(see(kernel, name, items, now)).toEqual([]);
          model.seen.push(...items.map((item) => ({ name, item, time: now })));
          for (const window of [hours(1), hours(3), hours(24), days(1), days(3), days(DAYS)]) {
            for (const names of [['a'], ['b'], ['a', 'b', 'c']]) {
              const keys = names.map((name) => ({ name }));
              const told = kernel.uniques('union', keys, window, now).answer?.counts[0];
              const expected = model.count(names, window, now);
              if (told?.exact) expect(told).toEqual({ status: OK, exact: true, count: expected });
              else expect(Math.abs((told?.count ?? 0) - expected)).toBeLessThanOrEqual(3);
              if (expected <= 20) expect(told?.exact ?? false).toBe(true);
            }
          }
        }
        expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
      }),
      { numRuns: 30 },
    );
  });

  test('is never another number than the list says, whatever the clock does', () => {
    const jump = fc.record({
      name: fc.constantFrom('a', 'b'),
      items: fc.array(fc.nat(15), { maxLength: 5 }),
      later: fc.oneof(fc.nat(3 * HOUR), fc.constantFrom(DAY, 9 * DAY, -DAY, -2 * HOUR, -9 * DAY)),
      isTick: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(jump, { maxLength: 60, size: 'max' }), (steps) => {
        const kernel = kernelOf();
        const model = new Model();
        let now = START + 100 * DAY;
        for (const { name, items, later, isTick } of steps) {
          now = Math.max(START, now + later);
          if (isTick) kernel.tick(now);
          see(kernel, name, items, now);
          model.seen.push(...items.map((item) => ({ name, item, time: now })));
          for (const window of [hours(2), hours(24), days(2), days(DAYS)]) {
            const told = countOf(kernel, name, window, now);
            if (told?.status === OK) expect(told.count).toBe(model.count([name], window, now));
            else expect([ABSENT, NOT_TRACKED.status]).toContain(told?.status);
          }
        }
        expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
      }),
      { numRuns: 30 },
    );
  });

  test('is an estimate beyond the threshold, which unions and other partitions can be united with', () => {
    const kernel = kernelOf();
    for (let day = 0; day < 3; day++) see(kernel, 'a', range(day * 5_000, day * 5_000 + 10_000), START + day * DAY);
    const now = START + 2 * DAY;
    const told = countOf(kernel, 'a', days(3), now);
    expect(told?.exact).toBe(false);
    expect(Math.abs((told?.count ?? 0) / 20_000 - 1)).toBeLessThan(0.04);
    const sketch = kernel.uniques('sketch', [{ name: 'a' }], days(1), now).answer?.sketch as UniqueItems;
    expect(sketch.registers?.length).toBe(12_288);
    const all = kernel.uniques('each', [{ name: 'a' }]).answer?.counts[0];
    expect(told?.count).toBe(all?.count);
  });

  test('is not known where the class keeps no such window, is younger, or is of another definition', () => {
    const kernel = kernelOf();
    see(kernel, 'plain', [1], START);
    see(kernel, 'a', [1], START);
    const statusOf = (name: string, window: UniquesWindow, now = START) => countOf(kernel, name, window, now)?.status;
    expect(statusOf('plain', days(1))).toBe(NOT_TRACKED.status);
    expect(statusOf('a', days(DAYS + 1))).toBe(NOT_TRACKED.status);
    expect(statusOf('a', hours(25))).toBe(NOT_TRACKED.status);
    expect([statusOf('a', days(DAYS)), statusOf('nobody', days(DAYS))]).toEqual([OK, ABSENT]);
    kernel.classify([{ pattern: '*', uniques: 20, uniquesWindows: 2 }], START);
    kernel.tick(START);
    see(kernel, 'a', [2], START + HOUR);
    for (const name of ['a', 'nobody']) {
      expect(statusOf(name, days(1), START + HOUR)).toBe(NOT_TRACKED.status);
      expect(statusOf(name, hours(1), START + HOUR)).toBe(name === 'a' ? OK : ABSENT);
      expect(statusOf(name, days(2), START + 2 * DAY)).toBe(name === 'a' ? OK : ABSENT);
    }
    expect(countOf(kernel, 'a', days(2), START + DAY)?.status).toBe(NOT_TRACKED.status);
  });

  test('is asked for by no other body', () => {
    const kernel = kernelOf();
    for (const body of [[3, 0], [7, 0], [4], [4, 2, 1, 0], [4, 0, 0, 0], [4, 1, 255, 255, 255, 127, 0], [4, 1, 1]]) {
      expect(kernel.partition.uniques(Uint8Array.from(body), START), `${body}`).toBe(BAD_REQUEST.status);
    }
    const keys = Array.from({ length: 17 }, () => ({ name: 'a' }));
    expect(kernel.uniques('each', keys, days(1)).status).toBe(TOO_MANY_OPERATIONS.status);
  });
});

describe('The memory of unique items by hour and day', () => {
  test('is bounded with that of all windows: what finds no room is not known, and never a wrong number', () => {
    const kernel = kernelOf({ windowBytes: 12_000 });
    kernel.watched = false;
    const model = new Model();
    let unknown = 0;
    for (let i = 0; i < 400; i++) {
      const now = START + i * HOUR;
      const name = `n${i % 40}`;
      const items = [...range(i, i + 15)];
      expect(see(kernel, name, items, now)).toEqual([]);
      model.seen.push(...items.map((item) => ({ name, item, time: now })));
      expect(kernel.partition.statistics.windowBytes).toBeLessThanOrEqual(12_000);
      for (const window of [hours(24), days(DAYS)]) {
        const told = countOf(kernel, name, window, now);
        if (told?.status === NOT_TRACKED.status) unknown++;
        else if (told?.exact)
          expect(told).toEqual({ status: OK, exact: true, count: model.count([name], window, now) });
        else expect(Math.abs((told?.count ?? 0) - model.count([name], window, now))).toBeLessThanOrEqual(3);
      }
    }
    expect([unknown > 50, unknown < 750]).toEqual([true, true]);
    expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
  });

  test.each([0, 20, 2_000, 100_000])('is all given back in time, and with the counter (threshold %i)', (threshold) => {
    const kernel = kernelOf({}, [{ pattern: '*', uniques: threshold, uniquesWindows: DAYS }]);
    kernel.watched = false;
    let now = START;
    for (const items of [5, 1_000, 5_000]) {
      see(kernel, 'a', range(0, items), now);
      now += HOUR;
    }
    expect(kernel.partition.statistics.windowBytes).toBeGreaterThan(0);
    const memory = kernel.partition.statistics.memoryBytes;
    kernel.tick(now + 10 * DAY);
    expect(kernel.partition.statistics.windowBytes).toBe(0);
    now += 20 * DAY;
    see(kernel, 'a', range(0, 5_000), now);
    kernel.remove('a');
    expect(kernel.partition.statistics).toMatchObject({ windowBytes: 0, tracks: 0 });
    see(kernel, 'a', range(0, 5_000), now);
    expect(kernel.partition.statistics.memoryBytes).toBeLessThanOrEqual(memory);
  });

  test('a full partition refuses new items and tells no wrong number', () => {
    const kernel = kernelOf({ maximumPages: 122 }, [{ pattern: '*', uniques: 10_000, uniquesWindows: DAYS }]);
    kernel.watched = false;
    const model = new Model();
    let refusals = 0;
    for (let i = 0; refusals < 500; i++) {
      const now = START + i * 600_000;
      const name = `n${i % 5}`;
      const key = { name };
      const numbers = [...range(i * 50, i * 50 + 80)];
      const { answer } = kernel.see({ sightings: numbers.map((n) => ({ key, item: itemOf(n) })) }, 0, NOBODY, now);
      const refused = new Set(answer?.refused.map(({ index }) => index));
      refusals += refused.size;
      model.seen.push(...numbers.filter((_, j) => !refused.has(j)).map((item) => ({ name, item, time: now })));
      for (const window of [hours(24), days(DAYS)]) {
        const told = countOf(kernel, name, window, now);
        if (told?.status === OK && told.exact) expect(told.count).toBe(model.count([name], window, now));
      }
    }
    expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
  });
});

test('A class that keeps unique items by day says for how many, and has unique items at all', () => {
  const kernel = new Kernel();
  const good = encodeClasses([{ pattern: 'a', uniques: 7, uniquesWindows: 30 }]);
  const changed = (change: (view: DataView) => void) => {
    const body = good.slice();
    change(new DataView(body.buffer));
    return kernel.call(Kind.CLASSIFY, 0, NOBODY, START, body);
  };
  expect([good[0], good[6]]).toEqual([128 | 8, 30]);
  expect(changed((view) => view.setUint32(0, 128, true))).toBe(BAD_REQUEST.status);
  expect(changed((view) => view.setUint32(0, 8, true))).toBe(BAD_REQUEST.status);
  expect(changed((view) => view.setUint16(6, 0, true))).toBe(BAD_REQUEST.status);
  expect(changed((view) => view.setUint16(6, 91, true))).toBe(BAD_REQUEST.status);
  expect(changed(() => {})).toBe(OK);
});

describe('What was seen by hour and day in another partition', () => {
  const sighting = fc.record({
    name: fc.constantFrom('a', 'b', 'plain'),
    first: fc.nat(200),
    count: fc.oneof({ weight: 6, arbitrary: fc.nat(40) }, fc.constantFrom(300, 3_000)),
    later: fc.oneof({ weight: 4, arbitrary: fc.nat(3 * HOUR) }, fc.constantFrom(DAY, 3 * DAY, -DAY, 0)),
  });

  test('is brought whole, in each of its forms, and known from when it was known there', () => {
    fc.assert(
      fc.property(
        fc.array(sighting, { minLength: 1, maxLength: 20, size: 'max' }),
        fc.constantFrom(20, 1_000, 100_000),
        (steps, threshold) => {
          const classes = [CLASSES[0] as CounterClass, { pattern: '*', uniques: threshold, uniquesWindows: DAYS }];
          const old = kernelOf({}, classes);
          let now = START;
          for (const { name, first, count, later } of steps) {
            now = Math.max(START, now + later);
            see(old, name, range(first, first + count), now);
          }
          const fresh = new Kernel();
          fresh.add({ operations: ['a', 'b', 'plain'].map((name) => ({ key: { name }, delta: 0n })) }, 0, NOBODY, now);
          fresh.classify(classes, now);
          while (fresh.partition.isClassifying) fresh.tick(now);
          for (const { name, window } of old.partition.seenInWindows()) {
            const body = new ByteWriter();
            writeNameKey(body, name);
            body.bytes(window);
            expect(fresh.call(Kind.BRING, 0, NOBODY, now, body.copy())).toBe(OK);
            expect([...fresh.partition.answer]).toEqual([OK]);
          }
          const names = new Set([...old.partition.seenInWindows()].map(({ name }) => name));
          for (const name of names) {
            for (const at of [now, now + HOUR, now + DAY]) {
              for (const window of [hours(1), hours(5), hours(24), days(1), days(3), days(DAYS)]) {
                const ask = (kernel: Kernel) => kernel.uniques('each', [{ name }], window, at).answer?.counts;
                expect(ask(fresh)).toEqual(ask(old));
                const sketch = (kernel: Kernel) => kernel.uniques('sketch', [{ name }], window, at).answer?.sketch;
                if (ask(old)?.[0]?.exact === false) expect(sketch(fresh)).toEqual(sketch(old));
              }
            }
          }
          expect(replay(fresh.log).stateHash).toBe(fresh.partition.stateHash);
        },
      ),
      { numRuns: 15 },
    );
  });

  test('goes under no name that is not there, nor under a class that does not keep it, and by no other body', () => {
    const kernel = kernelOf();
    kernel.add({ operations: ['plain', 'a'].map((name) => ({ key: { name }, delta: 1n })) });
    const bring = (name: string, form: number, items: number) => {
      const body = new ByteWriter();
      writeNameKey(body, name);
      for (let i = 0; i < 3; i++) body.u32(1);
      body.u8(form);
      body.bytes(new Uint8Array(items));
      const status = kernel.call(Kind.BRING, 0, NOBODY, START, body.copy());
      return status === OK ? kernel.partition.answer[0] : status;
    };
    expect(bring('nobody', 0, 8)).toBe(ABSENT);
    expect(bring('plain', 0, 8)).toBe(NOT_TRACKED.status);
    expect([bring('a', 0, 8), bring('a', 1, 12_288), bring('a', 2, 8)]).toEqual([OK, OK, OK]);
    const refused = [bring('a', 0, 7), bring('a', 0, 16_385 * 8), bring('a', 1, 12_287), bring('a', 2, 1_537 * 8)];
    expect([...refused, bring('a', 3, 8)]).toEqual(Array.from({ length: 5 }, () => BAD_REQUEST.status));
  });
});
