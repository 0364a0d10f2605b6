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

/** Of Node. */
export const systemClock: Clock = /* @__PURE__ */ clockOf((callback) => {
  setImmediate(callback);
});
