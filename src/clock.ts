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

/** Calls back in the order of the calls, all of a turn by one immediate: with one for each, a hundred connections that were answered cost Node a hundred. */
const byOneImmediate = (): Pick<TurnClock, 'endOfTurn' | 'afterTurn'> => {
  let ends: (() => void)[] = [];
  let afters: (() => void)[] = [];
  let isSet = false;
  const run = (callbacks: readonly (() => void)[], from: number): void => {
    let at = from;
    try {
      while (at < callbacks.length) callbacks[at++]?.();
    } finally {
      // One threw: the others are called all the same, as long as the process lives
      if (at < callbacks.length) setImmediate(run, callbacks, at);
    }
  };
  const runEnds = (): void => {
    const callbacks = ends;
    ends = [];
    run(callbacks, 0);
  };
  const runAfters = (): void => {
    const [callbacks, ofNextTurn] = [afters, ends];
    [afters, ends] = [[], []];
    try {
      run(callbacks, 0);
    } finally {
      const added = ends;
      ends = ofNextTurn;
      run(added, 0);
    }
  };
  const endTurn = (): void => {
    try {
      runEnds();
      if (afters.length > 0) runAfters();
    } finally {
      isSet = false;
      if (ends.length > 0 || afters.length > 0) set();
    }
  };
  const set = (): void => {
    if (isSet) return;
    isSet = true;
    setImmediate(endTurn);
  };
  return {
    endOfTurn(callback) {
      ends.push(callback);
      set();
    },
    afterTurn(callback) {
      afters.push(callback);
      set();
    },
  };
};

/** Of Node. */
export const systemClock: TurnClock = /* @__PURE__ */ ofNode();

function ofNode(): TurnClock {
  const { endOfTurn, afterTurn } = byOneImmediate();
  return { ...clockOf(endOfTurn), afterTurn };
}
