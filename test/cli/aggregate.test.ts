import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Aggregate } from '../../src/cli/ingest/aggregate.js';
import { FakeServer } from './fake-target.js';

const MAX = 2n ** 63n - 1n;
const roomy = { operations: 1_000, bytes: 1 << 20, perRecord: 1 };

describe('summing between batches', () => {
  it('sums increases and decreases by name, for each partition, until the batch is taken', () => {
    const aggregate = new Aggregate(new FakeServer(1), roomy);
    for (const [name, delta] of [
      ['a', 1n],
      ['b', 5n],
      ['a', -3n],
      ['a', 2n],
      ['a', -4n],
    ] as const)
      aggregate.add(name, delta);
    expect(aggregate.take(0)).toMatchObject({
      increments: 5,
      operations: [
        { name: 'a', delta: 3n },
        { name: 'b', delta: 5n },
        { name: 'a', delta: -7n },
      ],
    });
    expect(aggregate.has(0)).toBe(false);
    aggregate.add('a', 7n);
    expect(aggregate.take(0).operations).toEqual([{ name: 'a', delta: 7n }]);
    expect(aggregate.names).toEqual({ count: 2, exact: true });
  });

  it('begins a second operation of the same name where the sum would leave 64 bits', () => {
    const aggregate = new Aggregate(new FakeServer(1), roomy);
    for (const delta of [MAX, 1n, MAX, -MAX - 1n, -1n, -MAX]) aggregate.add('a', delta);
    expect(aggregate.take(0).operations.map(({ delta }) => delta)).toEqual([MAX, 1n, MAX, -MAX - 1n, -MAX - 1n]);
  });

  it('agrees with naive sums of increases and decreases, and every operation is in its own partition and within 64 bits', () => {
    const delta = fc.oneof(fc.bigInt({ min: -10n, max: 10n }), fc.constantFrom(MAX, -MAX - 1n));
    const minute = fc.constantFrom(undefined, 0, 60_000);
    const step = fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd'), delta, minute, take: fc.boolean() });
    const placeOf = (name: string, delta: bigint, minute?: number) => `${name} ${minute} ${delta < 0n ? '-' : '+'}`;
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const server = new FakeServer(3);
        const aggregate = new Aggregate(server, roomy);
        const sums = new Map<string, bigint>();
        const naive = new Map<string, bigint>();
        const take = (partition: number): void => {
          for (const { name, delta, time } of aggregate.take(partition).operations) {
            const place = placeOf(name, delta, time);
            expect(server.partitionOf(name)).toBe(partition);
            expect(BigInt.asIntN(64, delta)).toBe(delta);
            sums.set(place, (sums.get(place) ?? 0n) + delta);
          }
        };
        for (const { name, delta, minute, take: now } of steps) {
          const place = placeOf(name, delta, minute);
          naive.set(place, (naive.get(place) ?? 0n) + delta);
          aggregate.add(name, delta, minute);
          if (now) take(server.partitionOf(name));
        }
        for (const partition of [0, 1, 2]) take(partition);
        expect(sums).toEqual(naive);
      }),
    );
  });

  it('is full while one more record still fits, by operations and by bytes', () => {
    const few = new Aggregate(new FakeServer(1), { operations: 10, bytes: 1 << 20, perRecord: 3 });
    for (let index = 0; index < 7; index += 1) few.add(`n${index}`, 1n);
    expect(few.full.size).toBe(0);
    few.add('n7', 1n);
    expect([...few.full]).toEqual([0]);
    expect(few.take(0).operations.length).toBe(8);
    expect(few.full.size).toBe(0);

    const long = new Aggregate(new FakeServer(1), { operations: 10_000, bytes: 10_000, perRecord: 3 });
    while (long.full.size === 0) long.add(`${long.names.count}`.padEnd(1_000), 1n);
    expect(long.take(0).bytes + 3 * (1_024 + 24)).toBeGreaterThan(10_000);
    while (long.full.size === 0) long.add(`${long.names.count}`.padEnd(1_000), 1n);
    expect(long.take(0).bytes).toBeLessThanOrEqual(10_000);
  });

  it('forgets names to bound its memory, which changes no sum', () => {
    const aggregate = new Aggregate(new FakeServer(1), { operations: 10_000, bytes: 1 << 20, perRecord: 1 });
    let sum = 0n;
    const take = (): void => {
      for (const { name, delta } of aggregate.take(0).operations) if (name === 'often') sum += delta;
    };
    for (let index = 0; index < 300_000; index += 1) {
      aggregate.add(String(index), 1n);
      if (index % 1_000 === 0) aggregate.add('often', 1n);
      if (aggregate.full.size > 0) take();
    }
    take();
    expect(sum).toBe(300n);
    expect(aggregate.names).toEqual({ count: 1 << 18, exact: false });
  });
});
