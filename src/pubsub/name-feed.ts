import type { ByteWriter } from '../protocol/bytes.js';
import { TOLD_KIND, writeToldIndex } from '../protocol/tail.js';
import { Feed, FRAME_BYTES, type Items } from './feed.js';
import type { Topics } from './topics.js';
import { ABSENT, difference, UNKNOWN, Values } from './values.js';

/** How often its topics are looked through in an interval: once more where some changed while the others were sent. */
const MOST_PASSES = 2;

/**
 * A reader of names. It knows what it was told of each, and is told the difference to what is published now: one that is slow gets less and later,
 * and takes no more memory for it. A pass goes through its topics; it may take several frames.
 */
export class NameFeed extends Feed {
  #topics: Topics | undefined;
  #own: Int32Array = new Int32Array(0);
  /** What it was told last of each; UNKNOWN where nothing yet. */
  #told = new Values(0);
  /** Up to where all changes have been told. */
  #toldTo = -1;
  /** Where the pass goes on, and the last change that there was when it began. */
  #at = 0;
  #until = -1;
  /** Passes that may be made before the interval is over. */
  #passes = 0;

  /** The indexes of its names: the names themselves are kept once, where they are topics. */
  get own(): Int32Array {
    return this.#own;
  }

  /** Its names have these indexes; nothing is told before `begin`, `resume`, `resumeFrom` or `adopt`. */
  bind(own: Int32Array): void {
    this.#own = own;
    this.#told = new Values(own.length);
    this.#told.fill(UNKNOWN);
  }

  /** Everything is published that its snapshot needs. */
  begin(topics: Topics): void {
    this.#topics = topics;
    this.open();
  }

  /** What was told before is void: waits for `begin`. */
  override restart(): void {
    this.#topics = undefined;
    this.#told.fill(UNKNOWN);
    this.#toldTo = -1;
    this.#at = 0;
    this.owes = true;
    this.begins = true;
  }

  /** Goes on from a position, from which on the past of its topics is known. */
  resume(topics: Topics, position: number): void {
    this.adopt(topics);
    if (topics.lastChange <= position) return;
    const places = new Map(Array.from(this.#own, (topic, i) => [topic, i]));
    topics.past.visit(position, (topic, values, at) => {
      const i = places.get(topic);
      if (i !== undefined) this.#told.setFrom(i, values, at);
    });
    this.#toldTo = -1;
  }

  /** Goes on from a position at which its names were this: undefined where there was no counter. */
  resumeFrom(topics: Topics, then: readonly (bigint | undefined)[]): void {
    this.begin(topics);
    this.begins = false;
    then.forEach((value, i) => {
      this.#told.set(i, value ?? ABSENT);
    });
  }

  /** Goes on from here: what is published now has been told. */
  adopt(topics: Topics): void {
    this.begin(topics);
    this.begins = false;
    this.#own.forEach((topic, i) => {
      this.#told.setFrom(i, topics.values, topic);
    });
    this.#toldTo = topics.lastChange;
  }

  override open(): void {
    this.#passes = MOST_PASSES;
  }

  override get isComplete(): boolean {
    return this.#topics !== undefined;
  }

  override get hasNews(): boolean {
    if (!this.#topics || this.#passes === 0) return false;
    return this.owes || this.#at > 0 || this.#topics.lastChange > this.#toldTo;
  }

  override get isUpToDate(): boolean {
    if (!this.#topics || this.#at > 0) return false;
    const { lastChange } = this.#topics;
    if (lastChange > this.#toldTo && this.countWaiting() === 0) this.#toldTo = lastChange;
    return lastChange <= this.#toldTo;
  }

  override countWaiting(): number {
    const topics = this.#topics;
    if (!topics) return 0;
    return this.#own.reduce((count, topic, i) => count + (this.#told.isSame(i, topics.values, topic) ? 0 : 1), 0);
  }

  protected override write(items: ByteWriter): Items {
    const topics = this.#topics as Topics;
    const own = this.#own;
    if (this.#at === 0) this.#until = topics.lastChange;
    let count = 0;
    while (this.#at < own.length && items.length < FRAME_BYTES) {
      const i = this.#at++;
      if (this.#tell(items, topics.values, own[i] as number, i)) count++;
    }
    if (this.#at < own.length) return { count, whole: false };
    this.#at = 0;
    this.#toldTo = this.#until;
    const whole = topics.lastChange === this.#toldTo;
    if (whole) this.#passes = 0;
    else if (this.options.interval > 0) this.#passes--;
    return { count, whole };
  }

  /** Tells of a topic what its reader does not know; whether there was anything. */
  #tell(items: ByteWriter, values: Values, topic: number, i: number): boolean {
    const told = this.#told;
    const number = values.numberAt(topic);
    const by = number - told.numberAt(i);
    if (by === 0) return false;
    if (Number.isSafeInteger(by)) {
      // nearly all that is ever told
      writeToldIndex(items, i, TOLD_KIND.CHANGE);
      items.zigzag(number);
      items.zigzag(by);
      told.setFrom(i, values, topic);
      return true;
    }
    if (told.isSame(i, values, topic)) return false;
    const exists = values.isPresent(topic);
    const isFirst = told.numberAt(i) === UNKNOWN;
    const { ABSENT: absent, VALUE, CHANGE, DELETED } = TOLD_KIND;
    writeToldIndex(items, i, isFirst ? (exists ? VALUE : absent) : exists ? CHANGE : DELETED);
    if (exists) items.zigzag(values.at(topic));
    if (!isFirst) items.zigzag(difference(values.at(topic), told.at(i)));
    told.setFrom(i, values, topic);
    return true;
  }
}
