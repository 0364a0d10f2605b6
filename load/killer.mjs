import { parentPort, Worker, workerData } from 'node:worker_threads';
import { Checkpoints } from './kill-checkpoints.mjs';

/**
 * Kills a process from a thread of its own: one that also runs the clients would always kill when it has just read all
 * answers and written the next requests, which is no random moment.
 */

const WORD_AT_REST = new Int32Array(new SharedArrayBuffer(4));
/** Between two looks at the disk, and until all threads of a stopped process stand still. */
const LOOK_MILLISECONDS = 0.5;
const STOP_MILLISECONDS = 5;
/** Under load a checkpoint begins many times within this. */
const LONGEST_LOOK_MILLISECONDS = 60_000;

/**
 * Sends SIGKILL after so many milliseconds.
 *
 * @param inFlight a word that others count in
 * @returns what it was at the kill
 */
export const killFromThread = (pid, milliseconds, inFlight) => killIn({ pid, milliseconds, inFlight });

/** Sends SIGKILL when one of the server's checkpoints is half written, however seldom that is. */
export const killInCheckpoint = (pid, dataDir, inFlight) => killIn({ pid, dataDir, inFlight });

function killIn(data) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: data });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

if (workerData?.pid) {
  const { pid, milliseconds, dataDir, inFlight } = workerData;
  if (dataDir) await stopInCheckpoint(pid, dataDir);
  else pause(milliseconds);
  const count = Atomics.load(inFlight, 0);
  process.kill(pid, 'SIGKILL');
  parentPort.postMessage(count);
}

/** What is seen of a process that runs may be over at once: it is looked at again when it stands still. */
async function stopInCheckpoint(pid, dataDir) {
  const checkpoints = new Checkpoints(dataDir);
  const end = performance.now() + LONGEST_LOOK_MILLISECONDS;
  for (;;) {
    if (performance.now() > end) throw new Error(`No checkpoint was begun within ${LONGEST_LOOK_MILLISECONDS} ms.`);
    pause(LOOK_MILLISECONDS);
    if (checkpoints.unfinished() === 0) continue;
    process.kill(pid, 'SIGSTOP');
    pause(STOP_MILLISECONDS);
    if (checkpoints.unfinished() > 0) break;
    process.kill(pid, 'SIGCONT');
  }
  await checkpoints.close();
}

function pause(milliseconds) {
  Atomics.wait(WORD_AT_REST, 0, 0, milliseconds);
}
