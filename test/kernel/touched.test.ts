import { describe, expect, test } from 'vitest';
import { OK } from '../../src/errors.js';
import { DUE, Kind } from '../../src/partition/partition.js';
import { Watch } from '../../src/partition/touched.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { encodeAdd } from '../../src/protocol/request.js';
import { Random } from '../support/random.js';
import { anyBody, CLASSES, EXPIRE, expire, NAMES } from './any-body.js';
import { bodyOf, classify, Kernel, NOBODY, START } from './fixture.js';

/** What a kernel that is watched tells of the counters that a body touches. */

/** What a body tells of each counter: the first value before the body, and whether it is gone. */
function toldOf({ partition }: Kernel): Map<string, { before: bigint | undefined; gone: boolean }> {
  const { touched } = partition;
  const told = new Map<string, { before: bigint | undefined; gone: boolean }>();
  for (let i = 0; i < touched.count; i++) {
    const slot = touched.slot(i);
    const gone = touched.gone(i);
    const before = touched.before(i);
    expect(touched.existed(i)).toBe(before !== undefined);
    if (slot === undefined) continue;
    const name = gone ?? partition.nameOfSlot(slot);
    if (name !== undefined && !told.has(name)) told.set(name, { before, gone: gone !== undefined });
  }
  return told;
}

/** The names of what is marked. */
function markedOf({ partition }: Kernel): Set<string | undefined> {
  const bits = [...partition.marks.words].flatMap((word, at) =>
    Array.from({ length: 32 }, (_, bit) => ((word >>> bit) & 1 ? at * 32 + bit : -1)),
  );
  return new Set(bits.filter((slot) => slot >= 0).map((slot) => partition.nameOfSlot(slot)));
}

describe('A kernel that is watched', () => {
  test.each([
    ['with entries', Watch.ENTRIES],
    ['with marks', Watch.MARKS],
  ])(
    'tells each counter that a body changes %s, with its value before it, and keeps the memory of one that is not',
    (_, how) => {
      const random = new Random(11);
      const kinds = new Set<number>();
      let marked = 0;
      for (let run = 0; run < 30; run++) {
        const [watched, other] = [new Kernel(), new Kernel()];
        for (const kernel of [watched, other]) kernel.watched = false; // their memories are compared in the end
        for (const kernel of [watched, other]) classify(kernel, CLASSES);
        watched.partition.watch(how);
        /** Whether it had a value by then. */
        const entered = new Map<string, boolean>();
        for (let i = 0, now = START; i < 150; i++, now += random.below(20)) {
          if (random.oneIn(5)) {
            watched.partition.watch(how);
            entered.clear();
          }
          const ids = [0, 1, 2, 3].map((slot) => ({ slot, generation: random.below(3) }));
          const [kind, flags, body] = anyBody(random, ids);
          for (let status = DUE; status === DUE; ) {
            const before = new Map(NAMES.map((name) => [name, watched.value(name)]));
            status = watched.call(kind, flags, NOBODY, now, body);
            expect(other.call(kind, flags, NOBODY, now, body)).toBe(status);
            const told = toldOf(watched);
            const marks = markedOf(watched);
            expect(watched.partition.marks.any || marks.size === 0).toBe(true);
            for (const name of NAMES) {
              const [was, after, entry] = [before.get(name), watched.value(name), told.get(name)];
              if (was !== after) {
                kinds.add(status === OK ? kind : -1);
                // a host that had an entry of a counter without a value knows it from then on
                const isOld = entered.has(name) || (was !== undefined && after !== undefined);
                const isKnown = how === Watch.MARKS ? isOld && marks.has(name) : entered.has(name);
                expect([name, entry !== undefined || isKnown]).toEqual([name, true]);
                if (!entry) marked++;
              }
              if (!entry) continue;
              expect(entry).toEqual({ before: was, gone: entry.gone && after === undefined });
              const isRepeated =
                !entry.gone && was !== undefined && (entered.get(name) === true || how === Watch.MARKS);
              expect([name, isRepeated]).toEqual([name, false]);
              if (entry.gone) entered.delete(name);
              else entered.set(name, was !== undefined);
            }
            if (status === DUE) for (const kernel of [watched, other]) tickAt(kernel, now);
          }
          expect(toldOf(other).size).toBe(0);
        }
        expect(watched.partition.stateHash).toBe(other.partition.stateHash);
      }
      expect(marked).toBeGreaterThan(100);
      expect([...kinds].sort((a, b) => a - b)).toEqual([
        Opcode.ADD,
        Opcode.SET,
        Opcode.DELETE,
        Opcode.SEE,
        Opcode.MERGE,
        EXPIRE,
        Opcode.ONCE,
        Kind.TICK,
      ]);
    },
  );

  test('tells those beyond the ones that it has a bit for each time', () => {
    const kernel = new Kernel();
    const first = (0x110000 - 0x101000) * 8 - 1;
    const add = (names: readonly string[]) =>
      kernel.call(
        Opcode.ADD,
        0,
        NOBODY,
        START,
        bodyOf(encodeAdd, { operations: names.map((name) => ({ key: { name }, delta: 1n })) }),
      );
    const named = Array.from({ length: first + 2 }, (_, slot) => `c${slot}`);
    for (let from = 0; from < named.length; from += 10_000) expect(add(named.slice(from, from + 10_000))).toBe(OK);
    kernel.partition.watch(Watch.ENTRIES);
    const slotsTold = () => {
      add(named.slice(first));
      const { touched } = kernel.partition;
      return Array.from({ length: touched.count }, (_, i) => touched.slot(i));
    };
    expect([slotsTold(), slotsTold(), slotsTold()]).toEqual([[first, first + 1], [first + 1], [first + 1]]);
    kernel.partition.watch(Watch.ENTRIES);
    expect(slotsTold()).toEqual([first, first + 1]);
  });

  test('says where a tick ends more counters than it can name', () => {
    const kernel = new Kernel();
    kernel.watched = false;
    kernel.partition.watch(Watch.ENTRIES);
    const names = Array.from({ length: 200 }, (_, i) => `${i}`.padStart(1_000, '-'));
    for (const name of names) {
      kernel.call(Opcode.ADD, 0, NOBODY, START, bodyOf(encodeAdd, { operations: [{ key: { name }, delta: 5n }] }));
      kernel.call(EXPIRE, 0, NOBODY, START, expire(name, 10));
    }
    expect(kernel.partition.touched.isCutOff).toBe(false);
    tickAt(kernel, START + 10);
    const { touched } = kernel.partition;
    expect(touched.isCutOff).toBe(true);
    expect(touched.count).toBe(98);
    expect([touched.gone(0), touched.before(0)]).toEqual([names[0], 5n]);
    expect(kernel.partition.statistics.counters).toBe(0);
  });
});

function tickAt(kernel: Kernel, milliseconds: number): void {
  expect(kernel.call(Kind.TICK, 0, NOBODY, milliseconds, new Uint8Array(0))).toBe(OK);
}
