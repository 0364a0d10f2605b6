/** Slots that follow each other have their topics beside each other, so many in a row. */
const ROW = 8;
const ROW_BITS = 3;
const LEAST_ROWS = 16;
const NONE = -1;

/**
 * Which topic the counter of a slot is. It is asked very often, mostly of slots in their order: a table of rows, of which there are those that have any topic.
 *
 *   slot  ─► #rows: number of its row + 1, 0 where it has none ─► #topics: topic of each of its slots
 *         └► words: whether it has a topic, a bit each
 */
export class SlotTopics {
  #rows = new Uint32Array(LEAST_ROWS);
  #topics = new Int32Array(ROW * LEAST_ROWS).fill(NONE);
  /** Rows that were taken, and those of them that are free again. */
  #taken = 0;
  readonly #free: number[] = [];
  #words = new Uint32Array((ROW * LEAST_ROWS) / 32);

  /** A bit for each slot, up to the highest that had a topic: whether it has one. */
  get words(): Uint32Array {
    return this.#words;
  }

  /** -1 where a slot has none. */
  get(slot: number): number {
    const at = slot >>> ROW_BITS;
    const row = at < this.#rows.length ? (this.#rows[at] as number) : 0;
    return row === 0 ? NONE : (this.#topics[placeOf(row, slot)] as number);
  }

  set(slot: number, topic: number): void {
    const at = slot >>> ROW_BITS;
    if (at >= this.#rows.length) this.#grow(at + 1);
    const row = (this.#rows[at] as number) || this.#takeRow();
    this.#rows[at] = row;
    this.#topics[placeOf(row, slot)] = topic;
    this.#words[slot >>> 5] = (this.#words[slot >>> 5] as number) | (1 << (slot & 31));
  }

  delete(slot: number): void {
    if (this.get(slot) === NONE) return;
    const at = slot >>> ROW_BITS;
    const row = this.#rows[at] as number;
    const word = (this.#words[slot >>> 5] as number) & ~(1 << (slot & 31));
    this.#topics[placeOf(row, slot)] = NONE;
    this.#words[slot >>> 5] = word;
    const isEmpty = ((word >>> (slot & 31 & -ROW)) & (2 ** ROW - 1)) === 0;
    if (!isEmpty) return;
    this.#rows[at] = 0;
    this.#free.push(row);
  }

  #takeRow(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#taken * ROW === this.#topics.length) {
      const grown = new Int32Array(2 * this.#topics.length).fill(NONE);
      grown.set(this.#topics);
      this.#topics = grown;
    }
    return ++this.#taken;
  }

  #grow(rows: number): void {
    const length = Math.max(Math.ceil(rows / 4) * 4, 2 * this.#rows.length);
    const [grownRows, words] = [new Uint32Array(length), new Uint32Array((length * ROW) / 32)];
    grownRows.set(this.#rows);
    words.set(this.#words);
    this.#rows = grownRows;
    this.#words = words;
  }
}

function placeOf(row: number, slot: number): number {
  return (row - 1) * ROW + (slot & (ROW - 1));
}
