import { Values } from './values.js';

/** Changes of followed names that a partition keeps for readers that come back. */
export const MOST_CHANGES = 16_384;

/** What topics were before they last changed: the last changes of a partition, all behind `floor`. */
export class Past {
  readonly #positions = new Float64Array(MOST_CHANGES);
  readonly #topics = new Int32Array(MOST_CHANGES);
  readonly #values = new Values(MOST_CHANGES);
  /** Of all changes that ever were, how many; the last ones lie at their numbers modulo the length. */
  #pushed = 0;
  #first = 0;
  #floor: number;

  constructor(floor: number) {
    this.#floor = floor;
  }

  /** Positions before this one can't be resumed from. */
  get floor(): number {
    return this.#floor;
  }

  /** Nothing is known of what was before a position. */
  restart(floor: number): void {
    this.#floor = floor;
    this.#first = this.#pushed;
  }

  /** A topic changed at a position, not below the last one; this is what it is before that. */
  push(position: number, topic: number, values: Values): void {
    const at = this.#pushed % MOST_CHANGES;
    if (this.#pushed - this.#first === MOST_CHANGES) {
      this.#floor = this.#positions[at] as number;
      this.#first++;
    }
    this.#positions[at] = position;
    this.#topics[at] = topic;
    this.#values.setFrom(at, values, topic);
    this.#pushed++;
  }

  /** Visits what changed behind a position, which is not below the floor, the last change first: what is visited last of a topic is what it was there. */
  visit(position: number, visit: (topic: number, values: Values, at: number) => void): void {
    for (let number = this.#pushed - 1; number >= this.#first; number--) {
      const at = number % MOST_CHANGES;
      if ((this.#positions[at] as number) <= position) return;
      visit(this.#topics[at] as number, this.#values, at);
    }
  }
}
