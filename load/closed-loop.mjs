import { Opcode } from '../dist/protocol/opcode.js';
import { latencies, record } from './histogram.mjs';

/**
 * A closed loop: each client has so many batches on its way, and sends the next one when an answer comes. It finds the most that
 * goes through. Its latencies are those of a system that is full: for latency see open-loop.mjs.
 *
 * @param clients RawClients
 * @param inFlight batches, of each client
 * @returns increments and seconds, until the last answer; a histogram of the batches
 */
export function closedLoop(clients, batches, { inFlight, seconds, flags = 0 }) {
  const histogram = latencies();
  const { bytes, partitions, starts, size, count } = batches;
  return new Promise((resolve) => {
    const start = performance.now();
    const end = start + seconds * 1_000;
    let increments = 0;
    let flying = 0;
    const send = (client, from) => {
      const sent = performance.now();
      flying++;
      client.sequenced(Opcode.ADD, flags, partitions[from], bytes, starts[from], starts[from + 1], () => {
        const now = performance.now();
        record(histogram, now - sent);
        increments += size;
        flying--;
        if (now < end) send(client, (from + clients.length * inFlight) % count);
        else if (flying === 0) resolve({ increments, seconds: (now - start) / 1_000, histogram });
      });
    };
    for (let i = 0; i < inFlight; i++) {
      clients.forEach((client, number) => {
        send(client, (i * clients.length + number) % count);
      });
    }
  });
}
