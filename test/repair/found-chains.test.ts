import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Chain, Group } from '../../src/log/group.js';
import { firstPlace } from '../../src/log/replay.js';
import { FoundChains } from '../../src/repair/found-chains.js';
import { type FoundRecord, findRecords } from '../../src/repair/found-records.js';
import { bodyOf, SHAPE } from '../log/writer.js';

let path: string;
let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tallystick-found-'));
  path = join(directory, 'log');
});
afterAll(() => rmSync(directory, { recursive: true }));

/** Groups of entries, one of each length, in the partition 2. */
function recordsOf(groups: readonly (readonly number[])[], time = 0): Uint8Array[] {
  const group = new Group(new Chain(SHAPE, firstPlace(SHAPE)));
  const records: Uint8Array[] = [];
  let sequence = 0;
  for (const lengths of groups) {
    for (const length of lengths) {
      sequence++;
      const header = { kind: 4, flags: 0, producer: 1, incarnation: 1, milliseconds: time + sequence };
      group.append(2, sequence, header, bodyOf(length, sequence));
    }
    const sealed = group.seal();
    records.push(...sealed.records.map((record) => record.slice()));
    group.reset();
  }
  return records;
}

function find(bytes: Uint8Array): FoundRecord[] {
  writeFileSync(path, bytes);
  const found: FoundRecord[] = [];
  findRecords(path, SHAPE.kernelVersion, (partition, record) => {
    expect(partition).toBe(2);
    found.push(record);
  });
  return found;
}

const HEAD = { sequence: 0, hash: 0n };
const sequencesOf = (chain: readonly FoundRecord[]) => chain.map(({ firstSequence }) => firstSequence);

describe('records', () => {
  test('are found wherever they lie, and just those that are whole', () => {
    const records = recordsOf([[10], [300, 20], [70_000], [1], [5_000]]);
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 50 }), { minLength: records.length + 1, maxLength: records.length + 1 }),
        fc.array(fc.option(fc.nat(10_000)), { minLength: records.length, maxLength: records.length }),
        (gaps, flips) => {
          const parts: Uint8Array[] = [];
          const expected: { offset: number; length: number }[] = [];
          let offset = 0;
          records.forEach((record, i) => {
            const bytes = record.slice();
            const flip = flips[i];
            if (typeof flip === 'number') bytes[flip % bytes.length] = (bytes[flip % bytes.length] as number) ^ 16;
            const gap = gaps[i] as Uint8Array;
            parts.push(gap, bytes);
            offset += gap.length;
            if (typeof flip !== 'number') expected.push({ offset, length: bytes.length });
            offset += bytes.length;
          });
          const found = find(Buffer.concat([...parts, gaps.at(-1) as Uint8Array]));
          expect(found.map(({ offset: at, length }) => ({ offset: at, length }))).toEqual(expected);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('are found across the end of what is read at a time', () => {
    const [record] = recordsOf([[40_000]]) as [Uint8Array];
    for (const before of [1, 20, 47, 39_000, 40_071]) {
      const bytes = new Uint8Array(9 * 1_048_576);
      bytes.set(record, 8 * 1_048_576 - before);
      expect(find(bytes).map(({ offset }) => offset)).toEqual([8 * 1_048_576 - before]);
    }
  });
});

describe('chains', () => {
  test('go as far as the records are whole, in whatever order they lie and however often', () => {
    const records = recordsOf([[10], [20], [30], [40], [50]]);
    const shuffled = [4, 1, 0, 3, 1, 2, 0].map((index) => records[index] as Uint8Array);
    expect(sequencesOf(new FoundChains(find(Buffer.concat(shuffled))).follow(HEAD))).toEqual([1, 2, 3, 4, 5]);
    const chains = new FoundChains(
      find(Buffer.concat([records[0], records[1], records[3], records[4]] as Uint8Array[])),
    );
    expect(sequencesOf(chains.follow(HEAD))).toEqual([1, 2]);
    expect(chains.others(chains.follow(HEAD), 2).map(sequencesOf)).toEqual([[4, 5]]);
  });

  test('go on with the record that was committed where two follow the same one', () => {
    const committed = recordsOf([[10], [20], [30]]);
    // The process died over the second group, and came back an hour before by its clock.
    const lost = recordsOf([[10], [21]], 0);
    for (const bytes of [
      [...committed, lost[1]],
      [committed[0], lost[1], committed[1], committed[2]],
    ] as Uint8Array[][]) {
      const chain = new FoundChains(find(Buffer.concat(bytes))).follow(HEAD);
      expect(sequencesOf(chain)).toEqual([1, 2, 3]);
      expect(chain[1]?.length).toBe(committed[1]?.length);
    }
  });

  test('of which neither goes on, take the later one', () => {
    const [first] = recordsOf([[10]], 0);
    const early = recordsOf([[20]], 0);
    const late = recordsOf([[30]], 5_000);
    expect(first).toBeDefined();
    for (const bytes of [
      [...early, ...late],
      [...late, ...early],
    ]) {
      const chain = new FoundChains(find(Buffer.concat(bytes))).follow(HEAD);
      expect(chain.map(({ length }) => length)).toEqual([late[0]?.length]);
    }
  });
});
