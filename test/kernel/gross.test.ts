import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ERRORS, OK } from '../../src/errors.js';
import { encodeWindow, type WindowMode } from '../../src/protocol/window.js';
import { bodyOf, classify, replay } from './fixture.js';
import { DAY, HOUR, MINUTE, SECOND, Tracked, windowOf } from './tracked.js';

const NOT_TRACKED = ERRORS.NOT_TRACKED.status;
const NAMES = ['gross:a', 'gross:b'] as const;

type Command =
  | { readonly type: 'add'; readonly name: string; readonly delta: bigint; readonly age: number | undefined }
  | { readonly type: 'pass'; readonly milliseconds: number }
  | { readonly type: 'tick' }
  | { readonly type: 'window'; readonly name: string; readonly length: number; readonly mode: WindowMode };

const name = fc.constantFrom(...NAMES);
const delta = fc.oneof(
  { weight: 6, arbitrary: fc.bigInt(-60n, 60n) },
  fc.bigInt(-70_000n, 70_000n),
  fc.bigInt(-(2n ** 40n), 2n ** 40n),
);
const age = fc.option(fc.oneof(fc.nat(2 * MINUTE), fc.nat(3 * HOUR), fc.nat(30 * HOUR)), { nil: undefined, freq: 2 });
const forward = fc.oneof(fc.nat(3 * SECOND), fc.nat(2 * MINUTE), fc.nat(HOUR), fc.nat(30 * HOUR));
const lengths = [10 * SECOND, MINUTE, 5 * MINUTE, HOUR, 7 * HOUR, DAY];

const command = (pass: fc.Arbitrary<number>): fc.Arbitrary<Command> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ type: fc.constant('add' as const), name, delta, age }) },
    { weight: 4, arbitrary: fc.record({ type: fc.constant('pass' as const), milliseconds: pass }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('tick' as const) }) },
    {
      weight: 5,
      arbitrary: fc.record({
        type: fc.constant('window' as const),
        name,
        length: fc.constantFrom(...lengths),
        mode: fc.constantFrom<WindowMode>('sliding', 'aligned'),
      }),
    },
  );

/** Runs the commands, says how often a window was known and how often not, and replays what was applied. */
function run(tracked: Tracked, commands: readonly Command[], found: { known: number; unknown: number }): void {
  for (const each of commands) {
    if (each.type === 'pass') tracked.now += each.milliseconds;
    else if (each.type === 'tick') tracked.tick();
    else if (each.type === 'add') {
      tracked.add(each.name, each.delta, each.age === undefined ? undefined : tracked.now - each.age);
    } else if (tracked.check(each.name, each.length, each.mode) === OK) found.known++;
    else found.unknown++;
  }
  expect(replay(tracked.kernel.log).stateHash).toBe(tracked.partition.stateHash);
}

describe('A window with gross sums', () => {
  test('has what a list says that decreased the counter, and is known, as long as the clock goes forward', () => {
    const found = { known: 0, unknown: 0 };
    fc.assert(
      fc.property(fc.array(command(forward), { minLength: 1, maxLength: 120, size: 'max' }), (commands) => {
        run(new Tracked(), commands, found);
      }),
      { numRuns: 300 },
    );
    expect(found.unknown).toBe(0);
    expect(found.known).toBeGreaterThan(3_000);
  });

  test('is never another number than the list says, whatever the clock does and however little memory there is', () => {
    const found = { known: 0, unknown: 0 };
    const anyStep = fc.oneof(
      { weight: 3, arbitrary: forward },
      forward.map((milliseconds) => -milliseconds),
    );
    fc.assert(
      fc.property(
        fc.array(command(anyStep), { minLength: 1, maxLength: 120, size: 'max' }),
        fc.constantFrom(16_000_000, 2_000, 1_200, 560, 320, 0),
        (commands, windowBytes) => {
          const tracked = new Tracked(undefined, windowBytes);
          tracked.now += 4 * DAY;
          run(tracked, commands, found);
        },
      ),
      { numRuns: 600 },
    );
    expect(found.known).toBeGreaterThan(2_000);
    expect(found.unknown).toBeGreaterThan(100);
  });

  test('is right where the clock is set back to when a decrease was not too old yet', () => {
    const tracked = new Tracked();
    const begin = tracked.now;
    tracked.add('gross:a', -1n);
    tracked.now = begin + 10 * HOUR;
    tracked.add('gross:a', 5n);
    tracked.now = begin + 26 * HOUR;
    tracked.tick();
    tracked.now = begin + 12 * HOUR;
    expect(tracked.check('gross:a', DAY, 'aligned')).toBe(OK);
  });

  test('is of steps as they were applied: a set counts by what it changed, a refused batch not at all', () => {
    const tracked = new Tracked();
    const { kernel } = tracked;
    kernel.step('gross:a', 9n);
    kernel.set({ key: { name: 'gross:a' }, value: 4n, reason: 'r' });
    kernel.step('gross:a', -5n, { min: 0n });
    const found = windowOf(tracked.partition, 'gross:a', HOUR, tracked.now, 'aligned', true);
    expect(found).toMatchObject({ sum: 4n, decreases: { sum: -5n, oldest: 0n } });
  });

  test('is not tracked where the class keeps none, and the window without them is', () => {
    const tracked = new Tracked();
    tracked.add('day:a', -1n);
    expect(windowOf(tracked.partition, 'day:a', HOUR, tracked.now, 'sliding', true).status).toBe(NOT_TRACKED);
    expect(windowOf(tracked.partition, 'day:a', HOUR, tracked.now, 'sliding').status).toBe(OK);
    const found = windowOf(tracked.partition, 'gross:nobody', HOUR, tracked.now, 'sliding', true);
    expect(found).toMatchObject({ status: OK, sum: 0n, decreases: { sum: 0n, oldest: 0n } });
  });

  test('is asked of at most 5,000 names at a time, of which each answer may be as long as it can', () => {
    const tracked = new Tracked();
    tracked.add('gross:a', -(2n ** 63n));
    tracked.now += MINUTE;
    tracked.add('gross:a', 2n ** 63n - 1n);
    const ask = (names: number, gross: { gross?: true } = { gross: true }) => {
      const keys = new Array(names).fill({ name: 'gross:a' });
      const window = { mode: 'sliding', milliseconds: MINUTE + 1, keys, ...gross } as const;
      return tracked.partition.window(bodyOf(encodeWindow, window), tracked.now);
    };
    expect(ask(5_001)).toBe(ERRORS.TOO_MANY_OPERATIONS.status);
    expect(ask(5_000)).toBe(OK);
    expect(tracked.partition.answer.length).toBeLessThan(0x40000);
    expect(ask(10_000, {})).toBe(OK);
  });
});

