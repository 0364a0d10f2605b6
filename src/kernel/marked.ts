import { existsAt, slotAddress, valueAt } from './cells';
import { ANSWER, MARKS, MARKS_OF_A_CALL, RECEIVE, REGISTER_NEXT } from './layout';

/** 2^53 - 1: up to there a number of the host is exact. */
const MOST_EXACT: i64 = 9007199254740991;

/**
 * What those marked counters are (touched.ts) whose slots have a bit in the `words` at RECEIVE too, in the order of their slots, from a word on:
 *
 *   ANSWER   f64 value of each, as the host has numbers: NaN where it is beyond 2^53 - 1, infinite where the counter does not exist
 *            behind MARKS_OF_A_CALL of those: u32 slot of each
 *
 * Returns how many; REGISTER_NEXT is the word to go on from, 0 at the end.
 */
export function readMarked(words: u32, from: u32): u32 {
  const slots = ANSWER + MARKS_OF_A_CALL * 8;
  let count: u32 = 0;
  let at = from;
  for (; at < words && count + 32 <= MARKS_OF_A_CALL; at++) {
    let bits = load<u32>(MARKS + at * 4) & load<u32>(RECEIVE + at * 4);
    for (; bits; bits &= bits - 1, count++) {
      const slot = at * 32 + ctz(bits);
      store<f64>(ANSWER + count * 8, numberAt(slotAddress(slot)));
      store<u32>(slots + count * 4, slot);
    }
  }
  store<u32>(REGISTER_NEXT, at < words ? at : 0);
  return count;
}

function numberAt(cell: u32): f64 {
  if (!existsAt(cell)) return Infinity;
  const value = valueAt(cell);
  return <u64>(value + MOST_EXACT) <= <u64>(2 * MOST_EXACT) ? <f64>value : NaN;
}
