import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ERRORS, OK } from '../../src/errors.js';
import { Days } from '../../src/lane/days.js';
import type { CounterClass } from '../../src/partition/classes.js';
import { DUE, Kind } from '../../src/partition/partition.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { Flag } from '../../src/protocol/opcode.js';
import { type Extension, encodeAdd, encodeSet, writeNameKey } from '../../src/protocol/request.js';
import { bodyOf, classify, differences, Kernel, NOBODY, replay } from './fixture.js';

const [ADD, SET, EXPIRE] = [4, 6, 16];
const [NOT_TRACKED, MEMORY_FULL] = [ERRORS.NOT_TRACKED.status, ERRORS.MEMORY_FULL.status];
const HOUR = 3_600_000;
const ZONE = 'Europe/Berlin';
/** Berlin goes over to winter time on 2026-10-25, a day of 25 hours. */
const MIDNIGHT = Date.parse('2026-10-24T22:00:00Z');
const NEXT_MIDNIGHT = Date.parse('2026-10-25T23:00:00Z');

const CLASSES: readonly CounterClass[] = [{ pattern: 'daily:*', rollover: 'daily', zone: ZONE, uniques: 10 }];

/** A kernel behind a host that settles what is due. */
class Host {
  readonly kernel: Kernel;
  readonly #days: Days;

  constructor(now: number, classes = CLASSES, maximumPages = 4_000) {
    this.kernel = new Kernel({ maximumPages });
    this.#days = new Days(classes);
    expect(classify(this.kernel, classes, now)).toBe(OK);
    this.settle(now);
  }

  settle(now: number): void {
    while (this.kernel.partition.hasDue(now)) {
      const { kind, body } = this.#days.settling(this.kernel.partition, now);
      expect(this.kernel.call(kind, 0, NOBODY, now, body)).toBe(OK);
    }
  }

  call(kind: number, now: number, body: Uint8Array, flags = 0): Uint8Array {
    this.settle(now);
    expect(this.kernel.call(kind, flags, NOBODY, now, body)).toBe(OK);
    return this.kernel.partition.answer;
  }

  step(name: string, delta: bigint, now: number, more: Extension = {}): number {
    const [refused = 0, , status = OK] = this.call(
      ADD,
      now,
      bodyOf(encodeAdd, { operations: [{ key: { name }, delta, ...more }] }),
    );
    return refused ? status : OK;
  }

  /** The value as a read shows it. */
  value(name: string, now: number): bigint | undefined {
    this.settle(now);
    return this.kernel.value(name);
  }
}

