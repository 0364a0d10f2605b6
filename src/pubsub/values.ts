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

  set(index: number, value: number | bigint): void {
    const number = Number(value);
    const at = index * this.#stride + this.#offset;
    if (Number.isNaN(this.#numbers[at])) this.#large.delete(index);
    const isSafe = Number.isSafeInteger(number);
    this.#numbers[at] = isSafe ? number : Number.NaN;
    if (!isSafe) this.#large.set(index, BigInt(value));
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
