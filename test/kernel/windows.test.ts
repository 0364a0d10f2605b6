import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ABSENT, ERRORS, OK } from '../../src/errors.js';
import { type CounterClass, encodeClasses } from '../../src/partition/classes.js';
import { Kind } from '../../src/partition/partition.js';
import { Flag } from '../../src/protocol/opcode.js';
import type { WindowMode } from '../../src/protocol/window.js';
import { classify, Kernel, NOBODY, START, tick } from './fixture.js';
import { CLASSES, DAY, HOUR, MINUTE, type NaiveCounter, SECOND, Tracked, windowOf } from './tracked.js';

const NOT_TRACKED = ERRORS.NOT_TRACKED.status;

const name = fc.constantFrom(
  'hour:a',
  'hour:b',
  'day:a',
  'day:b',
  'second:a',
  'second:b',
  'gross:a',
  'gross:b',
  'total:a',
  'plain',
);
const delta = fc.oneof(
  { weight: 8, arbitrary: fc.bigInt(-5n, 100n) },
  fc.bigInt(-(2n ** 40n), 2n ** 40n),
  fc.bigInt(-(2n ** 62n), 2n ** 62n),
);
const length = fc.constantFrom(1, 10 * SECOND, 59_001, MINUTE, 90_000, 5 * MINUTE, HOUR, HOUR + 1, 6 * HOUR, DAY);
const mode = fc.constantFrom<WindowMode>('sliding', 'aligned');
const step = fc.oneof(fc.nat(3 * SECOND), fc.nat(MINUTE), fc.nat(5 * MINUTE), fc.nat(HOUR), fc.nat(DAY * 2));

/** Sums of changes by minute. */
function byMinute(changes: NaiveCounter['changes']): ReadonlyMap<number, bigint> {
  const sums = new Map<number, bigint>();
  for (const { time, delta } of changes) {
    const minute = Math.floor(time / MINUTE);
    sums.set(minute, (sums.get(minute) ?? 0n) + delta);
  }
  return sums;
}

const nonZero = (sums: ReadonlyMap<number, bigint>) =>
  [...sums].filter(([, sum]) => sum !== 0n).sort(([one], [other]) => one - other);

type Command =
  | { readonly type: 'add'; readonly name: string; readonly delta: bigint; readonly atomic: boolean }
  | { readonly type: 'late'; readonly name: string; readonly delta: bigint; readonly age: number }
  | { readonly type: 'pass'; readonly milliseconds: number }
  | { readonly type: 'tick' }
  | { readonly type: 'history'; readonly name: string }
  | { readonly type: 'restart' }
  | { readonly type: 'window'; readonly name: string; readonly length: number; readonly mode: WindowMode };

const command = (pass: fc.Arbitrary<number>): fc.Arbitrary<Command> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ type: fc.constant('add' as const), name, delta, atomic: fc.boolean() }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('late' as const), name, delta, age: fc.nat(3 * HOUR) }) },
    { weight: 4, arbitrary: fc.record({ type: fc.constant('pass' as const), milliseconds: pass }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('tick' as const) }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('history' as const), name }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('restart' as const) }) },
    { weight: 5, arbitrary: fc.record({ type: fc.constant('window' as const), name, length, mode }) },
  );

function checkHistory(tracked: Tracked, name: string): void {
  const found = tracked.historyOf(name);
  if (found) expect(nonZero(found)).toEqual(nonZero(byMinute(tracked.counters.get(name)?.changes ?? [])));
}

function run(tracked: Tracked, commands: readonly Command[], told: (status: number, command: Command) => void): void {
  for (const command of commands) {
    if (command.type === 'pass') tracked.now += command.milliseconds;
    else if (command.type === 'tick') tracked.tick();
    else if (command.type === 'history') checkHistory(tracked, command.name);
    else if (command.type === 'restart') tracked.restart();
    else if (command.type === 'add')
      tracked.add(command.name, command.delta, undefined, command.atomic ? Flag.ATOMIC : 0);
    else if (command.type === 'late') tracked.add(command.name, command.delta, tracked.now - command.age);
    else told(tracked.check(command.name, command.length, command.mode), command);
  }
}

/** Whether the class of a name keeps windows of a length. */
const keeps = (name: string, length: number) =>
  /^(day|second|gross):/.test(name) ? length <= DAY : name !== 'plain' && length <= HOUR;

