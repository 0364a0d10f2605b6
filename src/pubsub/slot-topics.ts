const LEAST_CELLS = 16;
/** 2^32 divided by the golden ratio: slots that follow each other are spread evenly. */
const SPREAD = 0x9e3779b1;

/**
 * Which topic the counter of a slot is. It is asked very often, of slots at random, so it is open addressing with linear probing (Knuth, The Art of Computer Programming 3, 6.4,
 * algorithms L and R), at most half full: what is found lies in one cache line most of the time.
 *
 *   cell: slot + 1, 0 where it is free | topic
 */
export class SlotTopics {
  #cells = new Uint32Array(2 * LEAST_CELLS);
  /** Of the numbers of cells, which are a power of 2. */
  #mask = LEAST_CELLS - 1;
  #shift = 32 - Math.log2(LEAST_CELLS);
  #size = 0;

  /** -1 where a slot has none. */
  get(slot: number): number {
    const at = 2 * this.#find(slot);
    return this.#cells[at] === 0 ? -1 : (this.#cells[at + 1] as number);
  }

  set(slot: number, topic: number): void {
    let at = 2 * this.#find(slot);
    if (this.#cells[at] === 0) {
      if (2 * ++this.#size > this.#mask) {
        this.#grow();
        at = 2 * this.#find(slot);
      }
      this.#cells[at] = slot + 1;
    }
    this.#cells[at + 1] = topic;
  }

  delete(slot: number): void {
    const [cells, mask] = [this.#cells, this.#mask];
    let free = this.#find(slot);
    if (cells[2 * free] === 0) return;
    this.#size--;
    for (let at = (free + 1) & mask; cells[2 * at] !== 0; at = (at + 1) & mask) {
      const home = this.#home((cells[2 * at] as number) - 1);
      // a cell whose search begins behind the free one is found without it
      if (((at - home) & mask) < ((at - free) & mask)) continue;
      cells.copyWithin(2 * free, 2 * at, 2 * at + 2);
      free = at;
    }
    cells[2 * free] = 0;
  }

  /** The cell of a slot, or the free one that it would have. */
  #find(slot: number): number {
    const [cells, mask] = [this.#cells, this.#mask];
    let at = this.#home(slot);
    while (cells[2 * at] !== 0 && cells[2 * at] !== slot + 1) at = (at + 1) & mask;
    return at;
  }

  #home(slot: number): number {
    return Math.imul(slot, SPREAD) >>> this.#shift;
  }

  #grow(): void {
    const cells = this.#cells;
    this.#cells = new Uint32Array(2 * cells.length);
    this.#mask = cells.length - 1;
    this.#shift--;
    for (let at = 0; at < cells.length; at += 2) {
      if (cells[at] === 0) continue;
      const to = 2 * this.#find((cells[at] as number) - 1);
      this.#cells.set(cells.subarray(at, at + 2), to);
    }
  }
}
