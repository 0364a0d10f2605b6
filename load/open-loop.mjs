import { ring } from './alarm.mjs';
import { latencies, record } from './histogram.mjs';

/**
 * An open loop: calls are due at fixed times, whether or not earlier ones were answered, and a latency counts from the time at which
 * the call was due. So a pause of the server is felt by all calls that were due in it, as it is by its users, and is not left out
 * because the load waited politely (coordinated omission: Gil Tene, "How NOT to Measure Latency").
 *
 * Between calls the event loop sleeps, at least a tenth of a millisecond: one that spun until the next call would have a core for
 * itself, which the server needs. So at high rates a few calls are begun together, up to so much late, which is in their latencies.
 *
 * @param call starts one call; its promise settles with the answer
 * @param rate calls a second
 * @param time milliseconds that never step back, and how to come back later
 * @returns how many calls were answered, the rate at which they were, a histogram of their latencies, and one of how late the calls were begun: what
 *   the load itself was held up, by its collections or by whoever had its core, is in both. A rate that is less than what was asked
 *   for says that the load, or the server, could not keep up.
 */
export function openLoop(call, { rate, seconds, time = systemTime }) {
  const taken = latencies();
  const late = latencies();
  const total = Math.round(rate * seconds);
  return new Promise((resolve, reject) => {
    const start = time.now();
    let due = 0;
    let answered = 0;
    const begin = (number) => {
      const intended = start + (number * 1_000) / rate;
      record(late, Math.max(0, time.now() - intended));
      call().then(() => {
        const now = time.now();
        record(taken, now - intended);
        answered++;
        if (answered < total) return;
        const rate = total / ((now - start) / 1_000);
        resolve({ calls: total, rate, histogram: taken.histogram, late: late.histogram });
      }, reject);
    };
    const turn = () => {
      const elapsed = time.now() - start;
      for (const until = Math.min(total, Math.floor((elapsed * rate) / 1_000) + 1); due < until; due++) begin(due);
      if (due < total) time.later((due * 1_000) / rate - elapsed, turn);
    };
    turn();
  });
}

const LEAST_SLEEP_MILLISECONDS = 0.1;

const systemTime = {
  now: () => performance.now(),
  later: (milliseconds, callback) => ring(Math.max(milliseconds, LEAST_SLEEP_MILLISECONDS), callback),
};
