import { latencies, record } from './histogram.mjs';

/** Closed loops through the public SDK. Each gives increments, seconds and a histogram. */

/** Callers, each awaiting one batch of names after the other. */
export function batchCalls(client, names, { callers, size, seconds, next }) {
  return timed(seconds, async (end, histogram) => {
    let done = 0;
    const caller = async () => {
      while (performance.now() < end) {
        const operations = [];
        for (let i = 0; i < size; i++) operations.push({ name: names[Math.floor(next() * names.length)] });
        const sent = performance.now();
        await client.batch(operations);
        record(histogram, performance.now() - sent);
        done += size;
      }
    };
    await Promise.all(Array.from({ length: callers }, caller));
    return done;
  });
}

/**
 * Handles that are added to, so many a turn of the event loop that each partition's batch has about `size`. A latency is that of a
 * turn with its wait for room.
 */
export function handleAdds(client, handles, { size, seconds, next }) {
  return timed(seconds, async (end, histogram) => {
    let done = 0;
    const turn = size * client.partitions;
    while (performance.now() < end) {
      const sent = performance.now();
      let hasRoom = true;
      for (let i = 0; i < turn; i++) hasRoom = handles[Math.floor(next() * handles.length)].add(1);
      if (hasRoom) await new Promise((resolve) => setImmediate(resolve));
      else await client.drain();
      done += turn;
      record(histogram, performance.now() - sent);
    }
    await client.flush();
    return done;
  });
}

/** Callers, each awaiting one increment after the other. `increment(name)` is any client's. */
export function singleCalls(increment, names, { callers, seconds, next }) {
  return timed(seconds, async (end, histogram) => {
    let done = 0;
    const caller = async () => {
      for (let now = performance.now(); now < end; ) {
        await increment(names[Math.floor(next() * names.length)]);
        const answered = performance.now();
        record(histogram, answered - now);
        now = answered;
        done++;
      }
    };
    await Promise.all(Array.from({ length: callers }, caller));
    return done;
  });
}

/** A handle of each name, with its id. Adds 1 to each. */
export async function openHandles(client, names) {
  const handles = names.map((name) => client.counter(name));
  for (const handle of handles) if (!handle.add(1)) await client.drain();
  await client.flush();
  return handles;
}

async function timed(seconds, work) {
  const histogram = latencies();
  const start = performance.now();
  const increments = await work(start + seconds * 1_000, histogram);
  return { increments, seconds: (performance.now() - start) / 1_000, histogram };
}
