import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ByteWriter, encodeUtf8 } from '../../src/protocol/bytes.js';
import { decodeTailAnswer } from '../../src/protocol/tail.js';
import type { Then } from '../../src/pubsub/hindsight.js';
import { readListed } from '../../src/pubsub/piece.js';
import { ALL_SLOTS, PrefixFeed } from '../../src/pubsub/prefix-feed.js';

/** A feed of a prefix that goes on from what its counters were, while they come and go in any slot. */

const NAMES = ['a', 'b', 'c', 'd'];
const SLOTS = 6;
const NOBODY = { identity: 'test', isClogged: false, answer: () => {}, refuse: () => {}, flush: () => {} };

/** What a reader was told last: all that it knows. */
type Known = ReadonlyMap<string, bigint>;

class Bench {
  readonly feed = new PrefixFeed({ subscriber: NOBODY, requestId: 1, interval: 0, credit: 1_000 }, '');
  readonly folded: Map<string, bigint>;
  /** Counters that there are, by slot. */
  readonly #counters = new Map<number, { readonly name: string; value: bigint }>();
  /** What there was at each position. */
  readonly #then: Known[] = [new Map()];
  readonly #writers = { items: new ByteWriter(), body: new ByteWriter() };
  readonly #isAnew: boolean;
  #next = 0;

  /** @param then what its reader knows, where it does not begin anew */
  constructor(then: Known | undefined) {
    this.#isAnew = then === undefined;
    this.folded = new Map(then);
    if (then) {
      this.feed.resumeFrom(1, encoded(then));
      while (this.feed.readThen());
    }
    this.feed.open();
  }

  get values(): Known {
    return new Map([...this.#counters.values()].map(({ name, value }) => [name, value]));
  }

  /** A counter is changed, or comes into being in a slot. */
  add(name: string, delta: bigint, wanted: number): void {
    const found = [...this.#counters].find(([, counter]) => counter.name === name);
    const slot = found?.[0] ?? wanted;
    if (!found && this.#counters.has(slot)) return;
    const value = (found?.[1].value ?? 0n) + delta;
    this.#counters.set(slot, { name, value });
    this.#tell(slot, { name, value, exists: true, delta });
  }

  delete(name: string): void {
    const found = [...this.#counters].find(([, counter]) => counter.name === name);
    if (!found) return;
    this.#counters.delete(found[0]);
    this.#tell(found[0], { name, value: 0n, exists: false, delta: -found[1].value });
  }

  /** The snapshot looks at some more slots. */
  step(slots: number): void {
    if (this.feed.isComplete) return;
    const to = Math.min(SLOTS, this.#next + slots);
    const found = [...this.#counters].filter(([slot]) => slot >= this.#next && slot < to);
    this.#next = to;
    const { pieces } = readListed(listed(found.map(([, counter]) => counter)));
    this.feed.takeStep(pieces, this.#then.length - 1, to === SLOTS ? ALL_SLOTS : to);
  }

  /** The reader is told what waits. */
  read(): void {
    this.feed.open();
    const frame = this.feed.frame(this.#writers, this.#then.length - 1);
    if (!frame) return;
    const { begins, told, position } = decodeTailAnswer(frame);
    if (begins) {
      expect([this.#isAnew, this.folded.size]).toEqual([true, 0]);
    }
    for (const each of told) {
      if (!('delta' in each) && !this.#isAnew) throw new Error(`${each.name} is told as ${each.kind}.`);
      const known = this.folded.get(each.name) ?? 0n;
      const value = 'delta' in each ? known + each.delta : 'value' in each ? each.value : 0n;
      const exists = 'value' in each;
      expect([each.name, value]).toEqual([each.name, exists ? each.value : 0n]);
      // one that is gone may be there again in a slot that the snapshot has not come to
      if (exists) expect([each.name, this.#then[position]?.get(each.name)]).toEqual([each.name, value]);
      if (exists) this.folded.set(each.name, value);
      else this.folded.delete(each.name);
    }
  }

  #tell(slot: number, change: Parameters<PrefixFeed['take']>[0]): void {
    this.#then.push(this.values);
    if (slot < this.feed.told) this.feed.take(change);
  }
}

/** As LIST tells it. */
function listed(counters: readonly { readonly name: string; readonly value: bigint }[]): Uint8Array {
  const writer = new ByteWriter();
  writer.varint(0);
  writer.varint(counters.length);
  for (const { name, value } of counters) {
    const bytes = encodeUtf8(name);
    writer.varint(bytes.length);
    writer.bytes(bytes);
    writer.zigzag(value);
  }
  return writer.view();
}

/** As a replayer sends it. */
function encoded(known: Known): Extract<Then, { kind: 'prefix' }> {
  const items = new ByteWriter();
  for (const [name, value] of known) {
    const bytes = encodeUtf8(name);
    items.varint(bytes.length);
    items.bytes(bytes);
    items.zigzag(value);
  }
  return { kind: 'prefix', count: known.size, items: items.copy() };
}

const name = fc.constantFrom(...NAMES);
const slot = fc.nat({ max: SLOTS - 1 });
const value = fc.bigInt({ min: -2n, max: 2n });
const step = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), name, slot, value }),
  fc.record({ kind: fc.constant('delete' as const), name }),
  fc.record({ kind: fc.constant('step' as const), slots: fc.integer({ min: 1, max: 2 }) }),
  fc.record({ kind: fc.constant('read' as const) }),
);

const known = fc.dictionary(name, value);
const steps = fc.array(step, { maxLength: 40 });
type Steps = typeof steps extends fc.Arbitrary<infer S> ? S : never;

/** What happens before it follows, and from then on until it has been told all. */
function play(bench: Bench, before: Steps, meanwhile: Steps): void {
  const all = [...before.filter(({ kind }) => kind === 'add' || kind === 'delete'), ...meanwhile];
  for (const each of all) {
    if (each.kind === 'add') bench.add(each.name, each.value, each.slot);
    else if (each.kind === 'delete') bench.delete(each.name);
    else if (each.kind === 'step') bench.step(each.slots);
    else bench.read();
  }
  while (!bench.feed.isComplete) bench.step(1);
  do bench.read();
  while (bench.feed.pending > 0);
  expect(bench.feed.isUpToDate).toBe(true);
  expect(bench.folded).toEqual(bench.values);
  expect(bench.feed.held).toBe(0);
}

it('adds up to what there is, wherever counters move while the snapshot is held against what was', () => {
  fc.assert(
    fc.property(known, steps, steps, (then, before, meanwhile) =>
      play(new Bench(new Map(Object.entries(then))), before, meanwhile),
    ),
    { numRuns: 500 },
  );
});

it('tells counters as of its positions and in their order, wherever they move while its snapshot is made', () => {
  fc.assert(
    fc.property(steps, steps, (before, meanwhile) => play(new Bench(undefined), before, meanwhile)),
    { numRuns: 500 },
  );
});
