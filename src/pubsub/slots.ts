const LEAST_WORDS = 16;

/** Numbers of counters, a bit each up to the highest: whether one is among them is asked of each operation that is written, or of all that were at once. */
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

  /** Visits those that are marked, by a bit each. */
  visit(marks: Uint32Array, onSlot: (slot: number) => void): void {
    const words = Math.min(marks.length, this.#words.length);
    for (let at = 0; at < words; at++) {
      let bits = (marks[at] as number) & (this.#words[at] as number);
      for (; bits !== 0; bits &= bits - 1) onSlot(at * 32 + 31 - Math.clz32(bits & -bits));
    }
  }
}
