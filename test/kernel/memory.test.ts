import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ABSENT, ERRORS, OK } from '../../src/errors.js';
import { PAGE_BYTES, Partition, REPEATED, UNCHANGED } from '../../src/partition/partition.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import type { Session } from '../model/counter-model.js';
import { configuration, idOf, Kernel, module, NOBODY, restore, START } from './fixture.js';
import { Pair, step } from './random-calls.js';

const full = ERRORS.MEMORY_FULL.status;
const RESERVED_PAGES = 16;
const LIFE = 600_000;

/** Adds long names until one is refused; how many were added. */
function fill(kernel: Kernel): number {
  for (let i = 0; ; i++) {
    if (kernel.step(`${i}/${'x'.repeat(1000)}`, 1n).status === full) return i;
  }
}

function configurePages(kernel: Kernel, pages: number, wanted: Partial<typeof configuration> = {}): void {
  kernel.partition.configure({ ...configuration, ...wanted, maximumPages: pages }, START);
  kernel.watched = false;
}

const pagesOf = (kernel: Kernel) => kernel.partition.statistics.memoryBytes / PAGE_BYTES;

describe('When memory is full', () => {
  test('new names are refused in every request, and what exists goes on', () => {
    const kernel = new Kernel({ maximumPages: 134 });
    kernel.open(['opened']);
    const names = fill(kernel);
    const oldest = `0/${'x'.repeat(1000)}`;
    expect(names).toBeGreaterThan(500);
    expect(kernel.step(oldest, 4n)).toEqual({ status: OK, value: 5n });
    expect(kernel.step('opened', 4n)).toEqual({ status: OK, value: 4n });
    expect(kernel.step('new', 4n)).toEqual({ status: full, value: 0n });
    expect(kernel.step('new', -1n, { min: 0n }).status).toBe(ERRORS.OUT_OF_BOUNDS.status);
    expect(kernel.set({ key: { name: 'new' }, value: 1n, reason: 'r' }).answer).toEqual({ status: full, previous: 0n });
    expect(kernel.set({ key: { name: oldest }, value: 1n, reason: 'r' }).answer).toEqual({ status: OK, previous: 5n });
    expect(kernel.get([{ name: 'new' }]).answer).toEqual([{ status: ABSENT }]);
    expect(kernel.open(['new', 'opened', 'new'])).toEqual({
      status: UNCHANGED,
      answer: [{ status: full }, { status: OK, slot: 0, generation: 0 }, { status: full }],
    });
    expect(kernel.partition.statistics.names).toBe(names + 1);
  });

  test('an atomic batch with a new name is refused whole', () => {
    const kernel = new Kernel({ maximumPages: 124 });
    kernel.step('old', 1n);
    fill(kernel);
    const operations = ['old', 'new'].map((name) => ({ key: { name }, delta: 1n }));
    expect(kernel.add({ operations }, Flag.ATOMIC | Flag.VALUES).answer).toEqual({
      refused: [
        { index: 0, status: ERRORS.ATOMIC_ABORTED.status },
        { index: 1, status: full },
      ],
      values: [1n, 0n],
    });
  });

  test('a deleted counter makes room for one name, of its size when the last page is full too', () => {
    const kernel = new Kernel({ maximumPages: 124 });
    const names = Array.from({ length: fill(kernel) }, (_, i) => `${i}/${'x'.repeat(1000)}`);
    const other = (i: number) => `${i}`.padEnd(900, 'y');
    let i = 0;
    for (; kernel.step(other(i), 1n).status === full; i++) {
      expect(kernel.remove(names[i] as string)).toEqual({ status: OK, previous: 1n });
      if (kernel.step(other(i), 1n).status === full) break;
    }
    expect(i).toBeGreaterThan(40);
    const [gone, next] = [names[i] as string, names[i + 1] as string];
    const open = (...names: string[]) => kernel.open(names).answer?.map(({ status }) => status);
    expect(open(other(i), gone, next)).toEqual([full, OK, OK]);
    expect(kernel.set({ key: { name: `new${gone.slice(3)}` }, value: 1n, reason: 'r' }).answer?.status).toBe(full);
    kernel.remove(gone);
    expect(kernel.set({ key: { name: `new${gone.slice(3)}` }, value: 1n, reason: 'r' }).answer?.status).toBe(OK);
    for (let round = 0; round < 1000; round++) {
      kernel.remove(next);
      const status = kernel.step(`${round}`.padEnd(next.length, 'z'), 1n).status;
      expect([round, status]).toEqual([round, OK]);
      kernel.remove(`${round}`.padEnd(next.length, 'z'));
      expect(open(next)).toEqual([OK]);
    }
    expect(kernel.partition.statistics.names).toBe(names.length);
    expect(pagesOf(kernel)).toBeLessThanOrEqual(124);
  });

  test('a larger configuration lets it go on, and a smaller one stops new names alone', () => {
    const kernel = new Kernel({ maximumPages: 124 });
    fill(kernel);
    configurePages(kernel, 144);
    expect(kernel.step('new', 1n)).toEqual({ status: OK, value: 1n });
    for (const pages of [104, 99, 1, 0]) {
      configurePages(kernel, pages);
      expect(kernel.step('another', 1n).status).toBe(full);
      expect(kernel.step('new', 1n).status).toBe(OK);
      expect(kernel.step('new', 1n, { operationId: idOf(pages) }).status).toBe(ERRORS.OPERATIONS_FULL.status);
      expect(kernel.openProducer(idOf(1)).status).toBe(ERRORS.PRODUCERS_FULL.status);
    }
    configurePages(kernel, 200);
    expect(kernel.step('another', 1n).status).toBe(OK);
  });

  test('known producers go on, a first cursor is refused and an old one is replaced', () => {
    const kernel = new Kernel({ maximumPages: 124 });
    const [first, second] = [1, 2].map((id) => kernel.openProducer(idOf(id)).answer as Session);
    const send = (session: Session | undefined, sequence: number, cursor?: Uint8Array) =>
      kernel.add(
        {
          sequence: { sequence, unanswered: 0, ...(cursor && { cursor }) },
          operations: [{ key: { name: 'a' }, delta: 1n }],
        },
        0,
        session,
      ).status;
    kernel.step('a', 1n);
    fill(kernel);
    expect(kernel.openProducer(idOf(3)).status).toBe(ERRORS.PRODUCERS_FULL.status);
    expect(kernel.openProducer(idOf(1)).answer).toMatchObject({ producer: first?.producer });
    expect(send(second, 1, Uint8Array.of(1))).toBe(full);
    // without memory for a window nothing is kept, and a repeat is still not applied
    expect(send(second, 1)).toBe(OK);
    expect(send(second, 1)).toBe(ERRORS.ALREADY_APPLIED.status);
    expect(send(second, 2)).toBe(OK);
    configurePages(kernel, 164);
    expect(send(second, 3, Uint8Array.of(1))).toBe(OK);
    configurePages(kernel, 124);
    expect(send(second, 4, Uint8Array.of(2))).toBe(OK);
    expect(send(second, 4, Uint8Array.of(2))).toBe(REPEATED);
    expect(kernel.partition.producer(idOf(2))?.cursor).toEqual(Uint8Array.of(2));
    expect(kernel.value('a')).toBe(5n);
  });

  test('a small window keeps the last 64 sequences, and takes a page that another producer gives back', () => {
    const kernel = new Kernel({ maximumPages: 124 });
    const [large, small] = [1, 2].map((id) => kernel.openProducer(idOf(id)).answer as Session);
    const send = (session: Session | undefined, sequence: number) =>
      kernel.add({ sequence: { sequence, unanswered: sequence - 1 }, operations: [] }, 0, session).status;
    for (let sequence = 1; sequence <= 100; sequence++) send(large, sequence);
    send(small, 1);
    fill(kernel);
    for (let sequence = 2; sequence <= 200; sequence++) expect(send(small, sequence)).toBe(OK);
    expect([1, 136, 137, 200].map((sequence) => send(small, sequence))).toEqual([
      ERRORS.ALREADY_APPLIED.status,
      ERRORS.ALREADY_APPLIED.status,
      REPEATED,
      REPEATED,
    ]);
    kernel.openProducer(idOf(1)); // drops the large window
    for (let sequence = 201; sequence <= 400; sequence++) expect(send(small, sequence)).toBe(OK);
    expect([136, 137, 400].map((sequence) => send(small, sequence))).toEqual([
      ERRORS.ALREADY_APPLIED.status,
      REPEATED,
      REPEATED,
    ]);
  });

  test('operation ids take the entries of expired ones, for ever', () => {
    const kernel = new Kernel();
    kernel.watched = false;
    kernel.step('a', 0n);
    let id = 0;
    const round = (time: number) => {
      for (let batch = 0; batch < 8; batch++) {
        const operations = Array.from({ length: 5000 }, () => ({
          key: { name: 'a' },
          delta: 1n,
          operationId: idOf(id++),
        }));
        expect(kernel.add({ operations }, 0, NOBODY, START + time).answer?.refused).toEqual([]);
      }
    };
    round(0);
    configurePages(kernel, pagesOf(kernel) + 4);
    expect(kernel.step('new', 1n).status).toBe(full);
    for (let i = 1; i <= 12; i++) {
      for (let tick = 0; tick < 20; tick++) kernel.tick(START + i * LIFE);
      expect(kernel.partition.statistics.operationIds).toBe(0);
      round(i * LIFE);
    }
    expect(kernel.value('a')).toBe(13n * 40_000n);
  });

  test('and the reserve is used up, operation ids are refused and nothing traps', () => {
    const kernel = new Kernel();
    kernel.step('a', 1n, { operationId: idOf(1) });
    kernel.tick(START + LIFE);
    const step = () => kernel.step('a', 1n, { operationId: idOf(2) }).status;
    configurePages(kernel, pagesOf(kernel) + 2);
    expect(step()).toBe(ERRORS.OPERATIONS_FULL.status);
    configurePages(kernel, pagesOf(kernel) + 3);
    expect(step()).toBe(OK);
  });

  test('and the reserve is used up, a name is refused although a deleted one left room for it, and nothing traps', () => {
    const kernel = new Kernel();
    kernel.step('a', 1n);
    kernel.remove('a');
    configurePages(kernel, pagesOf(kernel) + 2);
    expect(kernel.step('b', 1n).status).toBe(full);
    configurePages(kernel, pagesOf(kernel) + 3);
    expect(kernel.step('b', 1n).status).toBe(OK);
  });

  test('or nearly so, random calls neither trap nor go past the maximum', () => {
    const bulk = fc.record({
      length: fc.nat(900),
      count: fc.nat(100),
      ids: fc.boolean(),
      producers: fc.nat(20),
      deletes: fc.nat(100),
    });
    const calls = fc.array(fc.oneof(step, { weight: 2, arbitrary: bulk }), {
      minLength: 10,
      maxLength: 60,
      size: 'max',
    });
    fc.assert(
      fc.property(fc.integer({ min: 99, max: 134 }), calls, (maximumPages, calls) => {
        const pair = new Pair({ maximumPages });
        const { kernel } = pair;
        pair.both = (call) => call(kernel);
        for (const call of calls) {
          if ('type' in call) {
            pair.run(call);
            continue;
          }
          const operations = Array.from({ length: call.count }, (_, i) => ({
            key: { name: `${call.length}/${i}/${'x'.repeat(call.length)}` },
            delta: 1n,
            ...(call.ids && { operationId: idOf(call.length * 1000 + i) }),
          }));
          const flags = call.count % 3 === 0 ? Flag.ATOMIC : 0;
          kernel.add({ operations }, flags);
          for (const { key } of operations.slice(0, call.deletes)) kernel.delete({ key, reason: 'r' });
          for (let i = 0; i < call.producers; i++) {
            const opened = kernel.openProducer(idOf(call.length * 100 + i));
            const cursor = new Uint8Array(64);
            if (opened.answer)
              kernel.add({ sequence: { sequence: 1, unanswered: 0, cursor }, operations }, flags, opened.answer);
          }
        }
        expect(pagesOf(kernel)).toBeLessThanOrEqual(maximumPages);
      }),
      { numRuns: 40 },
    );
  });
});

