import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ABSENT, ERRORS, OK } from '../../src/errors.js';
import { encodeUtf8 } from '../../src/protocol/bytes.js';
import { Flag } from '../../src/protocol/opcode.js';
import type { UniqueItems } from '../../src/protocol/sketch.js';
import { countUnion, SKETCH_BYTES } from '../../src/protocol/sketch.js';
import type { Seen } from '../../src/protocol/uniques.js';
import { type configuration, differences, idOf, Kernel, replay } from './fixture.js';

const full = ERRORS.MEMORY_FULL.status;
const PAGE = 65_536;

/** A kernel that keeps uniques of all names, exactly up to a threshold, or of those that begin with `exact`: 10,000,000. */
function kernelOf(threshold: number, wanted: Partial<typeof configuration> = {}): Kernel {
  const kernel = new Kernel(wanted);
  kernel.classify([
    { pattern: 'exact*', uniques: 10_000_000 },
    { pattern: 'plain*' },
    { pattern: '*', uniques: threshold },
  ]);
  kernel.watched = false;
  return kernel;
}

const itemOf = (number: number) => encodeUtf8(`item ${number}`);

/** Sees the items with these numbers under a name. */
function see(kernel: Kernel, name: string, numbers: Iterable<number>): Seen[] {
  const seen: Seen[] = [];
  const all = [...numbers];
  for (let i = 0; i < all.length; i += 10_000) {
    const key = { name };
    const sightings = all.slice(i, i + 10_000).map((number) => ({ key, item: itemOf(number) }));
    const { status, answer } = kernel.see({ sightings }, Flag.VALUES);
    expect([status, answer?.refused]).toEqual([OK, []]);
    seen.push(...(answer?.seen ?? []));
  }
  return seen;
}

function* range(from: number, to: number): Generator<number> {
  for (let number = from; number < to; number++) yield number;
}

const countOf = (kernel: Kernel, name: string) => kernel.uniques('each', [{ name }]).answer?.counts[0];
const unionOf = (kernel: Kernel, names: readonly string[]) =>
  kernel.uniques(
    'union',
    names.map((name) => ({ name })),
  ).answer?.counts[0];
const sketchOf = (kernel: Kernel, names: readonly string[]) =>
  kernel.uniques(
    'sketch',
    names.map((name) => ({ name })),
  ).answer?.sketch as UniqueItems;
/** Hashes in the order of a set, so that two of the same items are equal. */
function canonical({ hashes, registers }: UniqueItems): unknown {
  return registers ?? [...hashes].sort();
}

describe('Items up to the threshold', () => {
  test('are counted exactly, and each is told new once', () => {
    const numbers = fc.array(fc.nat(400), { maxLength: 300, size: 'max' });
    const sightings = fc.array(fc.record({ name: fc.constantFrom('a', 'b', 'c'), numbers }), { maxLength: 8 });
    fc.assert(
      fc.property(sightings, (batches) => {
        const kernel = kernelOf(1000);
        const model = new Map<string, Set<number>>();
        for (const { name, numbers } of batches) {
          const known = model.get(name) ?? new Set();
          model.set(name, known);
          const expected = numbers.map((number) => {
            const isNew = !known.has(number);
            known.add(number);
            return { isNew, exact: true };
          });
          expect(see(kernel, name, numbers)).toEqual(expected);
        }
        for (const [name, items] of model) {
          if (items.size) expect(countOf(kernel, name)).toEqual({ status: OK, exact: true, count: items.size });
        }
        const union = new Set([...model.values()].flatMap((items) => [...items]));
        expect(unionOf(kernel, [...model.keys()])).toEqual({ status: OK, exact: true, count: union.size });
      }),
      { numRuns: 60 },
    );
  });

  test('are counted exactly through every form and size, up to 200,000', () => {
    const kernel = kernelOf(0);
    for (const to of [1, 2, 10, 11, 1535, 1536, 1537, 1548, 1549, 1600, 16_383, 16_384, 16_385, 60_000, 200_000]) {
      expect(see(kernel, 'exact', range(0, to)).filter(({ isNew }) => isNew).length).toBe(to - (sizes.at(-1) ?? 0));
      sizes.push(to);
      expect(countOf(kernel, 'exact')).toEqual({ status: OK, exact: true, count: to });
    }
    expect(see(kernel, 'exact', range(0, 200_000)).some(({ isNew }) => isNew)).toBe(false);
  });
  const sizes: number[] = [];

  test('may be of any bytes, 1 to 1,024 of them', () => {
    const kernel = kernelOf(10);
    const key = { name: 'n' };
    const items = [Uint8Array.of(0), Uint8Array.of(0, 0), new Uint8Array(1024), Uint8Array.of(255), Uint8Array.of(0)];
    const { answer } = kernel.see({ sightings: items.map((item) => ({ key, item })) }, Flag.VALUES);
    expect(answer?.seen.map(({ isNew }) => isNew)).toEqual([true, true, true, true, false]);
  });
});

