import { describe, expect, it } from 'vitest';
import { Batches } from '../../load/batches.mjs';
import { decodeAdd } from '../../src/protocol/request.js';
import { decodeSee } from '../../src/protocol/uniques.js';

const counters = {
  names: ['a', 'bb', 'ccc', 'dddd'],
  partitions: [0, 1, 0, 1],
  slots: [10, 11, 12, 13],
  generations: [0, 1, 2, 3],
};
const round = () => {
  let turn = 0;
  return () => turn++ % 4;
};
const bodies = (batches: Batches) =>
  Array.from({ length: batches.count }, (_, i) =>
    decodeAdd(batches.bytes.subarray(batches.starts[i], batches.starts[i + 1]), 0),
  );

describe('batches made beforehand', () => {
  it('hold as many operations as asked for, of one partition each', () => {
    const batches = new Batches(counters, { size: 3, count: 4, key: 'name', pick: round() });
    const names = bodies(batches).map(({ operations }) => operations.map(({ key }) => 'name' in key && key.name));
    expect(batches.partitions).toEqual([0, 1, 0, 1]);
    expect(names).toEqual([
      ['a', 'ccc', 'a'],
      ['bb', 'dddd', 'bb'],
      ['ccc', 'a', 'ccc'],
      ['dddd', 'bb', 'dddd'],
    ]);
  });

  it('address counters by their ids', () => {
    const [first] = bodies(new Batches(counters, { size: 2, count: 1, key: 'id', pick: round() }));
    expect(first?.operations).toEqual([
      { key: { slot: 10, generation: 0 }, delta: 1n },
      { key: { slot: 12, generation: 2 }, delta: 1n },
    ]);
  });

  it('hold keys alone, or items to be filled in', () => {
    const shape = { size: 2, count: 1, key: 'name', pick: round() } as const;
    const keys = new Batches(counters, { ...shape, kind: 'keys' });
    expect([...keys.bytes]).toEqual([2, 4, 97, 12, 99, 99, 99]);
    const items = new Batches(counters, { ...shape, pick: round(), kind: 'items' });
    const item = new Uint8Array(8);
    expect(decodeSee(items.bytes, 0).sightings).toEqual([
      { key: { name: 'a' }, item },
      { key: { name: 'ccc' }, item },
    ]);
  });
});
