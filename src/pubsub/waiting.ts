import type { ByteWriter } from '../protocol/bytes.js';
import { TOLD_KIND, writeToldName } from '../protocol/tail.js';
import type { Change, Found } from './subscriber.js';
import { narrowed, sum, Values } from './values.js';

/** Room that is kept while nothing waits. */
const LEAST_ROOM = 16;
const MOST_KEPT_ROOM = 1_024;

const { ABSENT, VALUE, CHANGE, DELETED } = TOLD_KIND;
const isGone = (kind: number): boolean => kind === ABSENT || kind === DELETED;

/**
 * What is to be told of counters, folded together by name, in the order in which they came first. Readers that take nothing may be very many, so that each counter
 * is a number in a map and 17 bytes beside it:
 *
 *   #numbers: name -> 7  8  9  …        at their numbers modulo the room:  value | delta | kind
 *                     └ told next
 */
export class Waiting {
  readonly #numbers = new Map<string, number>();
  #next = 0;
  /** How many are not there any more. */
  #gone = 0;
  #room = LEAST_ROOM;
  #values = new Values(LEAST_ROOM);
  #deltas = new Values(LEAST_ROOM);
  #kinds = new Uint8Array(LEAST_ROOM);

  get size(): number {
    return this.#numbers.size;
  }

  /** Whether counters wait that are not there any more. */
  get hasGone(): boolean {
    return this.#gone > 0;
  }

  clear(): void {
    this.#numbers.clear();
    this.#next = 0;
    this.#gone = 0;
    if (this.#room > MOST_KEPT_ROOM) this.#make(LEAST_ROOM);
  }

  /** A counter was told before, and has changed since. */
  fold({ name, value, exists, delta }: Omit<Change, 'slot'>): void {
    const known = this.#numbers.get(name);
    const at = (known ?? this.#add(name)) % this.#room;
    const isFound = known !== undefined && (this.#kinds[at] === VALUE || this.#kinds[at] === ABSENT);
    this.#values.set(at, value);
    // of what was never told only the value means anything
    if (!isFound) this.#deltas.set(at, known === undefined ? delta : sum(this.#deltas.at(at), narrowed(delta)));
    if (known !== undefined && isGone(this.#kinds[at] as number)) this.#gone--;
    if (!exists) this.#gone++;
    this.#kinds[at] = isFound ? (exists ? VALUE : ABSENT) : exists ? CHANGE : DELETED;
  }

  /** A counter is told for the first time, whatever else of its name waits. */
  find({ name, value }: Found): void {
    const known = this.#numbers.get(name);
    const at = (known ?? this.#add(name)) % this.#room;
    this.#values.set(at, value);
    if (known !== undefined && isGone(this.#kinds[at] as number)) this.#gone--;
    this.#kinds[at] = VALUE;
  }

  /** Writes what came first until there are so many bytes, and forgets it; how many counters. */
  write(items: ByteWriter, bytes: number): number {
    let count = 0;
    for (const [name, number] of this.#numbers) {
      if (items.length >= bytes) return count;
      const at = number % this.#room;
      const kind = this.#kinds[at] as number;
      writeToldName(items, name, kind);
      if (kind === VALUE || kind === CHANGE) items.zigzag(this.#values.at(at));
      if (kind === CHANGE || kind === DELETED) items.zigzag(this.#deltas.at(at));
      if (isGone(kind)) this.#gone--;
      this.#numbers.delete(name);
      count++;
    }
    this.clear();
    return count;
  }

  /** Its number. */
  #add(name: string): number {
    if (this.#numbers.size === this.#room) this.#grow();
    this.#numbers.set(name, this.#next);
    return this.#next++;
  }

  #grow(): void {
    const [room, values, deltas, kinds] = [this.#room, this.#values, this.#deltas, this.#kinds];
    this.#make(2 * room);
    for (const number of this.#numbers.values()) {
      const [from, to] = [number % room, number % this.#room];
      this.#values.set(to, values.at(from));
      this.#deltas.set(to, deltas.at(from));
      this.#kinds[to] = kinds[from] as number;
    }
  }

  #make(room: number): void {
    this.#room = room;
    this.#values = new Values(room);
    this.#deltas = new Values(room);
    this.#kinds = new Uint8Array(room);
  }
}
