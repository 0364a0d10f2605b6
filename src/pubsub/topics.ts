import type { Partition } from '../partition/partition.js';
import { MOST_CHANGES, Past } from './past.js';
import { SlotTopics } from './slot-topics.js';
import { ABSENT, UNKNOWN, Values } from './values.js';

/** Values of topics, copied at one position. */
export interface CopiedTopics {
  readonly topics: Int32Array;
  readonly values: Values;
}

/**
 * The names of a partition that are followed, each under an index: what its counter is, as of what is published. Who follows names looks here
 * for what has changed, so that a change costs the same however many follow it.
 *
 *   touched ──► dirty ── copy ──► CopiedTopics ── flushed ──► publish: values;  past: what they were before
 */
export class Topics {
  readonly past: Past;
  /** As of what is published; UNKNOWN until the first copy of it is. */
  readonly values = new Values(0);
  /** The position of the last copy that changed any. */
  lastChange = -1;
  readonly #names: string[] = [];
  readonly #byName = new Map<string, number>();
  readonly #bySlot = new SlotTopics();
  /** The slot of its counter, and one more; 0: it has none. */
  #slots = new Float64Array(0);
  /** Changes are known behind this position. */
  #since = new Float64Array(0);
  #followers = new Uint32Array(0);
  /** When the last follower went, in monotonic milliseconds; it is kept for a while, for who comes back. */
  readonly #idle = new Map<number, number>();
  #isDirty = new Uint8Array(0);
  /** The first so many are. */
  #dirtyTopics = new Int32Array(0);
  #dirty = 0;
  readonly #free: number[] = [];

  /** @param floor positions before it can't be gone on from */
  constructor(floor: number) {
    this.past = new Past(floor);
  }

  get size(): number {
    return this.#byName.size;
  }

  /** How many have changed, or are new, since the last copy, besides those that are marked. */
  get dirty(): number {
    return this.#dirty;
  }

