/** What stands where there is no counter, and where nothing is known: both are 0 as values. The first is what Marks reads. */
export const ABSENT = Number.POSITIVE_INFINITY;
export const UNKNOWN = Number.NEGATIVE_INFINITY;

/**
 * Signed 64-bit values of counters by index, ABSENT or UNKNOWN: those that a number holds exactly as numbers, which are compared and subtracted without an object for
 * each. All is one number, so that where very many are looked at, all over, each is one load.
 */
export class Values {
  /** NaN where the value is beyond 2^53 - 1. */
  #numbers: Float64Array;
  readonly #large = new Map<number, bigint>();

  /** So many that are 0, or these numbers, which are its own from now on: where one is NaN, the value is to be set. */
  constructor(numbers: number | Float64Array) {
    this.#numbers = typeof numbers === 'number' ? new Float64Array(numbers) : numbers;
  }

  /** As a number where it is one, else as a bigint. */
  at(index: number): number | bigint {
    const number = this.numberAt(index);
    if (Number.isNaN(number)) return this.#large.get(index) as bigint;
    return Number.isFinite(number) ? number : 0;
  }

  /** As a number, ABSENT, UNKNOWN, else NaN: without an object for it, where very many are looked at. */
  numberAt(index: number): number {
    return this.#numbers[index] as number;
  }

  /** Whether there is a counter. */
  isPresent(index: number): boolean {
    return Math.abs(this.numberAt(index)) !== ABSENT;
  }

  /** Whether a value is that of others. */
  isSame(index: number, others: Values, other: number): boolean {
    const [a, b] = [this.numberAt(index), others.numberAt(other)];
    return a === b || (Number.isNaN(a) && Number.isNaN(b) && this.#large.get(index) === others.#large.get(other));
  }

  /** A number may be ABSENT or UNKNOWN. */
  set(index: number, value: number | bigint): void {
    const number = Number(value);
    const isLarge = Number.isFinite(number) && !Number.isSafeInteger(number);
    this.#setNumber(index, isLarge ? Number.NaN : number);
    if (isLarge) this.#large.set(index, BigInt(value));
  }

  fill(value: number): void {
    this.#numbers.fill(value);
    this.#large.clear();
  }

  /** Sets a value to that of others. */
  setFrom(index: number, others: Values, other: number): void {
    const number = others.numberAt(other);
    this.#setNumber(index, number);
    if (Number.isNaN(number)) this.#large.set(index, others.#large.get(other) as bigint);
  }

  /** There are so many of them from now on, not less than before. */
  grow(length: number): void {
    const numbers = new Float64Array(length);
    numbers.set(this.#numbers);
    this.#numbers = numbers;
  }

  #setNumber(index: number, number: number): void {
    if (Number.isNaN(this.#numbers[index])) this.#large.delete(index);
    this.#numbers[index] = number;
  }
}

/** As a number where it is one exactly. */
export function narrowed(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Modulo 2^64. */
export function sum(a: number | bigint, b: number | bigint): number | bigint {
  if (typeof a === 'number' && typeof b === 'number') {
    const both = a + b;
    if (Number.isSafeInteger(both)) return both;
  }
  return BigInt.asIntN(64, BigInt(a) + BigInt(b));
}

/** `value - before`, modulo 2^64. */
export function difference(value: number | bigint, before: number | bigint): number | bigint {
  if (typeof value === 'number' && typeof before === 'number') {
    const delta = value - before;
    if (Number.isSafeInteger(delta)) return delta;
  }
  return BigInt.asIntN(64, BigInt(value) - BigInt(before));
}
