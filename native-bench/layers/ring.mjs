import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { createRing, RingReader, RingWriter } from '../../dist/lane/ring.js';
import { FNV_START, fnv } from '../fnv.mjs';

/** A ring between two threads that are both awake: its bytes, without doorbells. */

const CAPACITY = 1 << 20;
/** Beyond it what comes out is not hashed, which would take longer than the ring. */
const HASHED_BYTES = 4 << 20;

/**
 * Read before anything else. After it no read or write can end just where the ring does, since that takes a ring that was full
 * there: so what goes round the end always goes in two parts, however the threads are scheduled.
 */
const PRELUDE_BYTES = 13;

export { CAPACITY };

/** Sends messages of the bytes 0, 1, 2 … from this thread to another; the hash is of what came out there. */
export async function throughRing(messageBytes, messages) {
  const ring = createRing(CAPACITY);
  const total = messageBytes * messages;
  const worker = new Worker(new URL(import.meta.url), { workerData: { ring, total } });
  const writer = new RingWriter(ring);
  writer.write(new Uint8Array(PRELUDE_BYTES));
  await once(worker, 'message');
  const finished = once(worker, 'message');
  const message = Uint8Array.from({ length: messageBytes }, (_, i) => i);
  const start = performance.now();
  for (let i = 0; i < messages; i++) {
    for (let sent = 0; sent < messageBytes; ) sent += writer.write(sent === 0 ? message : message.subarray(sent));
  }
  const [hash] = await finished;
  return { seconds: (performance.now() - start) / 1_000, operations: messages, hash };
}

if (!isMainThread && workerData?.ring) {
  const { ring, total } = workerData;
  const reader = new RingReader(ring);
  const into = new Uint8Array(CAPACITY);
  for (let left = PRELUDE_BYTES; left > 0; ) left -= reader.read(into.subarray(0, left));
  parentPort.postMessage('ready');
  let hash = FNV_START;
  for (let left = total; left > 0; ) {
    const count = reader.read(into);
    if (total < HASHED_BYTES) hash = fnv(hash, into.subarray(0, count));
    left -= count;
  }
  parentPort.postMessage(hash);
}