describe('At its seams', () => {
  test.each([0, 1, 3, 256, 1536, 1537, 20_000])('a threshold of %i is where an estimate begins', (threshold) => {
    const kernel = kernelOf(threshold);
    see(kernel, 'n', range(0, threshold));
    if (threshold) expect(countOf(kernel, 'n')).toEqual({ status: OK, exact: true, count: threshold });
    expect(see(kernel, 'n', range(0, threshold)).some(({ isNew, exact }) => isNew || !exact)).toBe(false);
    // the item that makes it an estimate is the last of which it is certain that it is new
    expect(see(kernel, 'n', [threshold, threshold, 0])).toEqual([
      { isNew: true, exact: true },
      { isNew: false, exact: false },
      { isNew: false, exact: false },
    ]);
    const after = countOf(kernel, 'n');
    expect(after?.exact).toBe(false);
    expect(Math.abs((after?.count ?? 0) - threshold - 1)).toBeLessThanOrEqual(2 + threshold * 0.03);
  });

  test('a set that was exact first has the registers of one that was a sketch from the start', () => {
    for (const count of [1, 255, 257, 1000, 1536, 1700, 5000, 17_000, 40_000]) {
      const kernels = [0, 1, 100, 256, 1000, 1536, 2000, 16_384, 39_999].map((threshold) => {
        const kernel = kernelOf(threshold);
        see(kernel, 'n', range(0, count));
        return kernel;
      });
      const registers = kernels.map((kernel) => sketchOf(kernel, ['n'])).flatMap(({ registers }) => registers ?? []);
      for (const other of registers) expect(differences(registers[0] as Uint8Array, other)).toEqual([]);
      const estimates = kernels.flatMap((kernel) => countOf(kernel, 'n') ?? []).filter(({ exact }) => !exact);
      expect(new Set(estimates.map(({ count }) => count)).size).toBeLessThanOrEqual(1);
    }
  });

  test('sparse and dense sketches and the model in TypeScript give the same estimate', () => {
    const empty = { registers: new Uint8Array(SKETCH_BYTES) };
    for (const threshold of [0, 256]) {
      const kernel = kernelOf(threshold);
      let seen = 0;
      for (const to of [300, 1000, 1500, 1537, 1600, 1620, 3000, 30_000, 300_000]) {
        see(kernel, 'n', range(seen, to));
        seen = to;
        const sketch = sketchOf(kernel, ['n']);
        expect(countOf(kernel, 'n')).toEqual({ status: OK, ...countUnion([sketch]) });
        // the model comes from the hashes alone, as far as answers have them
        see(kernel, 'exact', range(0, to));
        const { hashes } = sketchOf(kernel, ['exact']);
        expect(hashes?.length).toBe(to > 16_384 ? undefined : to);
        if (hashes) expect(countUnion([{ hashes }, empty])).toEqual(countUnion([sketch]));
      }
    }
  });
});

