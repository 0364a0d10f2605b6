/**
 * Loads names into the cache: among a million, each is a miss of its own. Nothing else is in the loops, so that the misses overlap. What is no name is met
 * where it is written. What they give means nothing; kept, it keeps the loads from being optimised away.
 */

/** Names that are loaded together. */
export const STAGE = 64;

export function touchNames(names: readonly unknown[], to: number): number {
  let sum = 0;
  for (let i = 0; i < to; i++) sum += lastCharacter(names[i]);
  return sum;
}

export function touchOperations(operations: readonly { readonly name: unknown }[], from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += lastCharacter((operations[i] as { readonly name: unknown }).name);
  return sum;
}

/** A name may lie in two lines of the cache, and its length is in the first. */
const lastCharacter = (name: unknown): number => (typeof name === 'string' ? name.charCodeAt(name.length - 1) : 0);
