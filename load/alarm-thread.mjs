import { parentPort, workerData } from 'node:worker_threads';
import { ARMED, sleepUntil } from './alarm.mjs';

/** The thread of alarm.mjs: sleeps until it is armed, then until the time, and says so. */

const { state, due } = workerData;
for (;;) {
  Atomics.wait(state, ARMED, 0);
  sleepUntil(state, due[0]);
  Atomics.store(state, ARMED, 0);
  parentPort.postMessage(0);
}
