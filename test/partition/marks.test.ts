import { describe, expect, it } from 'vitest';
import { Partition } from '../../src/partition/partition.js';
import { Watch } from '../../src/partition/touched.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { encodeAdd, encodeDelete, encodeOpen, encodeSet } from '../../src/protocol/request.js';
import { bodyOf, configuration, module, START } from '../kernel/fixture.js';
import { Random } from '../support/random.js';

const BATCH = 10_000;

/** A partition that applies bodies of no producer. */
function start(): { partition: Partition; apply: (kind: number, body: Uint8Array) => void } {
  const partition = new Partition(module);
  partition.configure(configuration, START);
  const apply = (kind: number, body: Uint8Array) => expect(partition.apply(kind, 0, 0, 0, START, body)).toBe(0);
  return { partition, apply };
}

/** What is read of the marked ones among some slots, in the order in which it comes. */
function read({ marks }: Partition, among: ReadonlySet<number>): [slot: number, value: number][] {
  const bits = new Uint32Array(Math.ceil((Math.max(-1, ...among) + 1) / 32));
  for (const slot of among) bits[slot >>> 5] = (bits[slot >>> 5] as number) | (1 << (slot & 31));
  const found: [number, number][] = [];
  marks.read(bits, (slots, values) => slots.forEach((slot, i) => void found.push([slot, values[i] as number])));
  return found;
}

describe('Marked counters', () => {
  it('are read as they are looked at one by one, and nothing is changed by that', () => {
    const values = [0n, 1n, -1n, 2n ** 53n - 1n, 2n ** 53n, 1n - 2n ** 53n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n)];
    const random = new Random(7);
    for (let run = 0; run < 40; run++) {
      const { partition, apply } = start();
      const names = Array.from({ length: 1 + random.below(150) }, (_, i) => `n-${i}`);
      apply(Opcode.OPEN, bodyOf(encodeOpen, names));
      for (const name of names) {
        if (random.oneIn(2)) apply(Opcode.SET, bodyOf(encodeSet, { key: { name }, value: 5n, reason: 'r' }));
      }
      partition.watch(Watch.MARKS);
      const touched = new Set<number>();
      names.forEach((name, slot) => {
        if (random.oneIn(2)) return;
        touched.add(slot);
        if (random.oneIn(4)) {
          // refused, so that a counter that was only opened stays without a value
          apply(Opcode.ADD, bodyOf(encodeAdd, { operations: [{ key: { name }, delta: 9n, max: 1n }] }));
          return;
        }
        apply(Opcode.SET, bodyOf(encodeSet, { key: { name }, value: random.pick(values), reason: 'r' }));
        if (!random.oneIn(5)) return;
        apply(Opcode.DELETE, bodyOf(encodeDelete, { key: { name }, reason: 'r' }));
        touched.delete(slot); // its slot may be another's
      });
      const among = new Set([...names.keys()].filter(() => !random.oneIn(3)));
      const hash = partition.stateHash;
      const expected = [...touched]
        .filter((slot) => among.has(slot))
        .map((slot) => {
          const value = partition.valueOfSlot(slot);
          const number = typeof value === 'bigint' ? Number.NaN : (value ?? Number.POSITIVE_INFINITY);
          return [slot, number];
        });
      expect(read(partition, among)).toEqual(expected);
      expect(partition.stateHash).toBe(hash);
      partition.watch(Watch.MARKS);
      expect(read(partition, among)).toEqual([]);
    }
  });

  it('are all read where they are more than one call of the kernel tells', () => {
    const { partition, apply } = start();
    const count = 50_003;
    const operations = Array.from({ length: count }, (_, i) => ({ key: { name: `n-${i}` }, delta: BigInt(i) }));
    const addAll = () => {
      for (let from = 0; from < count; from += BATCH) {
        const body = new ByteWriter();
        encodeAdd(body, { operations: operations.slice(from, from + BATCH) });
        apply(Opcode.ADD, body.view());
      }
    };
    addAll();
    partition.watch(Watch.MARKS);
    addAll();
    const slots = new Set(Array.from({ length: count }, (_, slot) => slot));
    expect(read(partition, slots)).toEqual([...slots].map((slot) => [slot, 2 * slot]));
  });
});
