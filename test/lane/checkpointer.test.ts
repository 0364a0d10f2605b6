import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CheckpointOrder, Probe } from '../../src/lane/checkpoint-messages.js';
import { collecting } from '../../src/lane/collecting.js';
import { PAGES_PER_WRITE } from '../../src/log/checkpoint.js';
import { PAGE_BYTES, Partition } from '../../src/partition/partition.js';
import { differences, module, restore } from '../kernel/fixture.js';
import { Pair, type Step, step } from '../kernel/random-calls.js';
import { CheckpointBench, PARTITIONS } from './checkpoint-bench.js';

/** Many names, so that there are pages which some calls change and others do not. */
function fill(bench: CheckpointBench, partition: number, names: number, prefix = 'name'): void {
  const operations = Array.from({ length: names }, (_, i) => ({ key: { name: `${prefix} ${i}` }, delta: BigInt(i) }));
  for (let from = 0; from < names; from += 5_000) {
    bench.kernels[partition]?.add({ operations: operations.slice(from, from + 5_000) });
  }
}

async function expectRecovered(bench: CheckpointBench): Promise<number> {
  const { partitions, entries } = await bench.recover();
  for (const [number, partition] of partitions) {
    expect(partition.sequence).toBe(bench.live(number).sequence);
    const [state, live] = [partition.state, bench.live(number).state];
    if (Buffer.compare(state, live) !== 0) expect(differences(state, live)).toEqual([]);
  }
  return entries;
}

describe('A checkpoint', () => {
  test('and the log behind it are the live memory, byte for byte', async () => {
    const bench = new CheckpointBench();
    fill(bench, 0, 3_000);
    fill(bench, 1, 10);
    const { place, pages, pagesWritten } = await bench.checkpoint(0);
    expect(place.sequence).toBe(2);
    expect(pagesWritten).toBe(pages);
    expect(pages).toBe(bench.live(0).pages);
    fill(bench, 0, 50, 'more');
    await bench.flush();
    // The call after the checkpoint, and both of the partition that has none.
    expect(await expectRecovered(bench)).toBe(3);
    await bench.checkpoint(1);
    await bench.checkpoint(0);
    expect(await expectRecovered(bench)).toBe(0);
  });

  test('writes what has changed since the one before, and that alone', async () => {
    const bench = new CheckpointBench();
    fill(bench, 0, 20_000);
    const first = await bench.checkpoint(0);
    expect(first.pages).toBeGreaterThan(10);
    bench.kernels[0]?.step('name 7', 1n);
    const second = await bench.checkpoint(0);
    // The header's, with the sequence, and the slot's.
    expect(second).toMatchObject({ pages: first.pages, pagesWritten: 2 });
    expect(await bench.checkpoint(0)).toMatchObject({ pages: first.pages, pagesWritten: 0 });
    expect(await expectRecovered(bench)).toBe(1);
    expect(bench.disk.pages.size).toBe(first.pages);
  });

  test('compares every page with what the lane has', async () => {
    const bench = new CheckpointBench();
    fill(bench, 0, 3_000);
    expect((await bench.checkpoint(0)).probes).toBe(Math.ceil(bench.live(0).pages / 16));
  });
});

const action = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('calls' as const),
      partition: fc.constantFrom(...PARTITIONS),
      steps: fc.array(step, { minLength: 1, maxLength: 8 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('names' as const),
      partition: fc.constantFrom(...PARTITIONS),
      count: fc.integer({ min: 1, max: 4_000 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('flush' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('probe' as const), partition: fc.constantFrom(...PARTITIONS) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('checkpoint' as const), partition: fc.constantFrom(...PARTITIONS) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('crash' as const),
      partition: fc.constantFrom(...PARTITIONS),
      point: fc.record({ transaction: fc.nat(4), stored: fc.boolean() }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('recover' as const) }) },
);
type Action = typeof action extends fc.Arbitrary<infer A> ? A : never;

/** Random calls to the kernels of a bench, without a model. */
function callers(bench: CheckpointBench): ((step: Step) => void)[] {
  return bench.kernels.map((kernel) => {
    const pair = new Pair();
    pair.both = (call) => call(kernel);
    return (step) => pair.run(step);
  });
}

async function perform(bench: CheckpointBench, call: ((step: Step) => void)[], action: Action): Promise<void> {
  if (action.kind === 'calls') for (const step of action.steps) call[action.partition]?.(step);
  if (action.kind === 'names') fill(bench, action.partition, action.count, `n${bench.live(action.partition).sequence}`);
  if (action.kind === 'flush') await bench.flush();
  if (action.kind === 'probe') bench.probe(action.partition);
  if (action.kind === 'checkpoint') await bench.checkpoint(action.partition);
  if (action.kind === 'crash') await bench.crash(await bench.order(action.partition), action.point);
  if (action.kind !== 'recover') return;
  await bench.flush();
  await expectRecovered(bench);
}

test('any mixture of checkpoints, crashes in them and log gives the live memory, byte for byte', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 10, maxLength: 40, size: 'max' }), async (actions) => {
      const bench = new CheckpointBench();
      const call = callers(bench);
      for (const action of actions) await perform(bench, call, action);
      await bench.flush();
      await expectRecovered(bench);
      for (const partition of PARTITIONS) await bench.checkpoint(partition);
      expect(await expectRecovered(bench)).toBe(0);
    }),
    { numRuns: 40 },
  );
});