describe('A union', () => {
  test('commutes, associates and is idempotent, bit for bit, and changes nothing', () => {
    const sizes = fc.constantFrom(0, 1, 9, 255, 256, 257, 1000, 1600, 17_000);
    const part = fc.record({ threshold: fc.constantFrom('exact', 'n'), from: fc.nat(3000), size: sizes });
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), fc.nat(), (parts, seed) => {
        const kernel = kernelOf(256);
        const items = new Set<number>();
        const names = parts.map(({ threshold, from, size }, i) => {
          const name = `${threshold}${i}`;
          see(kernel, name, range(from, from + size));
          for (let item = from; item < from + size; item++) items.add(item);
          return name;
        });
        const before = kernel.partition.stateHash;
        const union = canonical(sketchOf(kernel, names));
        const shuffled = [...names].sort((a, b) => (a + seed < b + seed ? 1 : -1)).reverse();
        expect(canonical(sketchOf(kernel, [...shuffled, ...names]))).toEqual(union);
        const halves = [names.slice(0, 2), names.slice(2)].map((half) => sketchOf(kernel, half));
        expect(countUnion([...halves, ...halves].reverse())).toEqual(countUnion(halves));
        const { count = 0, exact } = unionOf(kernel, names) ?? {};
        if (!exact || countUnion(halves).exact) expect({ count, exact }).toEqual(countUnion(halves));
        if (exact) expect(count).toBe(items.size);
        else expect(Math.abs(count - items.size) / items.size).toBeLessThan(0.06);
        expect(kernel.partition.stateHash).toBe(before);
      }),
      { numRuns: 60 },
    );
  });

  test('of large exact sets and small ones is exact while few lookups tell it, and else an estimate', () => {
    const kernel = kernelOf(256);
    see(kernel, 'exact large', range(0, 100_000));
    see(kernel, 'exact small', range(99_000, 101_000));
    see(kernel, 'exact other', range(50_000, 150_000));
    expect(unionOf(kernel, ['exact small', 'exact large'])).toEqual({ status: OK, exact: true, count: 101_000 });
    const { count = 0, exact } = unionOf(kernel, ['exact small', 'exact large', 'exact other']) ?? {};
    expect(exact).toBe(false);
    expect(Math.abs(count - 150_000) / 150_000).toBeLessThan(0.04);
  });

  test('takes absent names as empty, and is refused where one keeps no uniques', () => {
    const kernel = kernelOf(256);
    see(kernel, 'n', [1, 2]);
    expect(unionOf(kernel, ['n', 'absent'])).toEqual({ status: OK, exact: true, count: 2 });
    expect(unionOf(kernel, ['n', 'plain'])?.status).toBe(ERRORS.NOT_TRACKED.status);
    expect(sketchOf(kernel, ['plain', 'n'])).toEqual({ status: ERRORS.NOT_TRACKED.status });
    expect(
      kernel
        .uniques('each', [{ name: 'plain' }, { name: 'absent' }, { slot: 99, generation: 0 }])
        .answer?.counts.map(({ status }) => status),
    ).toEqual([ERRORS.NOT_TRACKED.status, ABSENT, ERRORS.ID_UNKNOWN.status]);
    expect(
      kernel.uniques(
        'each',
        Array.from({ length: 257 }, () => ({ name: 'n' })),
      ).status,
    ).toBe(ERRORS.TOO_MANY_OPERATIONS.status);
  });
});

describe('A sighting', () => {
  test('is refused under a name whose class keeps no uniques, and the others go on', () => {
    const kernel = kernelOf(256);
    kernel.step('plain old', 1n);
    const sightings = ['plain old', 'n', 'plain new', 'n'].map((name) => ({ key: { name }, item: itemOf(1) }));
    const { answer } = kernel.see({ sightings }, Flag.VALUES);
    const status = ERRORS.NOT_TRACKED.status;
    expect(answer?.refused).toEqual([
      { index: 0, status },
      { index: 2, status },
    ]);
    expect(answer?.seen.map(({ isNew }) => isNew)).toEqual([false, true, false, false]);
    expect(kernel.value('plain new')).toBeUndefined();
    expect(kernel.value('n')).toBe(0n);
    expect(kernel.partition.statistics.names).toBe(2);
  });

  test('under a sequence is applied once, and its repeat gets the first answer', () => {
    const kernel = kernelOf(256);
    const session = kernel.openProducer(idOf(1)).answer;
    const request = { sequence: { sequence: 1, unanswered: 0 }, sightings: [{ key: { name: 'n' }, item: itemOf(1) }] };
    const first = kernel.see(request, Flag.VALUES, session);
    expect(first.answer?.seen).toEqual([{ isNew: true, exact: true }]);
    expect(kernel.see(request, Flag.VALUES, session).answer).toEqual(first.answer);
    const other = { ...request, sightings: [{ key: { name: 'n' }, item: itemOf(2) }] };
    expect(kernel.see(other, Flag.VALUES, session).status).toBe(ERRORS.SEQUENCE_CONFLICT.status);
  });

  test('by id reaches the same set as by name, and increments go on beside it', () => {
    const kernel = kernelOf(256);
    const { answer } = kernel.open(['n']);
    const [id] = answer ?? [];
    if (id?.slot === undefined) throw new Error('No id.');
    const { slot, generation = 0 } = id;
    const byId = { slot, generation };
    const sightings = [byId, { name: 'n' }, byId].map((key, i) => ({ key, item: itemOf(i % 2) }));
    expect(kernel.see({ sightings }, Flag.VALUES).answer?.seen.map(({ isNew }) => isNew)).toEqual([true, true, false]);
    expect(kernel.step('n', 5n)).toEqual({ status: OK, value: 5n });
    see(kernel, 'n', range(0, 5));
    expect(kernel.value('n')).toBe(5n);
    expect(countOf(kernel, 'n')?.count).toBe(5);
  });

  test('refuses as a whole what is no body of a SEE', () => {
    const kernel = kernelOf(256);
    const bad = [
      [1],
      [1, 0, 1, 65],
      [1, 4, 97],
      [1, 4, 97, 0],
      [1, 4, 97, 1],
      [1, 6, 97, 1, 65],
      [1, 4, 97, 1, 65, 9],
      [2, 4, 97, 1, 65, 0],
    ];
    const before = kernel.partition.stateHash;
    for (const body of bad) {
      const status = kernel.call(11, 0, { producer: 0, incarnation: 0 }, 1, Uint8Array.from(body));
      expect([ERRORS.BAD_REQUEST.status, ERRORS.NAME_INVALID.status], `${body}`).toContain(status);
    }
    expect(kernel.partition.stateHash).toBe(before);
  });
});

