import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ERRORS, OK } from '../../src/errors.js';
import type { WindowMode } from '../../src/protocol/window.js';
import { classify, replay } from './fixture.js';
import { HOUR, MINUTE, SECOND, Tracked, windowOf } from './tracked.js';

const NOT_TRACKED = ERRORS.NOT_TRACKED.status;
/** How far the time of an increment may lie ahead of the server's, and a window of a minute still be known. */
const AHEAD = 31 * SECOND;
const NAME = 'second:a';

type Command =
  | { readonly type: 'add'; readonly delta: bigint; readonly age: number | undefined }
  | { readonly type: 'pass'; readonly milliseconds: number }
  | { readonly type: 'tick' }
  | { readonly type: 'window'; readonly length: number; readonly mode: WindowMode };

const delta = fc.oneof(
  { weight: 8, arbitrary: fc.bigInt(-5n, 100n) },
  { weight: 2, arbitrary: fc.bigInt(-40_000n, 40_000n) },
  fc.bigInt(-(2n ** 33n), 2n ** 33n),
);

const command = (pass: fc.Arbitrary<number>, age: fc.Arbitrary<number | undefined>): fc.Arbitrary<Command> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ type: fc.constant('add' as const), delta, age }) },
    { weight: 4, arbitrary: fc.record({ type: fc.constant('pass' as const), milliseconds: pass }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('tick' as const) }) },
    {
      weight: 5,
      arbitrary: fc.record({
        type: fc.constant('window' as const),
        length: fc.constantFrom(1, SECOND, 2_500, 10 * SECOND, 59 * SECOND, MINUTE),
        mode: fc.constantFrom<WindowMode>('sliding', 'aligned'),
      }),
    },
  );

const forward = fc.oneof(
  { weight: 4, arbitrary: fc.nat(3 * SECOND) },
  fc.nat(MINUTE),
  fc.nat(3 * MINUTE),
  fc.nat(HOUR),
);
const age = fc.option(fc.oneof(fc.nat(2 * SECOND), fc.integer({ min: -AHEAD, max: 2 * MINUTE }), fc.nat(3 * HOUR)), {
  nil: undefined,
  freq: 2,
});

/** Runs the commands, says how often a window was known and how often not, and replays what was applied. */
function run(
  tracked: Tracked,
  commands: readonly Command[],
  name = NAME,
): { readonly known: number; readonly unknown: number } {
  const found = { known: 0, unknown: 0 };
  for (const each of commands) {
    if (each.type === 'pass') tracked.now += each.milliseconds;
    else if (each.type === 'tick') tracked.tick();
    else if (each.type === 'add')
      tracked.add(name, each.delta, each.age === undefined ? undefined : tracked.now - each.age);
    else found[tracked.check(name, each.length, each.mode) === OK ? 'known' : 'unknown']++;
  }
  expect(replay(tracked.kernel.log).stateHash).toBe(tracked.partition.stateHash);
  return found;
}

const total = (runs: readonly { readonly known: number; readonly unknown: number }[]) => ({
  known: runs.reduce((sum, { known }) => sum + known, 0),
  unknown: runs.reduce((sum, { unknown }) => sum + unknown, 0),
});

