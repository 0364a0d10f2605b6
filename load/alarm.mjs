import { Worker } from 'node:worker_threads';

/**
 * An alarm that rings to a fraction of a millisecond without an event loop that spins until then: Node's timers are of whole
 * milliseconds, and a loop that spins takes one of the cores from the server that is measured. A thread sleeps in its place
 * (`Atomics.wait` is a futex with a timeout) and wakes the event loop by a message.
 */

/** Index of `state`: 1 while a time is awaited. Nothing ever changes the word after it, on which the thread sleeps. */
export const ARMED = 0;
const NEVER = 1;
/** Linux wakes a sleeping thread up to 50 us late (timer slack, prctl(2)), and the message takes its time. */
const EARLY_MILLISECONDS = 0.05;

/** Milliseconds since 1970, the same in all threads. */
const sharedNow = () => performance.timeOrigin + performance.now();

/** Blocks the thread. */
export function sleepUntil(state, due) {
  const left = due - EARLY_MILLISECONDS - sharedNow();
  if (left > 0) Atomics.wait(state, NEVER, 0, left);
}

const state = new Int32Array(new SharedArrayBuffer(8));
const due = new Float64Array(new SharedArrayBuffer(8));
let thread;
let waiting;

/** Calls back in about so many milliseconds, possibly a little early. One call back at a time. */
export function ring(milliseconds, callback) {
  if (waiting) throw new Error('Somebody else waits for the alarm.');
  waiting = callback;
  thread ??= startThread();
  thread.ref();
  due[0] = sharedNow() + milliseconds;
  Atomics.store(state, ARMED, 1);
  Atomics.notify(state, ARMED);
}

function startThread() {
  const worker = new Worker(new URL('./alarm-thread.mjs', import.meta.url), { workerData: { state, due } });
  worker.on('message', () => {
    const callback = waiting;
    waiting = undefined;
    worker.unref(); // a thread that sleeps keeps nobody alive
    callback();
  });
  return worker;
}