describe('A process that dies in a checkpoint', () => {
  /** A partition with a checkpoint, after which much has changed, and the order for the next one. */
  const prepare = async () => {
    const bench = new CheckpointBench();
    fill(bench, 0, 20_000);
    await bench.checkpoint(0);
    fill(bench, 0, 50_000, 'more');
    return { bench, order: await bench.order(0) };
  };

  test('leaves the checkpoint before or the new one, whole, whichever transaction it dies in', async () => {
    let transactions = 0;
    for (let isCrashed = true; isCrashed; transactions++) {
      for (const stored of [false, true]) {
        const { bench, order } = await prepare();
        const { generation } = bench.openCheckpoints().manifest(0) ?? { generation: 0 };
        isCrashed = await bench.crash(order, { transaction: transactions, stored });
        const after = bench.openCheckpoints().manifest(0)?.generation;
        if (!stored && isCrashed) expect(after).toBe(generation);
        await expectRecovered(bench);
        fill(bench, 0, 10, 'last');
        await bench.checkpoint(0);
        expect(await expectRecovered(bench)).toBe(1);
        // Nothing of the interrupted one is left.
        expect(bench.disk.pages.size).toBe(bench.live(0).pages);
      }
    }
    // At least three of pages, and the manifest.
    expect(transactions).toBeGreaterThan(4);
  });

  test.each(['full', 'failed', 'silent'] as const)('or meets storage that is %s in any of them', async (kind) => {
    for (let at = 0, isFaulty = true; isFaulty; at++) {
      const { bench, order } = await prepare();
      const checkpoints = bench.openCheckpoints();
      checkpoints.script.push(...Array.from({ length: at }, () => undefined));
      checkpoints.script.push(kind === 'full' ? { kind } : { kind, stored: at % 2 === 0 });
      const making = bench.make(order, checkpoints);
      if (kind === 'silent') await bench.passTime(20_000);
      const message = await making;
      isFaulty = checkpoints.script.length === 0;
      if (!isFaulty) expect(message.kind).toBe('made');
      else expect(message).toMatchObject(kind === 'full' ? { kind } : { kind: 'failed', code: 'STORAGE_FAILED' });
      await expectRecovered(bench);
      await bench.checkpoint(0);
      await expectRecovered(bench);
    }
  });
});

describe('A difference between the live memory and the log', () => {
  const prepare = async () => {
    const bench = new CheckpointBench();
    fill(bench, 0, 5_000);
    await bench.checkpoint(0);
    bench.kernels[0]?.step('name 7', 1n);
    return { bench, order: await bench.order(0) };
  };
  /** The same probes of a memory in which one bit is another. */
  const spoil = (bench: CheckpointBench, { probes }: CheckpointOrder, at: number, bit: number): Probe[] => {
    const state = bench.live(0).state;
    state[at] = (state[at] as number) ^ (1 << bit);
    const other = new Partition(module);
    restore(other, state);
    return probes.map((probe) => ({ ...probe, hash: other.hashPages(probe.first, probe.count) }));
  };

  test('of a single bit anywhere is found, is loud, and no checkpoint is written', async () => {
    const { bench, order } = await prepare();
    const stored = [...bench.disk.pages.keys()];
    const [from, to] = [512, bench.live(0).state.length];
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: from, max: to - 1 }), fc.nat(7), async (at, bit) => {
        const probes = spoil(bench, order, at, bit);
        const first = Math.floor(at / PAGE_BYTES / 16) * 16;
        const message = await bench.make({ ...order, probes });
        expect(message).toMatchObject({ kind: 'failed', code: 'STATE_DIVERGED' });
        const place = `Partition 0 at sequence ${order.place.sequence}: pages ${first} to `;
        if (message.kind === 'failed') expect(message.detail).toContain(place);
        expect([...bench.disk.pages.keys()]).toEqual(stored);
      }),
      { numRuns: 60 },
    );
    expect(await bench.make(order)).toMatchObject({ kind: 'made' });
  });

  test('a probe left out, doubled or at a wrong sequence is no comparison, and a defect', async () => {
    const { bench, order } = await prepare();
    const [first, ...rest] = order.probes as [Probe, ...Probe[]];
    for (const probes of [
      [],
      rest,
      order.probes.slice(0, -1),
      [first, first, ...rest],
      [{ ...first, sequence: 0 }, ...rest],
      [...order.probes.slice(0, -1), { ...(rest.at(-1) as Probe), sequence: order.place.sequence + 1 }],
    ]) {
      expect(await bench.make({ ...order, probes })).toMatchObject({ kind: 'failed', code: 'INTERNAL' });
    }
  });
});

