import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type HistoryItem, type HistoryPlace, isAfter, placeOf } from '../../src/history/bucket.js';
import { copyOf } from '../../src/history/copy.js';
import { History } from '../../src/history/history.js';
import { encodeState } from '../../src/history/partition-state.js';
import { DEFAULT_RETENTION } from '../../src/history/roll-up.js';
import { RowCodec } from '../../src/history/row.js';
import type { Change, HistoryReader } from '../../src/history/tables.js';
import { plannerOf, rollUp } from './homes.js';
import { counterOf, DAY, goneAt, NOW, rowAt, upTo } from './rows.js';
import { SimHistoryDisk, SimTables } from './sim-tables.js';

/**
 * A copy beside its owner: the transactions of a history (commits, roll-ups, counters that go) are recorded, and happen while it is copied, some
 * before each look. What the log has behind each slot's place is added: it must be what all that was emitted comes to.
 */

const PARTITION = 3;
/** Slots that are read together, and some that are not. */
const SLOTS = [0, 5, 130, 131, 257, 1_000, 70_000];

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('rows' as const),
      slots: fc.array(fc.nat(SLOTS.length - 1), { minLength: 1, maxLength: 6 }),
      age: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 70 * 24 })),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('gone' as const), slot: fc.nat(SLOTS.length - 1) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('roll-up' as const), steps: fc.integer({ min: 1, max: 4 }) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

class Recorded {
  readonly items: HistoryItem[] = [];
  readonly changes: Change[] = [];
  readonly #tables = new RecordingTables(new SimHistoryDisk(), queueMicrotask);
  readonly #history = new History(this.#tables);
  readonly #generations = new Map<number, number>();
  #sequence = 0;

  static async of(steps: readonly Step[]): Promise<Recorded> {
    const recorded = new Recorded();
    for (const one of steps) await recorded.#take(one);
    recorded.changes.push(...recorded.#tables.changes);
    return recorded;
  }

  async #take(one: Step): Promise<void> {
    if (one.kind === 'roll-up') {
      const request = { partition: PARTITION, retention: DEFAULT_RETENTION, now: NOW };
      for (let i = 0; i < one.steps; i++) await rollUp(this.#history, plannerOf(this.#tables), request);
      return;
    }
    const asOf = ++this.#sequence;
    const items = one.kind === 'rows' ? this.#rows(one, asOf) : [goneAt(this.#counter(one.slot), asOf)];
    if (one.kind === 'gone') this.#generations.set(one.slot, this.#counter(one.slot).generation + 1);
    this.items.push(...items);
    // A body's items may come in two commits.
    const [half] = items.length > 1 ? [items[0] as HistoryItem] : [];
    if (half) await this.#history.commit(PARTITION, placeOf(half), [half]);
    await this.#history.commit(PARTITION, upTo(asOf), items);
  }

  #rows({ slots, age }: Step & { kind: 'rows' }, asOf: number): HistoryItem[] {
    return slots.map((slot, i) => rowAt(this.#counter(slot), NOW - age * 3_600_000, asOf, { [i]: BigInt(asOf) }, i));
  }

  #counter(slot: number) {
    return counterOf(SLOTS[slot] as number, PARTITION, this.#generations.get(slot) ?? 1);
  }
}

class RecordingTables extends SimTables {
  readonly changes: Change[] = [];

  override commit(change: Change) {
    this.changes.push(change);
    return super.commit(change);
  }
}

/** A history to which the next changes happen before each look. */
class Moving implements HistoryReader {
  readonly #tables = new SimTables(new SimHistoryDisk(), (commit) => commit());
  readonly #changes: Change[];
  readonly #pace: Iterator<number>;

  constructor(changes: readonly Change[], atOnce: number, pace: readonly number[]) {
    this.#changes = [...changes];
    this.#move(atOnce);
    this.#pace = pace[Symbol.iterator]();
  }

  refresh(): void {}

  state(partition: number) {
    this.#move();
    return this.#tables.state(partition);
  }

  get(...args: Parameters<HistoryReader['get']>) {
    this.#move();
    return this.#tables.get(...args);
  }

  range(...args: Parameters<HistoryReader['range']>) {
    this.#move();
    return this.#tables.range(...args);
  }

  #move(count = this.#pace?.next().value ?? 0): void {
    for (const change of this.#changes.splice(0, count)) void this.#tables.commit(change);
  }
}

/** By counter and day, since roll-ups put the units of a day together. */
async function daysOf(history: History): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const slot of SLOTS) {
    for (let generation = 1; generation < 20; generation++) {
      const days = new Map<number, bigint>();
      for (const { start, sum } of history.read(counterOf(slot, PARTITION, generation), 0, NOW + DAY).buckets) {
        const day = Math.floor(start / DAY);
        days.set(day, (days.get(day) ?? 0n) + sum);
      }
      if (days.size > 0) found[`${slot}.${generation}`] = [...days].sort().join(' ');
    }
  }
  return found;
}

/** A history that takes everything at once. */
async function wholeOf(items: readonly HistoryItem[]): Promise<History> {
  const history = new History(new SimTables(new SimHistoryDisk(), queueMicrotask));
  await history.commit(PARTITION, upTo(items.at(-1)?.asOf ?? 0), items);
  return history;
}

async function copied(reader: HistoryReader, items: readonly HistoryItem[]): Promise<History> {
  const history = new History(new SimTables(new SimHistoryDisk(), queueMicrotask));
  const places: { readonly from: number; readonly place: HistoryPlace }[] = [];
  for (const { from, place, rows } of copyOf(reader, new RowCodec(), PARTITION)) {
    places.push({ from, place });
    await history.adopt(PARTITION, rows);
  }
  const placeOfSlot = (slot: number) => places.findLast(({ from }) => from <= slot)?.place as HistoryPlace;
  const rest = items.filter((item) => isAfter(placeOf(item), placeOfSlot(item.slot)));
  await history.commit(PARTITION, upTo(items.at(-1)?.asOf ?? 0), rest);
  return history;
}

test('a copy has each row in once, as of a place for each slot, whatever its owner writes meanwhile', async () => {
  let moved = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 60 }),
      fc.double({ min: 0, max: 0.8, noNaN: true }),
      fc.array(fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.nat(3)), { minLength: 20, maxLength: 400 }),
      async (steps, begun, pace) => {
        const { items, changes } = await Recorded.of(steps);
        const atOnce = Math.floor(begun * changes.length);
        if (atOnce < changes.length && pace.some((count) => count > 0)) moved++;
        const copy = await copied(new Moving(changes, atOnce, pace), items);
        expect(await daysOf(copy)).toEqual(await daysOf(await wholeOf(items)));
      },
    ),
    { numRuns: 1_000 },
  );
  expect(moved).toBeGreaterThan(500);
});

test('where rows are taken away at each look it gives up', () => {
  let looks = 0;
  const tables = new SimTables(new SimHistoryDisk());
  const restless: HistoryReader = {
    refresh: () => {},
    get: () => undefined,
    range: (...args) => tables.range(...args),
    state: () => encodeState(PARTITION, { watermark: 5, items: 0, revision: ++looks, since: 0 }),
  };
  expect(() => [...copyOf(restless, new RowCodec(), PARTITION)]).toThrow(/changed whenever it was read/);
  expect(looks).toBe(2_000);
});
