import { Opcode } from '../dist/protocol/opcode.js';
import { latencies, record } from './histogram.mjs';

/**
 * A closed loop: each client has so many batches on its way, and sends the next one when an answer comes. It finds the most that
 * goes through. Its latencies are those of a system that is full: for latency see open-loop.mjs.
 *
 * @param clients RawClients
 * @param inFlight batches, of each client
 * @param send sends a batch: a sequenced ADD unless given
 * @param signal ends it before its time, once it is aborted
 * @returns increments and seconds, until the last answer; a histogram of the batches
 */
export function closedLoop(
  clients,
  batches,
  { inFlight, seconds = Number.POSITIVE_INFINITY, flags = 0, send = add, signal },
) {
  const taken = latencies();
  const { size, count } = batches;
  return new Promise((resolve) => {
    const start = performance.now();
    const end = start + seconds * 1_000;
    let increments = 0;
    let flying = 0;
    const next = (client, from) => {
      const sent = performance.now();
      flying++;
      send(client, flags, batches, from, () => {
        const now = performance.now();
        record(taken, now - sent);
        increments += size;
        flying--;
        if (now < end && !signal?.aborted) next(client, (from + clients.length * inFlight) % count);
        else if (flying === 0) resolve({ increments, seconds: (now - start) / 1_000, histogram: taken.histogram });
      });
    };
    for (let i = 0; i < inFlight; i++) {
      clients.forEach((client, number) => {
        next(client, (i * clients.length + number) % count);
      });
    }
  });
}

function add(client, flags, { bytes, partitions, starts }, at, answered) {
  client.sequenced(Opcode.ADD, flags, partitions[at], bytes, starts[at], starts[at + 1], answered);
}

/** A GET whose keys were made beforehand. */
export function get(client, flags, { bytes, partitions, starts }, at, answered) {
  client.request(Opcode.GET, flags, partitions[at], bytes.subarray(starts[at], starts[at + 1]), answered);
}
