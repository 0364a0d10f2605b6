/** Signed 64-bit values by index: those that a number holds exactly as numbers, which are compared and subtracted without an object for each. */
export class Values {
  /** NaN where the value is beyond 2^53 - 1. */
  #numbers: Float64Array;
  readonly #stride: number;
  readonly #offset: number;
  readonly #large = new Map<number, bigint>();

  /** So many, or the fields of records: at `offset` of each `stride` numbers. */
  constructor(numbers: number | Float64Array, stride = 1, offset = 0) {
    this.#numbers = typeof numbers === 'number' ? new Float64Array(numbers) : numbers;
    this.#stride = stride;
    this.#offset = offset;
  }

  /** As a number where it is one, else as a bigint. */
  at(index: number): number | bigint {
    const number = this.#numbers[index * this.#stride + this.#offset] as number;
    return Number.isNaN(number) ? (this.#large.get(index) as bigint) : number;
  }

  /** As a number, else NaN: without an object for it, where very many are looked at. */
  numberAt(index: number): number {
    return this.#numbers[index * this.#stride + this.#offset] as number;
  }

  /** Whether a value is that of others. */
  isSame(index: number, others: Values, other: number): boolean {
    const [a, b] = [this.numberAt(index), others.numberAt(other)];
    return a === b || (Number.isNaN(a) && Number.isNaN(b) && this.#large.get(index) === others.#large.get(other));
  }

  set(index: number, value: number | bigint): void {
    const number = Number(value);
    const isSafe = Number.isSafeInteger(number);
    this.#setNumber(index, isSafe ? number : Number.NaN);
    if (!isSafe) this.#large.set(index, BigInt(value));
  }

  /** Sets a value to that of others. */
  setFrom(index: number, others: Values, other: number): void {
    const number = others.numberAt(other);
    this.#setNumber(index, number);
    if (Number.isNaN(number)) this.#large.set(index, others.#large.get(other) as bigint);
  }

  #setNumber(index: number, number: number): void {
    const at = index * this.#stride + this.#offset;
    if (Number.isNaN(this.#numbers[at])) this.#large.delete(index);
    this.#numbers[at] = number;
  }

  /** Its numbers have been moved. */
  moved(numbers: Float64Array): void {
    this.#numbers = numbers;
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
