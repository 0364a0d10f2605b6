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

/** Calls back in the order of the calls, all of a turn by one immediate: with one for each, a hundred connections that were answered cost Node a hundred. */
const byOneImmediate = (): Clock['endOfTurn'] => {
  let next: (() => void)[] = [];
  const run = (callbacks: readonly (() => void)[], from: number): void => {
    let at = from;
    try {
      while (at < callbacks.length) callbacks[at++]?.();
    } finally {
      // One threw: the others are called all the same, as long as the process lives
      if (at < callbacks.length) setImmediate(run, callbacks, at);
    }
  };
  const endTurn = (): void => {
    const callbacks = next;
    next = [];
    run(callbacks, 0);
  };
  return (callback) => {
    if (next.push(callback) === 1) setImmediate(endTurn);
  };
};

/** Of Node. */
export const systemClock: Clock = /* @__PURE__ */ clockOf(/* @__PURE__ */ byOneImmediate());
