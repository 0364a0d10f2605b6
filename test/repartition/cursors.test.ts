import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { newCursors } from '../../src/repartition/cursors.js';

const COUNTS = [1, 2, 3, 4, 6, 8, 12, 16];
const counts = fc.constantFrom(...COUNTS);
const at = (place: number) => Uint8Array.of(place, 7);

describe('cursors under another number of partitions', () => {
  test('are kept where every old partition has come as far, whatever the numbers are', () => {
    fc.assert(
      fc.property(counts, counts, (from, to) => {
        const old = new Map(Array.from({ length: from }, (_, partition) => [partition, at(9)]));
        const cursors = newCursors(new Map([['p', old]]), from, to);
        expect(cursors).toEqual(
          Array.from({ length: to }, (_, partition) => ({ producer: 'p', partition, cursor: at(9) })),
        );
      }),
    );
  });

  test('are right for each name of a new partition, or refused: the cursor of the partition that had the name', () => {
    const hashes = Array.from({ length: 96 }, (_, hash) => hash);
    fc.assert(
      fc.property(
        counts,
        counts,
        fc.array(fc.option(fc.nat(2)), { minLength: 16, maxLength: 16 }),
        (from, to, places) => {
          const old = new Map<number, Uint8Array>();
          for (let partition = 0; partition < from; partition++) {
            const place = places[partition];
            if (place !== null && place !== undefined) old.set(partition, at(place));
          }
          // What every name says of its new partition; they must say the same.
          const said = new Map<number, Set<string>>();
          for (const hash of hashes) {
            const who = said.get(hash % to) ?? new Set<string>();
            said.set(hash % to, who.add(String(old.get(hash % from))));
          }
          const isSound = [...said.values()].every((who) => who.size === 1);
          const make = () => newCursors(new Map([['p', old]]), from, to);
          if (!isSound) {
            expect(make).toThrow('CURSORS_DIFFER');
            return;
          }
          const made = new Map(make().map(({ partition, cursor }) => [partition, cursor]));
          for (const [partition, [only]] of said) expect(String(made.get(partition))).toBe(only);
        },
      ),
      { numRuns: 500 },
    );
  });
});
