import type { Clock, Timer } from '../clock.js';

/** Who waits for so long at most, once. What is linked here is of the list that it is in. */
export interface Timed {
  due: number;
  previous: Timed | undefined;
  next: Timed | undefined;
  list: DeadlineList | undefined;
  /** So many milliseconds have passed. */
  expired(milliseconds: number): void;
}

/**
 * The deadlines of a client: for each length of time those who wait that long, in the order in which they came, which is that of
 * their ends. One timer is enough for all of them. A timer for each call was a fifth of what a client needs for an increment.
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #lists = new Map<number, DeadlineList>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(timed: Timed, milliseconds: number): void {
    const list = this.#lists.get(milliseconds) ?? this.#begin(milliseconds);
    list.add(timed);
  }

  /** Not within `add`, which would make room for the closure in each call, also where there is a list. */
  #begin(milliseconds: number): DeadlineList {
    const list = new DeadlineList(this.#clock, milliseconds, () => this.#lists.delete(milliseconds));
    this.#lists.set(milliseconds, list);
    return list;
  }
}

/** Those who wait as long. */
export class DeadlineList {
  readonly #clock: Clock;
  readonly #milliseconds: number;
  readonly #onEmpty: () => void;
  #first: Timed | undefined;
  #last: Timed | undefined;
  /** Set while somebody waits, for the end of who was first when it was set. */
  #timer: Timer | undefined;

  constructor(clock: Clock, milliseconds: number, onEmpty: () => void) {
    this.#clock = clock;
    this.#milliseconds = milliseconds;
    this.#onEmpty = onEmpty;
  }

  add(timed: Timed): void {
    timed.list = this;
    // A whole number needs no object of its own in the engine's heap
    timed.due = Math.ceil(this.#clock.monotonicMilliseconds() + this.#milliseconds);
    timed.previous = this.#last;
    if (this.#last) this.#last.next = timed;
    else this.#begin(timed);
    this.#last = timed;
  }

  remove(timed: Timed): void {
    const { previous, next } = timed;
    if (previous) previous.next = next;
    else this.#first = next;
    if (next) next.previous = previous;
    else this.#last = previous;
    timed.list = undefined;
    timed.previous = undefined;
    timed.next = undefined;
    if (this.#first) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#onEmpty();
  }

  #begin(first: Timed): void {
    this.#first = first;
    this.#await(this.#milliseconds);
  }

  #await(milliseconds: number): void {
    this.#timer = this.#clock.setTimer(milliseconds, () => this.#expire());
  }

  #expire(): void {
    this.#timer = undefined;
    const now = this.#clock.monotonicMilliseconds();
    for (let first = this.#first; first && first.due <= now; first = this.#first) {
      this.remove(first);
      first.expired(this.#milliseconds);
    }
    if (this.#first) this.#await(this.#first.due - now);
  }
}
