import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';

/**
 * Looks at the sockets between the server and the readers of load/stalled.mjs, in a thread of its own: the list of all sockets takes the system some milliseconds.
 * What a reader was sent waits at either end. When that changes for the last time by little, its feed was told its end; where the socket is gone, its connection was ended.
 *
 *   workerData: { connections: ['server port client port', …], longest: milliseconds, limit: milliseconds }
 *   tells: { cutOff: [for each how long nothing more had come when it was cut off, …], left: of how many neither was seen }
 */
const LOOK_MILLISECONDS = 250;
/** As Linux lists it in /proc/net/tcp. */
const ESTABLISHED = '01';
/** More than an ERROR takes, and less than a frame of counters with the names of this load. */
const LITTLE = 400;

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

const { longest, limit } = workerData;
const readers = new Set(workerData.connections);
const last = new Map();
const cutOff = [];
for (const began = performance.now(); performance.now() - began < longest; await sleep(LOOK_MILLISECONDS)) {
  const now = performance.now();
  const waiting = waitingIn(readers);
  for (const reader of readers) {
    const bytes = waiting.get(reader);
    const before = last.get(reader);
    if (bytes === before?.bytes) continue;
    const isEnd = before && (bytes === undefined || (bytes - before.bytes <= LITTLE && now - before.since > limit / 2));
    if (isEnd) {
      cutOff.push(now - before.since);
      readers.delete(reader);
    } else if (bytes !== undefined) last.set(reader, { bytes, since: now });
  }
  if (readers.size === 0) break;
}
parentPort.postMessage({ cutOff, left: readers.size });

/** For each of some connections, by the ports of server and client, the bytes on their way: what the server's end has queued, and what the client's has not read. */
function waitingIn(connections) {
  const waiting = new Map();
  for (const line of readFileSync('/proc/net/tcp', 'latin1').split('\n').slice(1)) {
    const [, local = '', remote = '', state, queued = ''] = line.trim().split(/\s+/);
    if (state !== ESTABLISHED) continue;
    const [here, there] = [local, remote].map((address) => Number.parseInt(address.slice(-4), 16));
    const [toSend, toRead] = queued.split(':').map((bytes) => Number.parseInt(bytes, 16));
    const [connection, bytes] = connections.has(`${here} ${there}`)
      ? [`${here} ${there}`, toSend]
      : [`${there} ${here}`, toRead];
    if (connections.has(connection)) waiting.set(connection, (waiting.get(connection) ?? 0) + bytes);
  }
  return waiting;
}