  /** All names. */
  get names(): string[] {
    return [...this.#byName.keys()];
  }

  /** Which of some names are none of these. */
  unknown(names: readonly string[]): string[] {
    return names.filter((name) => !this.#byName.has(name));
  }

  /** Whether all changes of a name behind a position are known. */
  covers(name: string, position: number): boolean {
    const topic = this.#byName.get(name);
    return topic !== undefined && (this.#since[topic] as number) <= position;
  }

  /** One more follows a name, of which changes are known behind `position` where it is new; its index. */
  follow(name: string, position: number): number {
    const known = this.#byName.get(name);
    const topic = known ?? this.#create(name, position);
    this.#followers[topic] = (this.#followers[topic] as number) + 1;
    this.#idle.delete(topic);
    return topic;
  }

  unfollow(topic: number, now: number): void {
    this.#followers[topic] = (this.#followers[topic] as number) - 1;
    if (this.#followers[topic] === 0) this.#idle.set(topic, now);
  }

  /** Forgets what nobody has followed since a time. No copy may be left to publish. */
  forget(before: number): void {
    for (const [topic, since] of this.#idle) {
      if (since > before) continue;
      this.#idle.delete(topic);
      this.#unlearn(topic);
      this.#byName.delete(this.#names[topic] as string);
      this.#names[topic] = '';
      this.#free.push(topic);
    }
  }

  /** Learns which counter a name has, where it has one. */
  learn(name: string, slot: number | undefined): void {
    const topic = this.#byName.get(name);
    if (topic === undefined) return;
    this.#unlearn(topic);
    if (slot === undefined) return;
    this.#slots[topic] = slot + 1;
    this.#bySlot.set(slot, topic);
  }

  /** The counter of a slot was touched; whether that is followed. */
  touch(slot: number): boolean {
    const topic = this.#bySlot.get(slot);
    if (topic < 0) return false;
    this.#soil(topic);
    return true;
  }

  /** A counter came into being. */
  touchNew(slot: number, partition: Partition): void {
    if (this.#bySlot.get(slot) >= 0) return;
    const name = partition.nameOfSlot(slot);
    if (name === undefined || !this.#byName.has(name)) return;
    this.learn(name, slot);
    this.touch(slot);
  }

  /** The counter of a slot is gone. */
  gone(slot: number): void {
    const topic = this.#bySlot.get(slot);
    if (topic < 0) return;
    this.touch(slot);
    this.#unlearn(topic);
  }

  /** Nothing is known of any counter any more: all names are to be learnt anew, and have a first value again. */
  restart(floor: number): void {
    this.past.restart(floor);
    for (const topic of this.#byName.values()) {
      this.#unlearn(topic);
      this.values.set(topic, UNKNOWN);
      this.#soil(topic);
    }
  }

  /** Copies what is dirty or marked, which so is as of the present position of the partition. */
  copy(partition: Partition): CopiedTopics[] {
    const copied: CopiedTopics[] = [];
    partition.marks.read(this.#bySlot.words, (slots, numbers) => {
      const topics = new Int32Array(slots.length);
      const values = new Values(numbers.slice());
      for (let i = 0; i < slots.length; i++) {
        const slot = slots[i] as number;
        topics[i] = this.#bySlot.get(slot);
        if (Number.isNaN(values.numberAt(i))) values.set(i, partition.valueOfSlot(slot) ?? ABSENT);
      }
      copied.push({ topics, values });
    });
    if (this.#dirty > 0) copied.push(this.#copyDirty(partition));
    return copied;
  }

  #copyDirty(partition: Partition): CopiedTopics {
    const topics = this.#dirtyTopics.slice(0, this.#dirty);
    this.#dirty = 0;
    const values = new Values(topics.length);
    topics.forEach((topic, i) => {
      this.#isDirty[topic] = 0;
      const slot = this.#slots[topic] as number;
      values.set(i, (slot > 0 ? partition.valueOfSlot(slot - 1) : undefined) ?? ABSENT);
    });
    return { topics, values };
  }

  /** What was copied at a position is flushed. Tells of each topic that is not as it was, where somebody is to hear of it. */
  publish(position: number, copied: readonly CopiedTopics[], onChange?: (topic: number) => void): void {
    // of more than the past has room for all that is in it would be of this position, and nobody could go on from one before
    const isKept = copied.reduce((count, { topics }) => count + topics.length, 0) <= MOST_CHANGES;
    for (const { topics, values } of copied) {
      for (let i = 0; i < topics.length; i++) {
        const topic = topics[i] as number;
        if (this.values.isSame(topic, values, i)) continue;
        if (isKept && this.values.numberAt(topic) !== UNKNOWN) this.past.push(position, topic, this.values);
        this.values.setFrom(topic, values, i);
        this.lastChange = position;
        onChange?.(topic);
      }
    }
    if (!isKept) this.past.restart(position);
  }

  #create(name: string, position: number): number {
    const topic = this.#free.pop() ?? this.#names.length;
    if (topic >= this.#slots.length) this.#grow(Math.max(16, 2 * this.#slots.length));
    this.#names[topic] = name;
    this.#byName.set(name, topic);
    this.#since[topic] = position;
    this.values.set(topic, UNKNOWN);
    this.#soil(topic);
    return topic;
  }

  #soil(topic: number): void {
    if (this.#isDirty[topic] !== 0) return;
    this.#isDirty[topic] = 1;
    this.#dirtyTopics[this.#dirty++] = topic;
  }

  #unlearn(topic: number): void {
    const slot = this.#slots[topic] as number;
    if (slot > 0) this.#bySlot.delete(slot - 1);
    this.#slots[topic] = 0;
  }

  #grow(length: number): void {
    const grown = <T extends { set(from: T): void }>(column: T, wider: T): T => {
      wider.set(column);
      return wider;
    };
    this.values.grow(length);
    this.#slots = grown(this.#slots, new Float64Array(length));
    this.#since = grown(this.#since, new Float64Array(length));
    this.#followers = grown(this.#followers, new Uint32Array(length));
    this.#isDirty = grown(this.#isDirty, new Uint8Array(length));
    this.#dirtyTopics = grown(this.#dirtyTopics, new Int32Array(length));
  }
}
