import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Additions } from '../../src/client/additions.js';
import type { Batcher } from '../../src/client/batcher.js';
import { CounterTable, exactDelta, ROW_WORDS, Selection, Word } from '../../src/client/counters.js';
import { Sums } from '../../src/client/sums.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { decodeAdd } from '../../src/protocol/request.js';

const MAX = 2n ** 63n - 1n;
const TABLES = 2;
const ROWS = 5;
/** The counters of the second table keep increases and decreases apart, but for the last. */
const GROSS = [
  { pattern: '*4', gross: false },
  { pattern: '1:*', gross: true },
];
const keepsGross = (name: string) => name.startsWith('1:') && name !== '1:4';
/** Whether one is an increase and the other a decrease. */
const areOpposed = (a: bigint, b: bigint) => (a < 0n && b > 0n) || (a > 0n && b < 0n);

/** Tables of one partition, and their list. */
class World {
  readonly batcher = { epoch: 7, forgetId: (table: CounterTable, row: number) => this.sums.forgetId(table, row) };
  readonly tables: CounterTable[];
  readonly sums: Sums;

  constructor(first?: number) {
    this.sums = new Sums(first);
    const context = {
      additions: undefined as unknown as Additions,
      batchers: [this.batcher as unknown as Batcher],
      grossRules: GROSS,
    };
    this.tables = Array.from({ length: TABLES }, () => new CounterTable(ROWS, context));
    for (const [t, table] of this.tables.entries()) {
      for (let row = 0; row < ROWS; row++) table.append(`${t}:${row}`, 0);
    }
  }

  table(name: string): CounterTable {
    return this.tables[Number(name[0])] as CounterTable;
  }

  add(name: string, delta: bigint): void {
    const step = exactDelta(delta);
    const [table, row] = [this.table(name), Number(name[2])];
    if (!this.sums.merge(table, row, step)) this.sums.append(table, row, step, this.batcher.epoch);
  }

  /** Takes one portion off the list: what was written, the counters behind it, those to be opened. */
  take(mostOperations: number, mostBytes: number) {
    const [body, operations, toOpen] = [new ByteWriter(), new ByteWriter(), new Selection()];
    const count = this.sums.write(operations, 0, mostOperations, mostBytes, toOpen);
    body.varint(count);
    body.bytes(operations.view());
    const { tables, rows } = this.sums.counters(0, count);
    this.sums.removeFirst(count);
    const nameOf = (table: CounterTable, i: number, of: ArrayLike<number>) => table.names[of[i] as number];
    return {
      operations: decodeAdd(body.view(), 0).operations.map(({ key, delta }) => ({ key, delta })),
      names: tables.map((table, i) => nameOf(table, i, rows)),
      toOpen: toOpen.tables.map((table, i) => nameOf(table, i, toOpen.rows)),
    };
  }
}

interface Id {
  readonly slot: number;
  readonly generation: number;
}

/** The same with plain objects. */
class Model {
  readonly entries: { readonly name: string; id: Id | undefined; sum: bigint }[] = [];
  readonly ids = new Map<string, Id>();
  readonly opening = new Set<string>();

  add(name: string, delta: bigint): void {
    const isApart = ({ sum }: { readonly sum: bigint }) => keepsGross(name) && areOpposed(sum, delta);
    const entry = this.entries.findLast((other) => other.name === name && !isApart(other));
    if (entry && BigInt.asIntN(64, entry.sum + delta) === entry.sum + delta) entry.sum += delta;
    else this.entries.push({ name, id: this.ids.get(name), sum: delta });
  }

  forget(name: string): void {
    this.ids.delete(name);
    this.opening.delete(name);
    const entry = this.entries.findLast((other) => other.name === name);
    if (!entry) return;
    entry.id = undefined;
    if (!keepsGross(name)) return;
    const opposite = this.entries.findLast((other) => other.name === name && areOpposed(other.sum, entry.sum));
    if (opposite) opposite.id = undefined;
  }

  enterEpoch(): void {
    this.ids.clear();
    for (const entry of this.entries) entry.id = undefined;
  }

  take(count: number) {
    const taken = this.entries.splice(0, count);
    const toOpen: string[] = [];
    for (const { name, id } of taken) {
      if (id || this.ids.has(name) || this.opening.has(name)) continue;
      this.opening.add(name);
      toOpen.push(name);
    }
    return {
      operations: taken.map(({ name, id, sum }) => ({ key: id ?? { name }, delta: sum })),
      names: taken.map(({ name }) => name),
      toOpen,
    };
  }
}

const names = Array.from({ length: TABLES * ROWS }, (_, i) => `${i % TABLES}:${Math.floor(i / TABLES)}`);
const name = fc.constantFrom(...names);
const delta = fc.oneof(
  { weight: 4, arbitrary: fc.bigInt({ min: -100n, max: 100n }) },
  fc.constantFrom(2n ** 53n - 1n, -(2n ** 53n), MAX, -MAX - 1n),
  fc.bigInt({ min: -MAX, max: MAX }),
);
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('add' as const), name, delta }) },
  fc.record({
    kind: fc.constant('open' as const),
    name,
    id: fc.record({ slot: fc.nat(2 ** 28), generation: fc.integer({ min: 1, max: 65_535 }) }),
  }),
  fc.record({ kind: fc.constant('forget' as const), name }),
  fc.record({ kind: fc.constant('epoch' as const) }),
  fc.record({ kind: fc.constant('take' as const), most: fc.integer({ min: 1, max: 12 }), bytes: fc.nat(60) }),
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

