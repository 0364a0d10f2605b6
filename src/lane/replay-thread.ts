import { parentPort, workerData } from 'node:worker_threads';
import { checkpointPath, openLogReader } from '../log/lane-storage.js';
import { LmdbCheckpointReader } from '../log/lmdb-checkpoints.js';
import { KERNEL_VERSION } from '../partition/partition.js';
import { compileWasm } from '../wasm.js';
import type { FromReplayer, ReplayOrder } from './replay-messages.js';
import { Replayer } from './replayer.js';

/** The thread of a lane's replayer. It lives for one order, so that its memory is free when that is done. */

export interface ReplayThreadOptions {
  /** The lane's directory. */
  readonly path: string;
  readonly partitions: readonly number[];
  readonly order: ReplayOrder;
}

const { path, partitions, order } = workerData as ReplayThreadOptions;
const shape = { partitions, kernelVersion: KERNEL_VERSION };
const log = openLogReader(path, shape);
const checkpoints = new LmdbCheckpointReader(checkpointPath(path), shape);
const report = (message: FromReplayer) => {
  const isLarge = message.kind === 'found' && message.past.kind === 'prefix';
  parentPort?.postMessage(message, isLarge ? [message.past.items.buffer as ArrayBuffer] : []);
};
const replayer = new Replayer({ log, checkpoints, kernel: compileWasm('kernel'), report });
// The only message is that nobody waits any more
parentPort?.on('message', () => replayer.stop());
await replayer.work(order);
await log.close();
await checkpoints.close();
parentPort?.close();
