// Reads ranges of a log that the main thread writes, and answers with the sequences that it saw. Runs from dist/.
import { parentPort, workerData } from 'node:worker_threads';
import { openLogReader } from '../../dist/log/lane-storage.js';

const reader = openLogReader(workerData.directory, workerData.shape);
parentPort.on('message', async (range) => {
  const sequences = [];
  await reader.readPartition({ ...range, visit: ({ sequence }) => sequences.push(sequence) });
  parentPort.postMessage(sequences);
});
