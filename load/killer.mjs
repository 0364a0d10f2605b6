import { parentPort, Worker, workerData } from 'node:worker_threads';

/**
 * Kills a process from a thread of its own: one that also runs the clients would always kill when it has just read all
 * answers and written the next requests, which is no random moment.
 */

const WORD_AT_REST = new Int32Array(new SharedArrayBuffer(4));

/**
 * Sends SIGKILL after so many milliseconds.
 *
 * @param inFlight a word that others count in
 * @returns what it was at the kill
 */
export function killFromThread(pid, milliseconds, inFlight) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { pid, milliseconds, inFlight } });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

if (workerData?.pid) {
  const { pid, milliseconds, inFlight } = workerData;
  Atomics.wait(WORD_AT_REST, 0, 0, milliseconds);
  const count = Atomics.load(inFlight, 0);
  process.kill(pid, 'SIGKILL');
  parentPort.postMessage(count);
}
