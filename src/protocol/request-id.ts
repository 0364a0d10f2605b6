/** 2^32 over the golden ratio: ids that follow each other come to lie far from each other (Knuth, vol. 3, 6.4). */
const GOLDEN = 0x9e3779b1;

/**
 * The place of a request id in a table by open addressing of 2^(32 - shift) slots. Ids of a client follow each other: if each had the place that it names, those
 * that wait would be one run without a gap, and to take the oldest one out would look at all.
 */
export function placeOfId(requestId: number, shift: number): number {
  return Math.imul(requestId, GOLDEN) >>> shift;
}
