/**
 * How far it is from one thing that is looked at to the next, so that one of so many is: at random, as what comes at a fixed distance would be met
 * always or never. By xorshift32 (Marsaglia, "Xorshift RNGs", 2003).
 */
export class SampleDistances {
  readonly #mean: number;
  #random = 0x9e3779b9;

  constructor(mean: number) {
    this.#mean = mean;
  }

  /** 1 to twice the mean less one. */
  next(): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    return 1 + ((x >>> 8) % (2 * this.#mean - 1));
  }
}