describe('A counter that rolls over', () => {
  test('goes on from 0 at midnight of its zone, and not a millisecond before, by whatever comes first', () => {
    const host = new Host(MIDNIGHT);
    host.step('daily:a', 5n, MIDNIGHT + 1);
    host.step('other', 5n, MIDNIGHT + 1);
    host.step('daily:a', 2n, NEXT_MIDNIGHT - 1);
    expect(host.kernel.call(ADD, 0, NOBODY, NEXT_MIDNIGHT, Uint8Array.of(0))).toBe(DUE);
    expect(host.value('daily:a', NEXT_MIDNIGHT - 1)).toBe(7n);
    expect(host.value('daily:a', NEXT_MIDNIGHT)).toBe(0n);
    host.step('daily:a', 3n, NEXT_MIDNIGHT);
    expect(host.value('daily:a', NEXT_MIDNIGHT + 24 * HOUR - 1)).toBe(3n);
    expect(host.value('daily:a', NEXT_MIDNIGHT + 24 * HOUR)).toBe(0n);
    expect(host.value('other', NEXT_MIDNIGHT + 24 * HOUR)).toBe(5n);
    expect(host.kernel.partition.statistics.tracks).toBe(0);
  });

  test('forgets with its day what it has seen, not what it has seen by day, nor what counts once', () => {
    const host = new Host(MIDNIGHT, [
      {
        pattern: 'daily:*',
        rollover: 'daily',
        zone: ZONE,
        uniques: 10,
        uniquesWindows: 7,
        once: 48 * HOUR,
        onceItems: 10,
      },
    ]);
    const { kernel } = host;
    const key = { name: 'daily:a' };
    const see = { sightings: [{ key, item: Uint8Array.of(1) }] };
    const count = { operations: [{ key, item: Uint8Array.of(1) }] };
    const noon = MIDNIGHT + 12 * HOUR;
    host.settle(noon);
    kernel.see(see, 0, NOBODY, noon);
    expect(kernel.once(count, Flag.VALUES, NOBODY, noon).answer).toMatchObject({ counted: [true], values: [1n] });
    const next = NEXT_MIDNIGHT + HOUR;
    host.settle(next);
    expect(kernel.once(count, Flag.VALUES, NOBODY, next).answer).toMatchObject({ counted: [false], values: [0n] });
    expect(kernel.uniques('each', [key]).answer?.counts[0]?.count).toBe(0);
    expect(kernel.uniques('each', [key], { unit: 'days', length: 2 }, next).answer?.counts[0]?.count).toBe(1);
    host.settle(next + 1);
    const other = { operations: [{ key, item: Uint8Array.of(2) }] };
    expect(kernel.once(other, Flag.VALUES, NOBODY, next + 1).answer).toMatchObject({ counted: [true], values: [1n] });
    expect(host.value('daily:a', NEXT_MIDNIGHT + 25 * HOUR)).toBe(0n);
    expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
  });

  test('after days without a server has the value of the day that is', () => {
    const host = new Host(MIDNIGHT);
    host.step('daily:a', 5n, MIDNIGHT + HOUR);
    host.step('daily:a', 1n, MIDNIGHT + 10 * 24 * HOUR);
    expect(host.value('daily:a', MIDNIGHT + 10 * 24 * HOUR)).toBe(1n);
  });

  test('does not count an increment of a day that is over in its value, which stands', () => {
    const host = new Host(MIDNIGHT);
    host.step('daily:a', 5n, MIDNIGHT + HOUR);
    const late = { time: MIDNIGHT - 1 };
    const add = { operations: [{ key: { name: 'daily:a' }, delta: 9n, ...late }] };
    host.call(ADD, MIDNIGHT + HOUR, bodyOf(encodeAdd, add), Flag.VALUES);
    expect(host.value('daily:a', MIDNIGHT + HOUR)).toBe(5n);
    expect(host.step('daily:b', 9n, MIDNIGHT + HOUR, { ...late, max: 0n })).toBe(OK);
    expect(host.value('daily:b', MIDNIGHT + HOUR)).toBe(0n);
    const atomic = [
      ...add.operations,
      { key: { name: 'daily:a' }, delta: 1n },
      { key: { name: 'daily:a' }, delta: 1n, max: 0n },
    ];
    host.call(ADD, MIDNIGHT + HOUR, bodyOf(encodeAdd, { operations: atomic }), Flag.ATOMIC);
    expect(host.value('daily:a', MIDNIGHT + HOUR)).toBe(5n);
  });

  test('is set as any other, forgets what it has seen at midnight, and takes no other end', () => {
    const host = new Host(MIDNIGHT);
    host.call(SET, MIDNIGHT, bodyOf(encodeSet, { key: { name: 'daily:a' }, value: 40n, reason: 'r' }));
    host.kernel.see({ sightings: [{ key: { name: 'daily:a' }, item: Uint8Array.of(1) }] }, 0, NOBODY, MIDNIGHT);
    expect(host.kernel.uniques('each', [{ name: 'daily:a' }]).answer?.counts[0]?.count).toBe(1);
    const expire = new ByteWriter();
    writeNameKey(expire, 'daily:a');
    expire.u8(2);
    expire.varint(5);
    expect(host.call(EXPIRE, MIDNIGHT, expire.copy())[0]).toBe(NOT_TRACKED);
    expect(host.step('daily:a', 1n, MIDNIGHT, { expiry: { in: 9 } })).toBe(NOT_TRACKED);
    expect(host.value('daily:a', NEXT_MIDNIGHT)).toBe(0n);
    expect(host.kernel.uniques('each', [{ name: 'daily:a' }]).answer?.counts[0]?.count).toBe(0);
  });

  test('begins with the class, also where it was there before, and rolls over no more when the class has no days', () => {
    const host = new Host(MIDNIGHT, []);
    host.step('daily:a', 5n, MIDNIGHT);
    const rolling = (classes: readonly CounterClass[], now: number) => {
      const days = new Days(classes);
      host.settle(now);
      expect(classify(host.kernel, classes, now)).toBe(OK);
      while (host.kernel.partition.isClassifying) {
        const { kind, body } = days.settling(host.kernel.partition, now);
        expect(host.kernel.call(kind, 0, NOBODY, now, body)).toBe(OK);
      }
    };
    rolling(CLASSES, MIDNIGHT + HOUR);
    expect(host.value('daily:a', MIDNIGHT + 2 * HOUR)).toBe(5n);
    rolling([], MIDNIGHT + 3 * HOUR);
    expect(host.value('daily:a', NEXT_MIDNIGHT + HOUR)).toBe(5n);
    expect(host.kernel.partition.statistics.tracks).toBe(0);
  });

  test('whose zone was changed rolls over at the midnight of the new one, from its next change on', () => {
    const host = new Host(MIDNIGHT);
    host.step('daily:a', 5n, MIDNIGHT);
    const later = new Days(CLASSES.map((rule) => ({ ...rule, zone: 'America/New_York' })));
    const body = later.change(host.kernel.partition, MIDNIGHT);
    expect(host.kernel.call(Kind.DAYS, 0, NOBODY, MIDNIGHT, body as Uint8Array)).toBe(OK);
    host.step('daily:a', 1n, MIDNIGHT + 4 * HOUR - 1);
    expect(host.value('daily:a', MIDNIGHT + 6 * HOUR - 1)).toBe(6n);
    expect(host.value('daily:a', MIDNIGHT + 6 * HOUR)).toBe(0n);
  });

  test('is refused where there is no memory for its place, whatever would change it, and then nothing is changed', () => {
    const host = new Host(MIDNIGHT, CLASSES, 140);
    host.kernel.watched = false;
    let full = 0;
    for (let i = 0; full === 0 && i < 200_000; i += 100) {
      const operations = Array.from({ length: 100 }, (_, k) => ({ key: { name: `daily:${i + k}` }, delta: 1n }));
      full = host.kernel.add({ operations }, 0, NOBODY, MIDNIGHT).answer?.refused[0]?.status ?? 0;
    }
    expect(full).toBe(MEMORY_FULL);
    const { counters, tracks } = host.kernel.partition.statistics;
    expect(tracks).toBe(counters);
    const set = host.call(SET, MIDNIGHT, bodyOf(encodeSet, { key: { name: 'daily:x' }, value: 1n, reason: 'r' }));
    expect(set[0]).toBe(MEMORY_FULL);
    for (const flags of [0, Flag.ATOMIC]) {
      const operations = [{ key: { name: 'daily:x' }, delta: 1n }];
      expect(host.kernel.add({ operations }, flags, NOBODY, MIDNIGHT).answer?.refused[0]?.status).toBe(MEMORY_FULL);
    }
    expect(host.kernel.value('daily:x')).toBeUndefined();
    expect(host.kernel.partition.statistics.counters).toBe(counters);
    expect(host.value('daily:0', NEXT_MIDNIGHT)).toBe(0n);
    expect(host.kernel.partition.statistics.tracks).toBe(0);
  });

  test('has what its day counted, under clocks that step days back and forward, and replays byte for byte', () => {
    const step = fc.record({
      name: fc.integer({ min: 0, max: 20 }).map((i) => (i % 3 ? `daily:${i}` : `other:${i}`)),
      delta: fc.bigInt(-5n, 9n),
      kind: fc.constantFrom('add', 'add', 'add', 'set', 'batch', 'late'),
      clock: fc.oneof(
        { weight: 20, arbitrary: fc.integer({ min: 0, max: 5 * HOUR }) },
        fc.constantFrom(-24 * HOUR, 24 * HOUR, 60 * HOUR, -500),
      ),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 120, size: 'max' }), (steps) => {
        let now = MIDNIGHT + 7 * HOUR;
        const host = new Host(now);
        const days = new Days(CLASSES);
        let day = days.dayOf(1, now);
        const model = new Map<string, { value: bigint; ends: number }>();
        for (const { name, delta, kind, clock } of steps) {
          now += clock;
          if (now >= day.end) day = days.dayOf(1, now);
          for (const [key, { ends }] of model) if (ends <= now) model.set(key, { value: 0n, ends: Infinity });
          const isDaily = name.startsWith('daily');
          const value = model.get(name)?.value ?? 0n;
          const operation = { key: { name }, delta };
          let next = value + delta;
          if (kind === 'set') {
            host.call(SET, now, bodyOf(encodeSet, { key: { name }, value: delta, reason: 'r' }));
            next = delta;
          } else if (kind === 'batch') {
            host.call(ADD, now, bodyOf(encodeAdd, { operations: [operation, operation] }), Flag.ATOMIC);
            next += delta;
          } else if (kind === 'late') {
            expect(host.step(name, delta, now, { time: day.begin - 1 })).toBe(OK);
            if (isDaily) next = value;
          } else expect(host.step(name, delta, now)).toBe(OK);
          model.set(name, { value: next, ends: isDaily ? day.end : Infinity });
          const names = [...model.keys()];
          expect(host.kernel.get(names.map((key) => ({ name: key }))).answer?.map((found) => found.value)).toEqual(
            names.map((key) => model.get(key)?.value),
          );
        }
        expect(differences(replay(host.kernel.log).state, host.kernel.partition.state)).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});