describe('A window of seconds', () => {
  test('is what a list of changes says, and is known, as long as the clock goes forward', () => {
    const runs: ReturnType<typeof run>[] = [];
    fc.assert(
      fc.property(fc.array(command(forward, age), { minLength: 1, maxLength: 120, size: 'max' }), (commands) => {
        runs.push(run(new Tracked(), commands));
      }),
      { numRuns: 400 },
    );
    expect(total(runs).unknown).toBe(0);
    expect(total(runs).known).toBeGreaterThan(4_000);
  });

  test('is never another number than the list says, whatever the clock does and however little memory there is', () => {
    const runs: ReturnType<typeof run>[] = [];
    const anyStep = fc.oneof(
      { weight: 3, arbitrary: forward },
      forward.map((milliseconds) => -milliseconds),
      fc.constantFrom(-24 * HOUR, 24 * HOUR),
    );
    const anyAge = fc.oneof(age, fc.integer({ min: -MINUTE, max: 0 }));
    fc.assert(
      fc.property(
        fc.array(command(anyStep, anyAge), { minLength: 1, maxLength: 120, size: 'max' }),
        fc.constantFrom(16_000_000, 240, 432, 816, 0),
        (commands, windowBytes) => {
          const tracked = new Tracked(undefined, windowBytes);
          tracked.now += 96 * HOUR;
          runs.push(run(tracked, commands));
        },
      ),
      { numRuns: 800 },
    );
    expect(total(runs).known).toBeGreaterThan(3_000);
    expect(total(runs).unknown).toBeGreaterThan(100);
  });

  test('is told in minutes where it is longer, or the class keeps no seconds', () => {
    const tracked = new Tracked();
    tracked.add(NAME, 1n);
    tracked.add('day:a', 1n);
    const bucket = (name: string, length: number) => windowOf(tracked.partition, name, length, tracked.now);
    expect(bucket(NAME, MINUTE)).toMatchObject({ bucket: SECOND });
    expect(bucket(NAME, MINUTE + 1)).toMatchObject({ bucket: MINUTE });
    expect(bucket('day:a', SECOND)).toMatchObject({ bucket: MINUTE });
  });

  test('counts a late increment in its second; one that is older than the seconds kept counts in its minute alone', () => {
    const tracked = new Tracked();
    tracked.add(NAME, 1n);
    tracked.add(NAME, 20n, tracked.now - 45 * SECOND);
    tracked.add(NAME, 300n, tracked.now - 92 * SECOND);
    const sum = (length: number) => windowOf(tracked.partition, NAME, length, tracked.now, 'aligned').sum;
    expect([sum(45 * SECOND), sum(46 * SECOND), sum(3 * MINUTE)]).toEqual([1n, 21n, 321n]);
  });

  test('holds any number that a counter can change by in a second, and is not known where that leaves 64 bits', () => {
    const tracked = new Tracked();
    for (const delta of [1n, 32_766n, 1n, 2n ** 31n, -(2n ** 40n), 2n ** 62n, 2n ** 40n]) {
      tracked.add(NAME, delta);
      expect(tracked.check(NAME, MINUTE, 'sliding')).toBe(OK);
      tracked.now += SECOND;
    }
    for (let i = 0; i < 3; i++) expect(tracked.add(NAME, -(2n ** 62n))).toBe(OK);
    expect(tracked.check(NAME, MINUTE, 'sliding')).toBe(NOT_TRACKED);
    tracked.now += 3 * MINUTE;
    expect(tracked.check(NAME, MINUTE, 'sliding')).toBe(OK);
  });

  test('is not known of what was before its class', () => {
    const tracked = new Tracked([{ pattern: 'second:*', windows: '1d' }]);
    tracked.add(NAME, 5n);
    tracked.now += SECOND;
    classify(tracked.kernel, [{ pattern: 'second:*', windows: '1d', seconds: true }], tracked.now);
    while (tracked.partition.isClassifying) tracked.tick();
    tracked.add(NAME, 1n);
    expect(windowOf(tracked.partition, NAME, SECOND, tracked.now).status).toBe(NOT_TRACKED);
    tracked.now += MINUTE;
    expect(windowOf(tracked.partition, NAME, SECOND, tracked.now).status).toBe(OK);
  });
});

describe('The memory of seconds', () => {
  const bytes = ({ partition }: Tracked) => partition.statistics.windowBytes;

  test('is 192 bytes, more where a second changes by more, and none a minute after the last change', () => {
    const tracked = new Tracked();
    tracked.add(NAME, 1n);
    expect(bytes(tracked)).toBe(48 + 192);
    tracked.add(NAME, 32_767n);
    expect(bytes(tracked)).toBe(48 + 384);
    tracked.add(NAME, 2n ** 31n);
    expect(bytes(tracked)).toBe(48 + 768);
    tracked.now += 2 * MINUTE;
    tracked.tick();
    expect(bytes(tracked)).toBe(48);
    tracked.now += 26 * HOUR;
    tracked.tick();
    expect(tracked.partition.statistics).toMatchObject({ windowBytes: 0, tracks: 0 });
  });

  test('is given back with a counter, also one of which other things are kept', () => {
    const tracked = new Tracked([{ pattern: '*', windows: '1h', seconds: true, uniques: 4, ttl: 4 * HOUR }]);
    tracked.add('a', 1n);
    tracked.kernel.see({ sightings: [{ key: { name: 'a' }, item: new Uint8Array([1]) }] }, 0, undefined, tracked.now);
    tracked.add('b', 1n);
    expect(bytes(tracked)).toBe(2 * (48 + 192));
    tracked.kernel.remove('b');
    expect(bytes(tracked)).toBe(48 + 192);
    classify(tracked.kernel, [{ pattern: '*', uniques: 4 }], tracked.now);
    tracked.tick();
    expect(bytes(tracked)).toBe(0);
    expect(tracked.partition.statistics.tracks).toBe(1);
  });

  test('that is not there leaves the minutes as they are, and later seconds say nothing of those before', () => {
    const tracked = new Tracked(undefined, 2 * 48 + 192);
    tracked.add('second:b', 1n);
    tracked.add(NAME, 1n);
    tracked.now += SECOND;
    expect(tracked.check('second:b', MINUTE, 'sliding')).toBe(OK);
    expect(tracked.check(NAME, MINUTE, 'sliding')).toBe(NOT_TRACKED);
    expect(tracked.check(NAME, 2 * MINUTE, 'sliding')).toBe(OK);
    tracked.kernel.remove('second:b');
    tracked.add(NAME, 1n);
    expect(bytes(tracked)).toBe(48 + 192);
    expect(tracked.check(NAME, MINUTE, 'sliding')).toBe(NOT_TRACKED);
    tracked.now += 2 * MINUTE;
    expect(tracked.check(NAME, MINUTE, 'sliding')).toBe(OK);
  });
});
