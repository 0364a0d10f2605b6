const LEAST_WORDS = 16;

/** Numbers of counters, a bit each up to the highest: whether one is among them is asked of each operation that is written. */
export class Slots {
  #words = new Uint32Array(LEAST_WORDS);

  has(slot: number): boolean {
    const at = slot >>> 5;
    return at < this.#words.length && (((this.#words[at] as number) >>> (slot & 31)) & 1) === 1;
  }

  add(slot: number): void {
    const at = slot >>> 5;
    if (at >= this.#words.length) {
      const grown = new Uint32Array(Math.max(at + 1, 2 * this.#words.length));
      grown.set(this.#words);
      this.#words = grown;
    }
    this.#words[at] = (this.#words[at] as number) | (1 << (slot & 31));
  }

  delete(slot: number): void {
    const at = slot >>> 5;
    if (at < this.#words.length) this.#words[at] = (this.#words[at] as number) & ~(1 << (slot & 31));
  }
}