describe('The fixed directories', () => {
  const SLOT_DIRECTORY = 0x10000;
  const NAME_INDEX_DIRECTORY = 0x20000;
  const SLOTS = 64;
  const MAX_SLOTS = 16_384 * 4096;

  test('bound the names: past the last slot they are MEMORY_FULL', () => {
    const kernel = new Kernel();
    kernel.step('a', 1n);
    // 67 million names in no time: the last segment of slots is the first one once more
    const state = kernel.partition.state;
    const view = new DataView(state.buffer);
    view.setUint32(SLOTS, MAX_SLOTS - 1, true);
    view.setUint32(SLOT_DIRECTORY + 4 * 16_383, view.getUint32(SLOT_DIRECTORY, true), true);
    const partition = new Partition(module);
    restore(partition, state);
    const open = (letter: number) => {
      partition.apply(Opcode.OPEN, 0, 0, 0, START, Uint8Array.of(1, 4, letter));
      return [...partition.answer];
    };
    expect(open(98)).toEqual([1, OK, 0xff, 0xff, 0xff, 0x1f, 0]);
    expect(open(99)).toEqual([1, full]);
    partition.apply(Opcode.ADD, 0, 0, 0, START, Uint8Array.of(1, 4, 100, 2));
    expect([...partition.answer]).toEqual([1, 0, full]);
    partition.apply(Opcode.SET, 0, 0, 0, START, Uint8Array.of(4, 100, 2, 1, 114));
    expect([...partition.answer]).toEqual([full, 0]);
    const at = NAME_INDEX_DIRECTORY;
    expect(partition.state.slice(at, at + 8)).toEqual(state.slice(at, at + 8));
  });

  test.each([
    [{ maximumPages: 65_536 }],
    [{ maximumPages: 2 ** 32 - 1 }],
    [{ maximumProducers: 1_048_577 }],
    [{ maximumOperationIds: 4_194_305 }],
    [{ partitions: 0 }],
    [{ partition: 1, partitions: 1 }],
  ])('bound the configuration: %j is refused', (wanted) => {
    expect(() => new Kernel(wanted)).toThrow('DIRECTORY_INVALID');
  });

  test('take the largest configuration', () => {
    const kernel = new Kernel({ maximumPages: 65_535, maximumProducers: 1_048_576, maximumOperationIds: 4_194_304 });
    expect(kernel.step('a', 1n, { operationId: idOf(1) }).status).toBe(OK);
  });
});