describe('The memory of uniques', () => {
  const pagesOf = (kernel: Kernel) => kernel.partition.statistics.memoryBytes;

  test('ten items take 112 bytes beside slot, name and index, so 128 in all with the slot', () => {
    const names = 20_000;
    const bytes = [0, 10].map((items) => {
      const kernel = kernelOf(256, { maximumPages: 4000 });
      for (let i = 0; i < names; i += 500) {
        const operations = Array.from({ length: 500 }, (_, j) => ({ key: { name: `name ${i + j}` }, delta: 0n }));
        kernel.add({ operations });
        const sightings = operations.flatMap(({ key }) =>
          Array.from({ length: items }, (_, k) => ({ key, item: itemOf(k) })),
        );
        kernel.see({ sightings });
      }
      return pagesOf(kernel);
    });
    const sizesBegun = 6 * PAGE; // a track and blocks of 16 to 80 bytes
    expect(((bytes[1] ?? 0) - (bytes[0] ?? 0) - sizesBegun) / names).toBeLessThanOrEqual(112.5);
  });

  test('an exact set takes at most 16 bytes an item, at every size from a page on', () => {
    const kernel = kernelOf(0, { maximumPages: 4000 });
    see(kernel, 'exact warm', range(0, 1700)); // each size of block has begun a page
    const before = pagesOf(kernel);
    let seen = 0;
    for (const to of [8192, 20_000, 30_000, 60_000, 100_000, 150_000, 300_000, 500_000]) {
      see(kernel, 'exact', range(seen, to));
      seen = to;
      expect((pagesOf(kernel) - before - 3 * PAGE) / to, `of ${to}`).toBeLessThanOrEqual(16);
    }
  });

  test('is all used again when a name is deleted, in every form', () => {
    for (const [name, count] of [
      ['n', 200],
      ['n', 1000],
      ['n', 5000],
      ['exact', 1500],
      ['exact', 1600],
      ['exact', 40_000],
    ] as const) {
      const kernel = kernelOf(256);
      const round = () => {
        see(kernel, name, range(0, count));
        kernel.remove(name);
        return pagesOf(kernel);
      };
      const first = round();
      for (let i = 0; i < 3; i++) expect(round(), `${name} ${count}`).toBe(first);
      expect(countOf(kernel, name)?.status).toBe(ABSENT);
      expect(kernel.partition.statistics.tracks).toBe(0);
      see(kernel, name, [1]);
      expect(countOf(kernel, name)).toEqual({ status: OK, exact: true, count: 1 });
    }
  });

  test('is given back by a change of the classes that keeps no uniques of the name', () => {
    const kernel = kernelOf(256);
    see(kernel, 'n', range(0, 5000));
    kernel.classify([{ pattern: 'other', uniques: 1 }]);
    kernel.tick(1_700_000_060_000);
    expect(countOf(kernel, 'n')?.status).toBe(ERRORS.NOT_TRACKED.status);
    expect(kernel.partition.statistics.tracks).toBe(0);
  });

  test('that is full refuses new items, and forgets none', () => {
    for (const name of ['exact', 'n']) {
      const kernel = kernelOf(256, { maximumPages: 130 });
      let refusals = 0;
      const model = new Map<string, Set<number>>();
      for (let round = 0; refusals < 3000; round++) {
        const names = name === 'n' ? [`n${round % 900}`] : ['exact1', 'exact2'];
        for (const name of names) {
          const known = model.get(name) ?? new Set<number>();
          model.set(name, known);
          const numbers = [...range(round * 100, round * 100 + 100)];
          const key = { name };
          const { answer } = kernel.see({ sightings: numbers.map((number) => ({ key, item: itemOf(number) })) });
          const refused = new Set(answer?.refused.map(({ index }) => index));
          for (const { status } of answer?.refused ?? []) expect(status).toBe(full);
          for (const [i, number] of numbers.entries()) if (!refused.has(i)) known.add(number);
          refusals += refused.size;
        }
      }
      for (const [name, items] of model) {
        if (!items.size) continue;
        const { count = 0, exact } = countOf(kernel, name) ?? {};
        if (exact) expect(count).toBe(items.size);
        else expect(Math.abs(count - items.size) / items.size).toBeLessThan(0.06);
        for (const { isNew } of see(kernel, name, [...items].slice(0, 300))) expect(isNew).toBe(false);
      }
      const recovered = replay(kernel.log);
      expect(recovered.stateHash).toBe(kernel.partition.stateHash);
    }
  });
});
