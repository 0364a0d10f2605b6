import { placeOfId } from '../protocol/request-id.js';

const FIRST_BITS = 6;

/**
 * What waits for answers, by request id: open addressing, half of the slots free.
 *
 * Not a `Map`, whose tables each point to the one that replaced them: one that is old and dead keeps alive all that came after it, with what
 * they held, until the next collection of the old space. Of what readers of HTTP asked, scavenges kept half so, and copied it.
 */
export class Pending<T extends object> {
  #ids = new Uint32Array(1 << FIRST_BITS);
  #values: (T | undefined)[] = new Array(1 << FIRST_BITS).fill(undefined);
  #shift = 32 - FIRST_BITS;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): T | undefined {
    return this.#values[this.#slotOf(id)];
  }

  set(id: number, value: T): void {
    const slot = this.#slotOf(id);
    const isNew = this.#values[slot] === undefined;
    this.#ids[slot] = id;
    this.#values[slot] = value;
    if (isNew && ++this.#size * 2 > this.#ids.length) this.#grow();
  }

  delete(id: number): void {
    const mask = this.#ids.length - 1;
    let free = this.#slotOf(id);
    if (this.#values[free] === undefined) return;
    this.#size--;
    // Those behind it that it kept from their places move up
    for (let slot = (free + 1) & mask; this.#values[slot] !== undefined; slot = (slot + 1) & mask) {
      const distance = (slot - placeOfId(this.#ids[slot] as number, this.#shift)) & mask;
      if (distance < ((slot - free) & mask)) continue;
      this.#ids[free] = this.#ids[slot] as number;
      this.#values[free] = this.#values[slot];
      free = slot;
    }
    this.#values[free] = undefined;
  }

  /** Takes out all, in no order. */
  takeAll(): T[] {
    const all = this.#values.filter((value) => value !== undefined);
    this.#values.fill(undefined);
    this.#size = 0;
    return all;
  }

  /** Where it is, or would be. */
  #slotOf(id: number): number {
    const mask = this.#ids.length - 1;
    let slot = placeOfId(id, this.#shift);
    while (this.#values[slot] !== undefined && this.#ids[slot] !== id) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const [ids, values] = [this.#ids, this.#values];
    this.#ids = new Uint32Array(ids.length * 2);
    this.#values = new Array(ids.length * 2).fill(undefined);
    this.#shift--;
    this.#size = 0;
    for (const [slot, value] of values.entries()) if (value !== undefined) this.set(ids[slot] as number, value);
  }
}
