import { TallystickError } from '../errors.js';

/**
 * The cursors of producers under another number of partitions.
 *
 * A cursor of partition p says: what of the input belongs to p is counted up to here. With `from` partitions a name of hash h belongs to
 * h mod from, with `to` to h mod to. Both are h modulo g = gcd(from, to), so the names of a new partition q come from the
 * old partitions p with p = q (mod g), and from all of these. What they say of q together is what each of them says if
 * they say the same; if they differ, no place in the input is right for q: before the greatest one something would be counted
 * twice, behind the smallest one something would be lost.
 */

/** By producer (its id in hexadecimal): the cursor in each old partition that has one. */
export type CursorsOfProducers = ReadonlyMap<string, ReadonlyMap<number, Uint8Array>>;

export interface NewCursor {
  readonly producer: string;
  readonly partition: number;
  readonly cursor: Uint8Array;
}

/** @throws TallystickError CURSORS_DIFFER */
export function newCursors(producers: CursorsOfProducers, from: number, to: number): NewCursor[] {
  const step = greatestCommonDivisor(from, to);
  const cursors: NewCursor[] = [];
  for (const [producer, old] of producers) {
    for (let partition = 0; partition < to; partition++) {
      const cursor = old.get(partition % step);
      for (let source = partition % step; source < from; source += step) {
        if (isSame(cursor, old.get(source))) continue;
        throw new TallystickError(
          'CURSORS_DIFFER',
          `Producer ${producer} is not as far in partition ${source} as in partition ${partition % step}.`,
        );
      }
      if (cursor) cursors.push({ producer, partition, cursor });
    }
  }
  return cursors;
}

function isSame(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