describe('A window', () => {
  test('is what a list of changes says, and is known, as long as the clock goes forward', () => {
    let known = 0;
    fc.assert(
      fc.property(fc.array(command(step), { minLength: 1, maxLength: 120, size: 'max' }), (commands) => {
        // Sums beyond 64 bits are another test's
        const tame = commands.filter(
          (each) => !('delta' in each) || (each.delta < 2n ** 50n && each.delta > -(2n ** 50n)),
        );
        run(new Tracked(), tame, (status, each) => {
          const { name, length } = each as Command & { type: 'window' };
          expect([name, length, status]).toEqual([name, length, keeps(name, length) ? OK : NOT_TRACKED]);
          if (status === OK) known++;
        });
      }),
      { numRuns: 300 },
    );
    expect(known).toBeGreaterThan(2_000);
  });

  test('is never another number than the list says, whatever the clock does and however much is counted', () => {
    let known = 0;
    let unknown = 0;
    const anyStep = fc.oneof(
      { weight: 3, arbitrary: step },
      step.map((milliseconds) => -milliseconds),
    );
    fc.assert(
      fc.property(
        fc.array(command(anyStep), { minLength: 1, maxLength: 120, size: 'max' }),
        fc.constantFrom(16_000_000, 600, 0),
        (commands, windowBytes) => {
          const tracked = new Tracked(CLASSES, windowBytes);
          tracked.now += 4 * DAY;
          run(tracked, commands, (status, each) => {
            const { name, length } = each as Command & { type: 'window' };
            if (!keeps(name, length)) return;
            if (status === OK) known++;
            else unknown++;
          });
        },
      ),
      { numRuns: 600 },
    );
    expect(known).toBeGreaterThan(2_000);
    expect(unknown).toBeGreaterThan(100);
  });
});