describe('Pages', () => {
  test('that were given back are empty when they are taken again', () => {
    const kernel = new Kernel();
    kernel.watched = false;
    const names = Array.from({ length: 4097 }, (_, i) => ({ key: { name: `${i}` }, delta: 1n }));
    kernel.add({ operations: names.slice(0, 4096) }); // the first segment of slots is full
    for (const id of [1, 2]) {
      const { answer: session } = kernel.openProducer(idOf(id));
      for (let sequence = 1; sequence <= 65 && session; sequence++) {
        kernel.add({ sequence: { sequence, unanswered: sequence - 1 }, operations: [] }, 0, session);
      }
    }
    for (const id of [1, 2]) kernel.openProducer(idOf(id)); // drops two windows of a page
    const pages = pagesOf(kernel);
    kernel.add({ operations: names });
    expect(kernel.value('4096')).toBe(1n);
    expect(pagesOf(kernel)).toBe(pages);
  });

  test('are taken up to the reserve by names', () => {
    const kernel = new Kernel({ maximumPages: 144 });
    kernel.watched = false;
    fill(kernel);
    expect(pagesOf(kernel)).toBe(144 - RESERVED_PAGES + 1);
  });

  test('hold sixty thousand names, through every kind of split', () => {
    const kernel = new Kernel();
    kernel.watched = false;
    const names = Array.from({ length: 60_000 }, (_, i) => `page:/a/b/${i}`);
    const chunks = Array.from({ length: 12 }, (_, i) => names.slice(i * 5000, i * 5000 + 5000));
    chunks.forEach((chunk, i) => {
      kernel.add({ operations: chunk.map((name) => ({ key: { name }, delta: BigInt(i) })) });
    });
    expect(kernel.partition.statistics).toMatchObject({ names: 60_000, counters: 60_000 });
    chunks.forEach((chunk, i) => {
      const byName = kernel.get(chunk.map((name) => ({ name }))).answer;
      expect(byName).toEqual(chunk.map(() => ({ status: OK, value: BigInt(i) })));
      const { answer } = kernel.open(chunk);
      expect(answer).toEqual(chunk.map((_, at) => ({ status: OK, slot: i * 5000 + at, generation: 0 })));
    });
    expect(kernel.get(names.slice(0, 5000).map((name) => ({ name: `${name}?` }))).answer).toEqual(
      new Array(5000).fill({ status: ABSENT }),
    );
  });
});
