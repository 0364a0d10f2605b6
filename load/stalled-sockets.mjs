import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';

/**
 * Looks at the server's sockets to the readers of load/stalled.mjs, in a thread of its own: the list of all sockets takes the system some milliseconds.
 *
 *   workerData: { connections: ['server port client port', …], longest: milliseconds }
 *   tells: { cutOff: [for each how long nothing was taken when it went, …], left: how many are still there }
 */
const LOOK_MILLISECONDS = 250;
/** As Linux lists it in /proc/net/tcp. */
const ESTABLISHED = '01';

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

const readers = new Set(workerData.connections);
const last = new Map();
const cutOff = [];
for (const began = performance.now(); performance.now() - began < workerData.longest; await sleep(LOOK_MILLISECONDS)) {
  const now = performance.now();
  const queues = queuesTo(readers);
  for (const reader of readers) {
    const queue = queues.get(reader);
    const before = last.get(reader);
    if (queue === undefined && before) {
      cutOff.push(now - before.since);
      readers.delete(reader);
    } else if (queue !== undefined && queue !== before?.queue) last.set(reader, { queue, since: now });
  }
  if (readers.size === 0) break;
}
parentPort.postMessage({ cutOff, left: readers.size });

/** For each of some connections, by the ports of server and client, the bytes that the server's socket has queued. Without such a socket there is none. */
function queuesTo(connections) {
  const queues = new Map();
  for (const line of readFileSync('/proc/net/tcp', 'latin1').split('\n').slice(1)) {
    const [, local = '', remote = '', state, queued] = line.trim().split(/\s+/);
    const connection = [local, remote].map((address) => Number.parseInt(address.slice(-4), 16)).join(' ');
    if (state === ESTABLISHED && connections.has(connection)) queues.set(connection, Number.parseInt(queued, 16));
  }
  return queues;
}
