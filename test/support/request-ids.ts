/** Times the constant by which ids are scattered (protocol/request-id.ts) it is 1. */
const INVERSE = 0x0e8b2f51;

/** The ids of small numbers all have one of the first places, however large the table is. */
export const idOfOnePlace = (number: number): number => Math.imul(number, INVERSE) >>> 0;
