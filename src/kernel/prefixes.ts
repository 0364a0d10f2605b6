import { areSame } from './bytes';
import { PREFIXES } from './layout';

/**
 * What many names begin with, and is kept once for all of them: up to 31 prefixes, which stay for good. They are found out as names come: now and then one is
 * held against another (names.ts), and what both begin with is likely to be what many do.
 *
 *   64 bytes each, at PREFIXES + 64 × number: 1, 2, 3 …
 *
 *   0            2       8                     64
 *   | u16 length | 0 …   | up to 56 bytes, 0 … |
 *
 * Number 0 is no prefix; its length is 0. In its place are how many looks there were (LOOKS).
 */
const PREFIX_SHIFT: u32 = 6;
const MOST_PREFIXES: u32 = 31;
const BYTES_AT: u32 = 8;
const MOST_BYTES: u32 = 56;
/** What a prefix must save of a name, beside what one that is there saves. */
const LEAST_GAIN: u32 = 4;

export function prefixLength(number: u32): u32 {
  return <u32>load<u16>(PREFIXES + (number << PREFIX_SHIFT));
}

export function prefixBytes(number: u32): u32 {
  return PREFIXES + (number << PREFIX_SHIFT) + BYTES_AT;
}

/** The number of the longest prefix that a name has; 0 if it has none. */
export function prefixOf(pointer: u32, length: u32): u32 {
  let longest: u32 = 0;
  let bytes: u32 = 0;
  for (let number: u32 = 1; number <= MOST_PREFIXES; number++) {
    const candidate = prefixLength(number);
    if (!candidate) break;
    if (candidate <= bytes || candidate > length || !areSame(prefixBytes(number), pointer, candidate)) continue;
    longest = number;
    bytes = candidate;
  }
  return longest;
}

/** Takes what two names begin with for a prefix, unless it is one of them, or saves hardly more than those that are there. */
export function learnPrefix(name: u32, length: u32, other: u32, otherLength: u32): void {
  const shorter = min<u32>(length, otherLength);
  const common = commonBytes(name, other, min<u32>(shorter, MOST_BYTES));
  if (common < shorter && common >= prefixLength(prefixOf(name, length)) + LEAST_GAIN) addPrefix(name, common);
}

function addPrefix(pointer: u32, length: u32): void {
  for (let number: u32 = 1; number <= MOST_PREFIXES; number++) {
    if (prefixLength(number)) continue;
    store<u16>(PREFIXES + (number << PREFIX_SHIFT), <u16>length);
    memory.copy(prefixBytes(number), pointer, length);
    return;
  }
}

function commonBytes(one: u32, other: u32, most: u32): u32 {
  let count: u32 = 0;
  while (count < most && load<u8>(one + count) === load<u8>(other + count)) count++;
  return count;
}
