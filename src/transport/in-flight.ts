import { placeOfId } from '../protocol/request-id.js';

const FIRST_BITS = 6;

/**
 * The requests of a connection that wait for their answers: how many, and how many bytes they had. Open addressing by request id, half of the slots free: a `Map` of
 * objects takes several times as long, and leaves garbage.
 */
export class InFlight {
  /** Of each slot the id, and how many of it wait: 0 where the slot is free. A client may use one request id twice at a time. */
  #ids = new Uint32Array(1 << FIRST_BITS);
  #counts = new Uint32Array(1 << FIRST_BITS);
  /** And how many bytes these had. */
  #sums = new Uint32Array(1 << FIRST_BITS);
  #shift = 32 - FIRST_BITS;
  #used = 0;
  readonly #parked = new Set<number>();
  #requests = 0;
  #bytes = 0;

  get requests(): number {
    return this.#requests;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(requestId: number, bytes: number): void {
    const slot = this.#slotOf(requestId);
    const count = this.#counts[slot] as number;
    this.#ids[slot] = requestId;
    this.#counts[slot] = count + 1;
    this.#sums[slot] = (this.#sums[slot] as number) + bytes;
    this.#requests++;
    this.#bytes += bytes;
    if (count === 0 && ++this.#used * 2 > this.#ids.length) this.#grow();
  }

  /** One of this id stays open with answers of its own, and counts no longer; false where none is in flight. */
  park(requestId: number): boolean {
    if (this.#parked.has(requestId)) return true;
    if (!this.end(requestId)) return false;
    this.#parked.add(requestId);
    return true;
  }

  /** Ends one request of this id; false where none is in flight. */
  end(requestId: number): boolean {
    const slot = this.#slotOf(requestId);
    const count = this.#counts[slot] as number;
    if (count === 0) return this.#parked.delete(requestId);
    const sum = this.#sums[slot] as number;
    // of several under one id any may have been answered: each counts for its share
    const bytes = count === 1 ? sum : Math.floor(sum / count);
    this.#sums[slot] = sum - bytes;
    this.#counts[slot] = count - 1;
    this.#requests--;
    this.#bytes -= bytes;
    if (count === 1) this.#free(slot);
    return true;
  }

  /** Where an id is, or would be. */
  #slotOf(requestId: number): number {
    const mask = this.#ids.length - 1;
    let slot = placeOfId(requestId, this.#shift);
    while (this.#counts[slot] !== 0 && this.#ids[slot] !== requestId) slot = (slot + 1) & mask;
    return slot;
  }

  /** Of those behind a slot that is free now, the ones that it kept from their places move up. */
  #free(freed: number): void {
    const mask = this.#ids.length - 1;
    this.#used--;
    let free = freed;
    for (let slot = (free + 1) & mask; this.#counts[slot] !== 0; slot = (slot + 1) & mask) {
      const distance = (slot - placeOfId(this.#ids[slot] as number, this.#shift)) & mask;
      if (distance < ((slot - free) & mask)) continue;
      this.#move(slot, free);
      free = slot;
    }
  }

  #move(from: number, to: number): void {
    this.#ids[to] = this.#ids[from] as number;
    this.#counts[to] = this.#counts[from] as number;
    this.#sums[to] = this.#sums[from] as number;
    this.#counts[from] = 0;
    this.#sums[from] = 0;
  }

  #grow(): void {
    const [ids, counts, sums] = [this.#ids, this.#counts, this.#sums];
    this.#ids = new Uint32Array(ids.length * 2);
    this.#counts = new Uint32Array(ids.length * 2);
    this.#sums = new Uint32Array(ids.length * 2);
    this.#shift--;
    for (const [from, count] of counts.entries()) {
      if (count === 0) continue;
      const slot = this.#slotOf(ids[from] as number);
      this.#ids[slot] = ids[from] as number;
      this.#counts[slot] = count;
      this.#sums[slot] = sums[from] as number;
    }
  }
}
