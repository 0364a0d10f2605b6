import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HeavyHitters, type HotName, HotNames } from '../../src/lane/hot-names.js';
import { Partition } from '../../src/partition/partition.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { encodeAdd } from '../../src/protocol/request.js';
import { compileWasm } from '../../src/wasm.js';
import { ManualClock } from '../support/manual-clock.js';
import { Random } from '../support/random.js';

const CONFIGURATION = {
  partitions: 8,
  secret: new Uint8Array(16),
  maximumPages: 1_000,
  maximumProducers: 10,
  maximumOperationIds: 10,
  producerIdleMilliseconds: 1_000,
  operationIdMilliseconds: 1_000,
  windowBytes: 16_000_000,
};

describe('heavy hitters', () => {
  test('are all there, and counted at most their share of the stream too low', () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: 2, max: 20 }),
        fc.integer({ min: 0, max: 3_000 }),
        (seed, kept, length) => {
          const random = new Random(seed);
          const hitters = new HeavyHitters(kept);
          const truth = new Map<number, number>();
          for (let i = 0; i < length; i++) {
            // Some few often, many seldom.
            const key = random.oneIn(2) ? random.below(4) : random.below(500);
            hitters.add(key);
            truth.set(key, (truth.get(key) ?? 0) + 1);
          }
          expect(hitters.counts.size).toBeLessThan(2 * kept);
          for (const [key, count] of truth) {
            const found = hitters.counts.get(key) ?? 0;
            expect(found).toBeLessThanOrEqual(count);
            expect(found).toBeGreaterThanOrEqual(count - length / kept);
          }
        },
      ),
    );
  });
});

function world(threshold = 0) {
  const clock = new ManualClock();
  const kernel = compileWasm('kernel');
  const partitions = new Map([3, 5].map((number) => [number, new Partition(kernel)]));
  for (const [number, partition] of partitions) partition.configure({ ...CONFIGURATION, partition: number }, 0);
  const warnings: HotName[] = [];
  const hot = new HotNames({ partitions, clock, threshold, warn: (name) => warnings.push(name) });
  const add = (names: readonly string[]) => {
    const writer = new ByteWriter();
    const own = names.map((name) => ({ key: { name }, delta: 1n }));
    encodeAdd(writer, { operations: own });
    for (const [number, partition] of partitions) {
      if (partition.apply(Opcode.ADD, 0, 0, 0, 0, writer.view()) === 0) hot.take(number, partition);
    }
  };
  return { clock, hot, add, warnings, partitions };
}

/** Names of a partition of eight, found by trying: the kernel takes no others. */
function namesOf(partition: Partition, prefix: string, count: number): string[] {
  const names: string[] = [];
  for (let i = 0; names.length < count; i++) {
    const writer = new ByteWriter();
    encodeAdd(writer, { operations: [{ key: { name: `${prefix}${i}` }, delta: 0n }] });
    if (partition.apply(Opcode.ADD, 0, 0, 0, 0, writer.view()) === 0) names.push(`${prefix}${i}`);
  }
  return names;
}

describe('hot names', () => {
  test('are found in batches of any size, by name, with about their rates', async () => {
    const { clock, hot, add, partitions } = world();
    const few = namesOf(partitions.get(3) as Partition, 'hot', 2);
    const many = namesOf(partitions.get(5) as Partition, 'cold', 2_000);
    for (let round = 0; round < 600; round++) {
      add(Array.from({ length: 100 }, () => few[0] as string));
      for (let i = 0; i < 20; i++) add([few[1] as string]);
      add(Array.from({ length: 50 }, (_, i) => many[(round * 50 + i) % many.length] as string));
    }
    await clock.advance(5_000);
    const [first, second, third] = hot.top(3);
    // 60,000 and 12,000 operations in five seconds; a sample of 64 swings.
    expect(first?.name).toBe(few[0]);
    expect(first?.perSecond).toBeGreaterThan(12_000 * 0.85);
    expect(first?.perSecond).toBeLessThan(12_000 * 1.15);
    expect(second?.name).toBe(few[1]);
    expect(second?.perSecond).toBeGreaterThan(2_400 * 0.6);
    expect(second?.perSecond).toBeLessThan(2_400 * 1.4);
    expect(third?.perSecond ?? 0).toBeLessThan(300);
    expect(hot.top(1)).toHaveLength(1);
  });

  test('are those of the last ten to twenty seconds', async () => {
    const { clock, hot, add, partitions } = world();
    const [name = ''] = namesOf(partitions.get(3) as Partition, 'n', 1);
    for (let i = 0; i < 10; i++) add(Array.from({ length: 1_000 }, () => name));
    await clock.advance(15_000);
    expect(hot.top(5).map((each) => each.name)).toEqual([name]);
    await clock.advance(10_000);
    expect(hot.top(5)).toEqual([]);
  });

  test('that were deleted are not told', async () => {
    const { clock, hot, add, partitions } = world();
    const [name = ''] = namesOf(partitions.get(3) as Partition, 'n', 1);
    for (let i = 0; i < 10; i++) add(Array.from({ length: 1_000 }, () => name));
    const body = Buffer.concat([Buffer.from([name.length << 2]), Buffer.from(name), Buffer.from([1, 0x78])]);
    expect(partitions.get(3)?.apply(Opcode.DELETE, 0, 0, 0, 0, body)).toBe(0);
    await clock.advance(1_000);
    expect(hot.top(5)).toEqual([]);
  });

  test('are warned of at the end of each window in which one is hot enough, until it is closed', async () => {
    const { clock, hot, add, warnings, partitions } = world(900);
    const [name = ''] = namesOf(partitions.get(3) as Partition, 'n', 1);
    for (let i = 0; i < 20; i++) add(Array.from({ length: 1_000 }, () => name));
    await clock.advance(10_000);
    expect(warnings.map((each) => each.name)).toEqual([name]);
    await clock.advance(10_000);
    expect(warnings).toHaveLength(1);
    for (let i = 0; i < 5; i++) add(Array.from({ length: 1_000 }, () => name));
    await clock.advance(10_000);
    expect(warnings).toHaveLength(1);
    hot.close();
    await clock.advance(60_000);
    expect(warnings).toHaveLength(1);
  });
});
