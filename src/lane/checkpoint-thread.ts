import { constants } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../clock.js';
import { openCheckpoints, openLogReader } from '../log/lane-storage.js';
import { KERNEL_VERSION } from '../partition/partition.js';
import { setThreadPriority } from '../thread-priority.js';
import { compileWasm } from '../wasm.js';
import type { FromCheckpointer, ToCheckpointer } from './checkpoint-messages.js';
import { Checkpointer } from './checkpointer.js';
import { collecting } from './collecting.js';

/** The thread of a lane's checkpointer. The lane starts and stops it; an error that it throws ends the lane. */

export interface CheckpointThreadOptions {
  /** The lane's directory. */
  readonly path: string;
  readonly partitions: readonly number[];
}

// Nobody waits for a checkpoint, and everybody for the lanes, until the tail of the log comes to its bound; then the lanes wait, and leave it the cores.
setThreadPriority(constants.priority.PRIORITY_BELOW_NORMAL);

const { path, partitions } = workerData as CheckpointThreadOptions;
const shape = { partitions, kernelVersion: KERNEL_VERSION };
const log = openLogReader(path, shape);
const checkpoints = await openCheckpoints(path, shape);
const checkpointer = new Checkpointer({
  ...{ log, checkpoints, kernel: compileWasm('kernel'), clock: systemClock, report },
  collect: collecting(),
});

function report(message: FromCheckpointer): void {
  if (message.kind === 'stopped') void end(message);
  else parentPort?.postMessage(message);
}

/** Closes the storage before the lane, which has it open too, does. */
async function end(message: FromCheckpointer): Promise<void> {
  await log.close();
  await checkpoints.close();
  parentPort?.postMessage(message);
  parentPort?.close();
}

parentPort?.on('message', (message: ToCheckpointer) => checkpointer.hear(message));
