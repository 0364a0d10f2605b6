/** The requests of a connection that wait for their answers: how many, and how many bytes they had. */
export class InFlight {
  // A client may use one request id twice at a time, so an id stands for some requests
  readonly #byId = new Map<number, { requests: number; bytes: number }>();
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
    this.#requests++;
    this.#bytes += bytes;
    const same = this.#byId.get(requestId);
    if (same) {
      same.requests++;
      same.bytes += bytes;
    } else {
      this.#byId.set(requestId, { requests: 1, bytes });
    }
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
    const same = this.#byId.get(requestId);
    if (!same) return this.#parked.delete(requestId);
    // of several under one id any may have been answered: each counts for its share
    const bytes = Math.floor(same.bytes / same.requests);
    same.requests--;
    same.bytes -= bytes;
    this.#requests--;
    this.#bytes -= bytes;
    if (same.requests === 0) this.#byId.delete(requestId);
    return true;
  }
}
