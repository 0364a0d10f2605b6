import { latencies, record } from './histogram.mjs';

/** Closed loops through the public SDK. Each gives increments, seconds and a histogram. */

/** Callers, each awaiting one batch of names after the other. */
export function batchCalls(client, names, { callers, size, seconds, next, values = true }) {
  return timed(seconds, async (end, taken) => {
    let done = 0;
    const caller = async () => {
      while (performance.now() < end) {
        const operations = [];
        for (let i = 0; i < size; i++) operations.push({ name: names[Math.floor(next() * names.length)] });
        const sent = performance.now();
        await client.batch(operations, { values });
        record(taken, performance.now() - sent);
        done += size;
      }
    };
    await Promise.all(Array.from({ length: callers }, caller));
    return done;
  });
}

/**
 * Random counters that are added to, so many a turn of the event loop that each partition's batch has about `size`. A latency is that
 * of a turn with its wait for room.
 *
 * @param add adds to the counter of that number, from 0 up to `count`; false where the client asks for patience
 */
export function additions(client, add, { count, size, seconds, next }) {
  return timed(seconds, async (end, taken) => {
    let done = 0;
    const turn = size * client.partitions;
    while (performance.now() < end) {
      const sent = performance.now();
      let hasRoom = true;
      for (let i = 0; i < turn; i++) hasRoom = add(Math.floor(next() * count));
      if (hasRoom) await new Promise((resolve) => setImmediate(resolve));
      else await client.drain();
      done += turn;
      record(taken, performance.now() - sent);
    }
    await client.flush();
    return done;
  });
}

/** Callers, each awaiting one increment after the other. `increment(name)` is any client's. */
export function singleCalls(increment, names, { callers, seconds, next }) {
  return timed(seconds, async (end, taken) => {
    let done = 0;
    const caller = async () => {
      for (let now = performance.now(); now < end; ) {
        await increment(names[Math.floor(next() * names.length)]);
        const answered = performance.now();
        record(taken, answered - now);
        now = answered;
        done++;
      }
    };
    await Promise.all(Array.from({ length: callers }, caller));
    return done;
  });
}

/** What adds 1 to a counter by its number: counters by index, with their ids. Adds 1 to each. */
export async function addsByIndex(client, names) {
  const counters = client.counters(names);
  return opened(client, (i) => counters.add(i, 1), names.length);
}

/** The same by a handle of each. */
export async function addsByHandle(client, names) {
  const handles = names.map((name) => client.counter(name));
  return opened(client, (i) => handles[i].add(1), names.length);
}

async function opened(client, add, count) {
  for (let i = 0; i < count; i++) if (!add(i)) await client.drain();
  await client.flush();
  return add;
}

async function timed(seconds, work) {
  const taken = latencies();
  const start = performance.now();
  const increments = await work(start + seconds * 1_000, taken);
  return { increments, seconds: (performance.now() - start) / 1_000, histogram: taken.histogram };
}
