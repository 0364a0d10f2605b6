import { type Change, wrapped } from './subscriber.js';

/** What happened to a counter within an interval. */
type Gathering = Omit<Change, 'slot'>;

/** Counters whose changes are gathered before they are given out early. */
const MOST_GATHERED = 16_384;

/** The changes of an interval, folded together by name: once for all who have the same one, however many there are. */
export class Gathered {
  readonly #changes = new Map<string, Gathering>();
  /** How many they are. */
  feeds = 0;
  /** Up to where all has been given out. */
  position = 0;

  get isEmpty(): boolean {
    return this.#changes.size === 0;
  }

  get isFull(): boolean {
    return this.#changes.size >= MOST_GATHERED;
  }

  add({ name, value, exists, delta }: Change): void {
    const before = this.#changes.get(name)?.delta ?? 0n;
    this.#changes.set(name, { name, value, exists, delta: wrapped(before + delta) });
  }

  /** What was gathered up to a position, which is nothing from then on. */
  take(position: number): Gathering[] {
    this.position = position;
    const changes = [...this.#changes.values()];
    this.#changes.clear();
    return changes;
  }
}
