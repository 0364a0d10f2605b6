import { type Timer, type TurnClock, Turns } from '../../src/clock.js';
import { LONGEST_LATE_REST_MILLISECONDS } from '../../src/lane/roll-ups.js';

interface Event {
  readonly due: number;
  readonly order: number;
  readonly callback: () => void;
  cancelled: boolean;
}

/**
 * Time and order of a simulation: a queue of events. Time stands still while one is carried out and leaps to the next one;
 * events that are due at the same time happen in the order in which they were set.
 */
export class SimClock {
  /** How often the wall clock was set. */
  steps = 0;
  #now = 0;
  #wallOffset = 1_700_000_000_000;
  #order = 0;
  readonly #heap: Event[] = [];
  readonly #turns = new Turns();

  /** Milliseconds since the simulation began. */
  get now(): number {
    return this.#now;
  }

  get wall(): number {
    return Math.floor(this.#now + this.#wallOffset);
  }

  stepWall(milliseconds: number): void {
    this.steps++;
    this.#wallOffset += milliseconds;
  }

  after(milliseconds: number, callback: () => void): Timer {
    const due = this.#now + Math.max(0, milliseconds);
    const event = { due, order: this.#order++, callback, cancelled: false };
    this.#push(event);
    return {
      cancel: () => {
        event.cancelled = true;
      },
    };
  }

  /** When the next event is due; undefined if nothing is going to happen. */
  get nextDue(): number | undefined {
    while (this.#heap[0]?.cancelled) this.#pop();
    return this.#heap[0]?.due;
  }

  /** Lets the next event happen. */
  advance(): void {
    const event = this.#pop();
    this.#now = event.due;
    event.callback();
  }

  /** Whether something waits for the end of the turn. */
  get hasTurnEnds(): boolean {
    return this.#turns.pending > 0;
  }

  /** Ends the turn. What these callbacks add waits for the next end, as with setImmediate. */
  endTurn(): void {
    this.#turns.end();
  }

  awaitTurnEnd(callback: () => void): void {
    this.#turns.endOfTurn(callback);
  }

  awaitTurnAfter(callback: () => void): void {
    this.#turns.afterTurn(callback);
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent] as Event)) break;
      heap[at] = heap[parent] as Event;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Event {
    const heap = this.#heap;
    const first = heap[0] as Event;
    const last = heap.pop() as Event;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child++;
      if (!isBefore(heap[child] as Event, last)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.due < b.due || (a.due === b.due && a.order < b.order);
}

/** Timers of a minute and more, and rests between late roll-ups, of which no life here would see many, run so many times as fast. */
const LONG_MILLISECONDS = 60_000;
const TIMES = 1_000;

/** The clock of one thread of the server: once that is dead, nothing that it waits for happens. */
export class ProcessClock implements TurnClock {
  readonly #clock: SimClock;
  #alive = true;

  constructor(clock: SimClock) {
    this.#clock = clock;
  }

  get isAlive(): boolean {
    return this.#alive;
  }

  die(): void {
    this.#alive = false;
  }

  wallMilliseconds(): number {
    return this.#clock.wall;
  }

  monotonicMilliseconds(): number {
    return this.#clock.now;
  }

  setTimer(milliseconds: number, callback: () => void): Timer {
    const isLong = milliseconds >= LONG_MILLISECONDS || milliseconds === LONGEST_LATE_REST_MILLISECONDS;
    const after = isLong ? milliseconds / TIMES : milliseconds;
    return this.#clock.after(after, this.#whileAlive(callback));
  }

  endOfTurn(callback: () => void): void {
    this.#clock.awaitTurnEnd(this.#whileAlive(callback));
  }

  afterTurn(callback: () => void): void {
    this.#clock.awaitTurnAfter(this.#whileAlive(callback));
  }

  #whileAlive(callback: () => void): () => void {
    return () => {
      if (this.#alive) callback();
    };
  }
}
