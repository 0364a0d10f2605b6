/**
 * A wall clock that runs so many times as fast as the system's from some instant on: for a server that is to see days go by,
 *
 *   node --import .../fast-clock.mjs?since=1764000000000&times=1000 …
 *
 * Timers of a minute and more run as fast, shorter ones, which wait for devices and clients, as always. Workers of the process have it too.
 */
const LONG_MILLISECONDS = 60_000;

/** The time of such a clock. */
export function timeOf({ since, times }, now = Date.now()) {
  return since + Math.max(0, now - since) * times;
}

/** The flags of Node for a process that is to have it. */
export function flagsOf({ since, times }) {
  return ['--import', new URL(`fast-clock.mjs?since=${since}&times=${times}`, import.meta.url).href];
}

const wanted = new URL(import.meta.url).searchParams;
if (wanted.has('since')) {
  const clock = { since: Number(wanted.get('since')), times: Number(wanted.get('times')) };
  const { now } = Date;
  const { setTimeout } = globalThis;
  Date.now = () => timeOf(clock, now());
  globalThis.setTimeout = (callback, milliseconds = 0, ...rest) =>
    setTimeout(callback, milliseconds >= LONG_MILLISECONDS ? milliseconds / clock.times : milliseconds, ...rest);
}
