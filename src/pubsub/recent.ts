import type { Change } from './subscriber.js';

/** What was published with one position. */
export interface Published {
  readonly position: number;
  readonly changes: readonly Change[];
}

/** Changes that a partition keeps for readers that come back. */
const MOST_CHANGES = 16_384;

/** The last changes of a partition, in order: all behind `floor`. */
export class Recent {
  #groups: Published[] = [];
  #first = 0;
  #changes = 0;
  #floor: number;

  constructor(floor: number) {
    this.#floor = floor;
  }

  /** Positions before this one can't be resumed from. */
  get floor(): number {
    return this.#floor;
  }

  push(group: Published): void {
    this.#groups.push(group);
    this.#changes += group.changes.length;
    while (this.#changes > MOST_CHANGES) {
      const oldest = this.#groups[this.#first++] as Published;
      this.#changes -= oldest.changes.length;
      this.#floor = oldest.position;
    }
    if (this.#first <= this.#groups.length / 2) return;
    this.#groups = this.#groups.slice(this.#first);
    this.#first = 0;
  }

  /** What was published behind a position, which is not below the floor. */
  *since(position: number): Generator<Published> {
    let low = this.#first;
    let high = this.#groups.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#groups[middle] as Published).position <= position) low = middle + 1;
      else high = middle;
    }
    for (let i = low; i < this.#groups.length; i++) yield this.#groups[i] as Published;
  }
}