describe('sums', () => {
  it('are those of a plain list, in order, whatever is opened, forgotten and taken between', () => {
    const start = fc.constantFrom(0, 1, 0x7fff_fffe, 0xffff_fff0);
    const play = (first: number, steps: Step[]) => {
      const world = new World(first);
      const model = new Model();
      const take = (most: number, bytes: number) => {
        const taken = world.take(most, bytes);
        expect(taken).toEqual(model.take(taken.operations.length));
        // full by count, or by bytes, or all there was
        if (bytes === Number.POSITIVE_INFINITY)
          expect(taken.operations.length).toBe(Math.min(most, taken.names.length));
        return taken.operations.length;
      };
      for (const one of steps) {
        if (one.kind === 'add') {
          world.add(one.name, one.delta);
          model.add(one.name, one.delta);
        } else if (one.kind === 'open') {
          world.table(one.name).opened(Number(one.name[2]), one.id.slot, one.id.generation);
          model.opening.delete(one.name);
          model.ids.set(one.name, one.id);
        } else if (one.kind === 'forget') {
          world.table(one.name).forgetId(Number(one.name[2]));
          model.forget(one.name);
        } else if (one.kind === 'epoch') {
          world.batcher.epoch++;
          world.sums.forgetIds();
          model.enterEpoch();
        } else if (model.entries.length > 0) {
          expect(take(one.most, one.bytes)).toBeGreaterThan(0);
        }
        expect(world.sums.length).toBe(model.entries.length);
      }
      while (model.entries.length > 0) take(3, Number.POSITIVE_INFINITY);
      expect(world.sums.length).toBe(0);
    };
    fc.assert(fc.property(start, fc.array(step, { maxLength: 80 }), play), { numRuns: 1000 });
  });

  it('go into a portion until it has so many, or more than so many bytes', () => {
    const world = new World();
    for (const one of names) world.add(one, 1n);
    expect(world.take(4, 1000).operations.length).toBe(4);
    // `head 0:1 delta` are 5 bytes: the third begins at the tenth
    expect(world.take(4, 10).operations.length).toBe(3);
    expect(world.take(100, 1000).operations.length).toBe(3);
  });

  it('of thousands of counters keep their order while the list grows and shrinks', () => {
    const batchers = [{ epoch: 7 } as unknown as Batcher];
    const context = { additions: undefined as unknown as Additions, batchers, grossRules: undefined };
    const table = new CounterTable(40_000, context);
    const sums = new Sums();
    for (let i = 0; i < 40_000; i++) {
      table.append(`${i}`, 0);
      table.opened(i, i, 1);
    }
    for (let round = 0; round < 2; round++) {
      for (let k = 0; k < 3; k++) {
        for (let i = 0; i < 40_000; i++) if (!sums.merge(table, i, i)) sums.append(table, i, i, 7);
      }
      for (let from = 0; from < 40_000; from += 16_000) {
        const body = new ByteWriter();
        const count = sums.write(body, 0, 16_000, Number.POSITIVE_INFINITY, new Selection());
        const whole = new ByteWriter();
        whole.varint(count);
        whole.bytes(body.view());
        const { operations } = decodeAdd(whole.view(), 0);
        operations.forEach(({ key, delta: sum }, k) => {
          const i = from + k;
          if ((key as Id).slot !== i || sum !== 3n * BigInt(i)) expect([i, key, sum]).toEqual([]);
        });
        sums.removeFirst(count);
      }
      expect(sums.length).toBe(0);
    }
  });

  it('do not believe a row whose number is of another time', () => {
    const world = new World();
    world.add('0:1', 1n);
    const { words } = world.table('0:2');
    words[2 * ROW_WORDS + Word.ENTRY] = words[1 * ROW_WORDS + Word.ENTRY] as number;
    world.add('0:2', 10n);
    (world.table('1:1').words as Int32Array)[1 * ROW_WORDS + Word.ENTRY] = 0;
    world.add('1:1', 100n);
    expect(world.take(10, 1000).operations).toEqual([
      { key: { name: '0:1' }, delta: 1n },
      { key: { name: '0:2' }, delta: 10n },
      { key: { name: '1:1' }, delta: 100n },
    ]);
  });
});

describe('an id', () => {
  it('larger than a row holds is not used, nor asked for again', () => {
    for (const id of [
      { slot: 2 ** 31, generation: 1 },
      { slot: 2 ** 32 + 5, generation: 1 },
      { slot: 5, generation: 65_536 },
    ]) {
      const world = new World();
      world.add('0:0', 1n);
      expect(world.take(1, 1000).toOpen).toEqual(['0:0']);
      world.table('0:0').opened(0, id.slot, id.generation);
      world.add('0:0', 2n);
      expect(world.take(1, 1000)).toEqual({
        operations: [{ key: { name: '0:0' }, delta: 2n }],
        names: ['0:0'],
        toOpen: [],
      });
    }
  });

  it('of the largest slot and generation is written as it is', () => {
    const world = new World();
    world.table('0:0').opened(0, 2 ** 31 - 1, 65_535);
    world.batcher.epoch = 7;
    world.add('0:0', 2n);
    expect(world.take(1, 1000).operations).toEqual([{ key: { slot: 2 ** 31 - 1, generation: 65_535 }, delta: 2n }]);
  });
});