describe('The memory of a window', () => {
  const bytes = ({ partition }: Tracked) => partition.statistics.windowBytes;
  /** Something in so many minutes and more, and in a second of each. */
  const fill = (tracked: Tracked, name: string, minutes: number, deltas: readonly bigint[]) => {
    for (let minute = 0; minute < minutes; minute++) {
      for (const delta of deltas) tracked.add(name, delta);
      tracked.now += MINUTE + 7 * SECOND;
    }
    for (const delta of deltas) tracked.add(name, delta);
  };

  test('with full rings of minutes, hours and seconds is at most 700 bytes, and what only grows pays nothing for gross sums', () => {
    const sizes = (pattern: object, deltas: readonly bigint[]) => {
      const tracked = new Tracked([{ pattern: 'a', lateness: 'any', ...pattern }]);
      fill(tracked, 'a', 26 * 60, deltas);
      const full = bytes(tracked);
      tracked.now += 52 * HOUR;
      for (let ticks = 0; ticks < 3; ticks++) tracked.tick();
      expect(tracked.partition.statistics).toMatchObject({ windowBytes: 0, tracks: 0 });
      return full;
    };
    expect(sizes({ windows: '1h' }, [1n])).toBe(288);
    expect(sizes({ windows: '1d' }, [1n])).toBe(480);
    expect(sizes({ windows: '1h', seconds: true }, [1n])).toBe(288 + 192);
    expect(sizes({ windows: '1d', seconds: true }, [1n])).toBe(480 + 192);
    expect(sizes({ windows: '1d', seconds: true, gross: true }, [1n])).toBe(480 + 192);
    // Increases and decreases are two such windows.
    expect(sizes({ windows: '1d', gross: true }, [2n, -1n])).toBe(480 + 512);
    expect(sizes({ windows: '1d', seconds: true, gross: true }, [2n, -1n])).toBe(480 + 512 + 2 * 192);
    expect(480 + 192).toBeLessThanOrEqual(700);
  });

  test('of decreases is given back when they are too old to be asked for, though the counter goes on', () => {
    const tracked = new Tracked();
    fill(tracked, 'gross:a', 5, [3n, -1n]);
    tracked.tick();
    expect(bytes(tracked)).toBe(480 + 512 + 2 * 192);
    tracked.now += 26 * HOUR;
    tracked.add('gross:a', 1n);
    tracked.tick();
    expect(bytes(tracked)).toBe(480 + 192);
    expect(tracked.check('gross:a', DAY, 'sliding')).toBe(OK);
  });

  test('is given back with its counter, and with its class, also where other things are kept', () => {
    const tracked = new Tracked([{ pattern: '*', windows: '1d', seconds: true, gross: true, uniques: 4 }]);
    const see = { sightings: [{ key: { name: 'b' }, item: new Uint8Array([1]) }] };
    tracked.kernel.see(see, 0, undefined, tracked.now);
    for (const name of ['a', 'b']) fill(tracked, name, 5, [3n, -(2n ** 40n)]);
    expect(bytes(tracked)).toBeGreaterThan(2 * (480 + 512));
    tracked.kernel.remove('a');
    classify(tracked.kernel, [{ pattern: '*', uniques: 4 }], tracked.now);
    tracked.tick();
    expect(tracked.partition.statistics).toMatchObject({ windowBytes: 0, tracks: 1 });
  });
});