describe('Damage', () => {
  test('of the log between two checkpoints is LOG_CORRUPT, and no checkpoint is written', async () => {
    const bench = new CheckpointBench();
    await bench.checkpoint(0);
    fill(bench, 0, 100);
    const order = await bench.order(0);
    const last = bench.logDisk.records.get(order.place.records);
    if (last) last[100] = (last[100] as number) ^ 1;
    expect(await bench.make(order)).toMatchObject({ kind: 'failed', code: 'LOG_CORRUPT' });
    expect(bench.openCheckpoints().manifest(0)?.generation).toBe(1);
  });

  test('of a checkpoint stops recovery and the next checkpoint', async () => {
    const bench = new CheckpointBench();
    await bench.checkpoint(0);
    const order = await bench.order(0);
    const page = bench.disk.pages.get('0.2.1');
    if (page) page[100] = (page[100] as number) ^ 1;
    await expect(bench.recover()).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
    expect(await bench.make(order)).toMatchObject({ kind: 'failed', code: 'LOG_CORRUPT' });
  });

  test('a checkpoint beyond the end of the log stops recovery', async () => {
    const bench = new CheckpointBench();
    fill(bench, 0, 10);
    await bench.flush();
    bench.kernels[0]?.step('a', 1n);
    await bench.checkpoint(0);
    for (const { records } of bench.logDisk.segments.values()) records.delete(bench.flushed.records);
    bench.mark.mark = { group: 1, heads: new Map() };
    await expect(bench.recover()).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
  });
});

describe('A checkpointer', () => {
  test('that is told to stop finishes its transaction, and nothing more', async () => {
    const bench = new CheckpointBench();
    fill(bench, 0, 20_000);
    const order = await bench.order(0);
    const messages = await bench.stopAfter(order, 2);
    expect(messages.at(-1)).toBe('stopped');
    expect(messages).not.toContain('made');
    expect(bench.disk.pages.size).toBe(PAGES_PER_WRITE);
    expect(bench.disk.manifests.size).toBe(0);
    await expectRecovered(bench);
  });

  test('gives the memory of its kernel back when it has had no order for half a second', async () => {
    const bench = new CheckpointBench();
    fill(bench, 0, 1_000);
    await bench.checkpoint(0);
    bench.clock.advance(499);
    expect(bench.collections).toBe(0);
    bench.clock.advance(1);
    expect(bench.collections).toBe(1);
    bench.clock.advance(60_000);
    expect(bench.collections).toBe(1);
    await bench.checkpoint(0);
    await expectRecovered(bench);
  });

  test('gives the copies of pages back with it', async () => {
    const bench = new CheckpointBench();
    fill(bench, 0, 1_000);
    const copies: WeakRef<ArrayBufferLike>[] = [];
    const checkpoints = bench.openCheckpoints();
    const { write } = checkpoints;
    checkpoints.write = (partition, generation, pages) => {
      for (const { bytes } of pages) copies.push(new WeakRef(bytes.buffer));
      return write.call(checkpoints, partition, generation, pages);
    };
    await bench.make(await bench.order(0), checkpoints);
    const collect = collecting();
    const kept = async () => {
      await new Promise((resolve) => setImmediate(resolve)); // a WeakRef that was looked into holds until the end of the turn
      collect();
      return copies.filter((copy) => copy.deref()).length;
    };
    expect(await kept()).toBe(copies.length);
    bench.clock.advance(500);
    expect(await kept()).toBe(0);
    expect(bench.checkpointers.length).toBe(1);
  });
});
