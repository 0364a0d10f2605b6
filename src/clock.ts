/** Time is an object that is passed in, so that a simulation can own it. */
export interface Clock {
  /** Milliseconds since 1970; may step in both directions. Goes into log records, never into a deadline. */
  wallMilliseconds(): number;
  /** Milliseconds since an arbitrary start; never steps back. Deadlines and durations are measured with it. */
  monotonicMilliseconds(): number;
  /** Calls back once, not before the delay has passed. */
  setTimer(milliseconds: number, callback: () => void): Timer;
  /** Calls back at the end of the current turn of the event loop, after the input that is already here. */
  endOfTurn(callback: () => void): void;
}

/** The clock of a thread that now and then does something long within a call. */
export interface TurnClock extends Clock {
  /**
   * Calls back behind what ends the turn, so that answers go out before something that takes long. What the callback itself adds to
   * the end of the turn is called right behind it.
   */
  afterTurn(callback: () => void): void;
}

export interface Timer {
  cancel(): void;
}

// Once: in Node the global is a getter, as expensive as the reading of the time
const { performance } = globalThis;

/** The system's time; what the end of a turn is depends on where it runs. */
export const clockOf = (endOfTurn: Clock['endOfTurn']): Clock => ({
  wallMilliseconds: () => Date.now(),
  monotonicMilliseconds: () => performance.now(),
  setTimer(milliseconds, callback) {
    const timeout = setTimeout(callback, milliseconds);
    return { cancel: () => clearTimeout(timeout) };
  },
  endOfTurn,
});

/** What is called as turns end, in the order of the calls: first their ends, then what comes after them. */
export class Turns {
  #ends: (() => void)[] = [];
  #afters: (() => void)[] = [];

  endOfTurn(callback: () => void): void {
    this.#ends.push(callback);
  }

  afterTurn(callback: () => void): void {
    this.#afters.push(callback);
  }

  /** Callbacks that wait for an end. */
  get pending(): number {
    return this.#ends.length + this.#afters.length;
  }

  /** Ends a turn. What its end adds waits for the next one; what comes after it adds to an end is called right behind that. */
  end(): void {
    const ends = this.#ends;
    this.#ends = [];
    this.#run(ends);
    if (this.#afters.length === 0) return;
    const [afters, ofNextTurn] = [this.#afters, this.#ends];
    [this.#afters, this.#ends] = [[], []];
    try {
      this.#run(afters);
    } finally {
      const added = this.#ends;
      this.#ends = ofNextTurn;
      this.#run(added);
    }
  }

  #run(callbacks: readonly (() => void)[]): void {
    let at = 0;
    try {
      while (at < callbacks.length) callbacks[at++]?.();
    } finally {
      // One threw: the others are called all the same, as long as the process lives
      if (at < callbacks.length) this.#ends = [...callbacks.slice(at), ...this.#ends];
    }
  }
}

/** Of Node. */
export const systemClock: TurnClock = /* @__PURE__ */ clockOfNode();

/** All of a turn by one immediate: with one for each, a hundred connections that were answered cost Node a hundred. */
function clockOfNode(): TurnClock {
  const turns = new Turns();
  let isSet = false;
  const end = (): void => {
    try {
      turns.end();
    } finally {
      isSet = false;
      if (turns.pending > 0) set();
    }
  };
  const set = (): void => {
    if (isSet) return;
    isSet = true;
    setImmediate(end);
  };
  const endOfTurn = (callback: () => void): void => {
    turns.endOfTurn(callback);
    set();
  };
  return {
    ...clockOf(endOfTurn),
    afterTurn(callback) {
      turns.afterTurn(callback);
      set();
    },
  };
}