describe('The rings of a window', () => {
  test('hold what the last hour and day had, and nothing of what was in their places before', () => {
    const gap = fc.oneof(
      fc.nat(70).map((minutes) => minutes * MINUTE),
      fc.nat(30).map((hours) => hours * HOUR),
    );
    fc.assert(
      fc.property(fc.array(gap, { minLength: 10, maxLength: 60, size: 'max' }), (gaps) => {
        const tracked = new Tracked();
        const step = (milliseconds: number) => {
          tracked.now += milliseconds;
          tracked.add('day:a', 1n);
        };
        for (let minute = 0; minute < 6; minute++) step(MINUTE); // more than pairs hold
        for (const milliseconds of gaps) {
          step(milliseconds);
          for (const length of [30 * MINUTE, HOUR, 7 * HOUR, DAY]) {
            expect(tracked.check('day:a', length, 'aligned')).toBe(OK);
            expect(tracked.check('day:a', length, 'sliding')).toBe(OK);
          }
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe('The history that is emitted', () => {
  test('is the list of changes by minute, once all hours are closed, whatever the clock does', () => {
    const anyStep = fc.oneof(
      { weight: 3, arbitrary: step },
      step.map((milliseconds) => -milliseconds),
    );
    let minutes = 0;
    fc.assert(
      fc.property(
        fc.array(command(anyStep), { minLength: 1, maxLength: 120, size: 'max' }),
        fc.constantFrom(16_000_000, 600, 0),
        (commands, windowBytes) => {
          const tracked = new Tracked(CLASSES, windowBytes);
          tracked.now += 4 * DAY;
          run(tracked, commands, () => {});
          const latest = Math.max(
            tracked.now,
            ...[...tracked.counters.values()].flatMap(({ changes }) => changes.map(({ time }) => time)),
          );
          tracked.now = latest + 2 * DAY;
          tracked.tick();
          expect(tracked.partition.statistics).toMatchObject({ tracks: 0, windowBytes: 0 });
          const ids = tracked.kernel.open([...tracked.counters.keys()]).answer ?? [];
          [...tracked.counters].forEach(([name, { changes }], index) => {
            const id = ids[index];
            if (id?.status !== OK) throw new Error('It has no id.');
            const emitted = tracked.history.get(`${id.slot} ${id.generation}`) ?? new Map<number, bigint>();
            expect(nonZero(emitted)).toEqual(tracked.historyOf(name) ? nonZero(byMinute(changes)) : []);
            minutes += emitted.size;
          });
        },
      ),
      { numRuns: 600 },
    );
    expect(minutes).toBeGreaterThan(2_000);
  });
});

describe('What is not applied', () => {
  const now = START;
  const sumOf = (kernel: Kernel, name: string) => windowOf(kernel.partition, name, HOUR, now).sum;

  test('is not counted in a window: a repeated operation id, and an atomic batch that is refused', () => {
    const kernel = new Kernel();
    classify(kernel, CLASSES);
    const once = { key: { name: 'hour:a' }, delta: 5n, operationId: new Uint8Array(16).fill(1) };
    kernel.add({ operations: [once] });
    kernel.add({ operations: [once] });
    expect(sumOf(kernel, 'hour:a')).toBe(5n);
    const refused = [
      { key: { name: 'hour:a' }, delta: 1n },
      { key: { name: 'hour:b' }, delta: -1n, min: 0n },
    ];
    kernel.add({ operations: refused }, Flag.ATOMIC);
    expect([sumOf(kernel, 'hour:a'), sumOf(kernel, 'hour:b')]).toEqual([5n, 0n]);
    kernel.add({ operations: refused });
    expect([sumOf(kernel, 'hour:a'), sumOf(kernel, 'hour:b')]).toEqual([6n, 0n]);
  });

  test('a SET is counted by what it changed, and what was deleted is gone', () => {
    const kernel = new Kernel();
    classify(kernel, CLASSES);
    kernel.step('hour:a', 5n);
    kernel.set({ key: { name: 'hour:a' }, value: 2n, reason: 'r' });
    kernel.set({ key: { name: 'hour:b' }, value: 7n, reason: 'r' });
    expect([sumOf(kernel, 'hour:a'), sumOf(kernel, 'hour:b')]).toEqual([2n, 7n]);
    kernel.delete({ key: { name: 'hour:a' }, reason: 'r' });
    kernel.step('hour:a', 1n);
    expect(sumOf(kernel, 'hour:a')).toBe(1n);
    expect(kernel.partition.statistics.tracks).toBe(2);
  });
});

describe('An increment with a time of its own', () => {
  test('is refused where it lies ahead of the clock, or is older than its class takes', () => {
    const tracked = new Tracked();
    tracked.now += DAY;
    expect(tracked.add('hour:a', 1n, tracked.now + MINUTE)).toBe(OK);
    expect(tracked.add('hour:a', 1n, tracked.now + MINUTE + 1)).toBe(ERRORS.TIME_AHEAD.status);
    expect(tracked.add('hour:a', 1n, tracked.now - HOUR)).toBe(OK);
    expect(tracked.add('hour:a', 1n, tracked.now - HOUR - 1)).toBe(ERRORS.TIME_TOO_OLD.status);
    expect(tracked.add('hour:new', 1n, tracked.now - HOUR - 1)).toBe(ERRORS.TIME_TOO_OLD.status);
    expect(tracked.kernel.get([{ name: 'hour:new' }]).answer).toEqual([{ status: ABSENT }]);
    expect(tracked.add('day:a', 1n, 0)).toBe(OK);
    expect(tracked.add('plain', 1n, 0)).toBe(OK);
    expect(tracked.add('plain', 1n, tracked.now + DAY)).toBe(OK);
  });

  test('is counted in the total alone where its class wants that', () => {
    const tracked = new Tracked();
    tracked.now += DAY;
    expect(tracked.add('total:a', 5n, tracked.now - HOUR - 1)).toBe(OK);
    expect(tracked.kernel.value('total:a')).toBe(5n);
    expect(tracked.check('total:a', HOUR, 'sliding')).toBe(OK);
    tracked.now += DAY;
    tracked.tick();
    expect(tracked.history.size).toBe(0);
  });
});

describe('The classes', () => {
  test('of which the first that matches counts, with stars anywhere', () => {
    const kernel = new Kernel();
    const classes: CounterClass[] = [
      { pattern: 'a*z', windows: '1h' },
      { pattern: 'exact', windows: '1h' },
      { pattern: '*mid*dle*', windows: '1d' },
    ];
    expect(classify(kernel, classes)).toBe(OK);
    const known = (name: string, length: number) => windowOf(kernel.partition, name, length, START).status;
    for (const name of ['az', 'abz', 'azz', 'a*z', 'exact']) expect([name, known(name, HOUR)]).toEqual([name, OK]);
    for (const name of ['a', 'za', 'azb', 'exact1', 'exac', 'dle mid', 'midle']) {
      expect([name, known(name, HOUR)]).toEqual([name, NOT_TRACKED]);
    }
    for (const name of ['middle', 'a mid b dle c', 'mid.dle.dle']) expect([name, known(name, DAY)]).toEqual([name, OK]);
    expect(known('abz', HOUR + 1)).toBe(NOT_TRACKED);
  });

  test('that come later hold for the names that are there, from the next minute on, and go over them in ticks', () => {
    const kernel = new Kernel();
    kernel.watched = false;
    const names = Array.from({ length: 6_000 }, (_, i) => `hour:${i}`);
    kernel.add({ operations: names.map((name) => ({ key: { name }, delta: 1n })) });
    expect(classify(kernel, CLASSES, START)).toBe(OK);
    expect(classify(kernel, CLASSES, START)).toBe(ERRORS.OVERLOADED.status);
    expect(kernel.partition.isClassifying).toBe(true);
    tick(kernel, START);
    expect(kernel.partition.isClassifying).toBe(true);
    const step = (name: string, milliseconds: number) =>
      kernel.add({ operations: [{ key: { name }, delta: 1n }] }, 0, NOBODY, milliseconds);
    step('hour:5999', START + 1.5 * MINUTE); // the change has not come to it yet
    tick(kernel, START + 2 * MINUTE);
    expect(kernel.partition.isClassifying).toBe(false);
    expect(windowOf(kernel.partition, 'hour:5999', 7 * MINUTE, START + 8 * MINUTE).status).toBe(NOT_TRACKED);
    for (const name of ['hour:1', 'hour:5999']) {
      step(name, START + 3 * MINUTE);
      expect(windowOf(kernel.partition, name, 4 * MINUTE, START + 3 * MINUTE).status).toBe(NOT_TRACKED);
      expect(windowOf(kernel.partition, name, 4 * MINUTE, START + 8 * MINUTE)).toMatchObject({
        status: OK,
        sum: 0n,
        oldest: 0n,
      });
      expect(windowOf(kernel.partition, name, 5 * MINUTE, START + 8 * MINUTE)).toMatchObject({
        status: OK,
        sum: 0n,
        oldest: 1n,
      });
    }
  });

  test('that stay as they were keep what is known through a change of those behind them', () => {
    const tracked = new Tracked();
    tracked.add('hour:a', 7n);
    tracked.add('day:a', 8n);
    tracked.now += MINUTE;
    classify(tracked.kernel, [...CLASSES.slice(0, 1), { pattern: 'day:*', windows: '1d' }], tracked.now);
    tracked.take();
    while (tracked.partition.isClassifying) tracked.tick();
    expect(tracked.check('hour:a', HOUR, 'sliding')).toBe(OK);
    expect(tracked.check('day:a', DAY, 'sliding')).toBe(NOT_TRACKED);
    // What the old class had is in its history
    expect([...tracked.history.values()].map((sums) => [...sums.values()])).toEqual([[8n]]);
  });

  test.each([
    ['half an entry', new Uint8Array(64)],
    ['no pattern', new Uint8Array(128)],
    ['more than 63', encodeClassesUnchecked(64)],
  ])('are refused as a whole with %s', (_, body) => {
    expect(new Kernel().call(Kind.CLASSIFY, 0, NOBODY, START, body)).toBe(ERRORS.BAD_REQUEST.status);
  });
});

function encodeClassesUnchecked(count: number): Uint8Array {
  const one = encodeClasses([{ pattern: 'a', windows: '1h' }]);
  return Uint8Array.from({ length: count * one.length }, (_, i) => one[i % one.length] as number);
}

describe('The memory of a window', () => {
  test('is 80 bytes for up to four active minutes, 480 more with a day, and none when it is idle', () => {
    const tracked = new Tracked([{ pattern: '*', windows: '1d' }]);
    const bytes = () => tracked.partition.statistics.windowBytes;
    for (let minute = 0; minute < 4; minute++) {
      tracked.add('a', 1n);
      tracked.now += MINUTE;
    }
    expect(bytes()).toBe(80 - 32);
    for (let minute = 0; minute < 60; minute++) {
      tracked.add('a', 1n);
      tracked.now += MINUTE;
    }
    expect(bytes()).toBe(512 - 32);
    tracked.now += 26 * HOUR;
    tracked.tick();
    expect(tracked.partition.statistics).toMatchObject({ windowBytes: 0, tracks: 0 });
  });
});
