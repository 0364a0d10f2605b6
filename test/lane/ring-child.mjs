// One end of a ring, in a thread of its own (ring-threads.test.ts). Runs from dist/. The end that writes sends numbered messages of
// all sizes; the one that reads checks them, and says in the end how many came and how often each was woken.
import { parentPort, workerData } from 'node:worker_threads';
import { Inlet, Outlet } from '../../dist/lane/link.js';
import { encodeFrame } from '../../dist/protocol/frame.js';

const { ring, bell, isWriter, messages } = workerData;
/** A turn of the writer sends so many at a time, so that the ring is now full and now empty. */
const MOST_OF_A_TURN = 40;
const MOST_QUEUED_BYTES = 65_536;
let woken = 0;
const wake = () => bell.postMessage(null);

const sizeOf = (number) => (number * 7919) % 600;
const byteOf = (number, at) => (number * 31 + at) & 0xff;

function write() {
  const outlet = new Outlet(ring, wake);
  let number = 0;
  const turn = () => {
    const most = number + (number % MOST_OF_A_TURN) + 1;
    for (; number < Math.min(messages, most) && outlet.queuedBytes < MOST_QUEUED_BYTES; number++) {
      const body = Uint8Array.from({ length: sizeOf(number) }, (_, at) => byteOf(number, at));
      outlet.send(encodeFrame(4, 0, 0, number, body));
    }
    if (number < messages) setImmediate(turn);
    else if (outlet.queuedBytes === 0) parentPort.postMessage({ woken });
  };
  bell.on('message', () => {
    woken++;
    outlet.pump();
    if (number === messages) turn();
  });
  turn();
}

function read() {
  const inlet = new Inlet(ring, wake, new Uint8Array(8192));
  let number = 0;
  const take = ({ requestId, body }) => {
    if (requestId !== number || body.length !== sizeOf(number)) throw new Error(`${requestId} came for ${number}.`);
    for (let at = 0; at < body.length; at++)
      if (body[at] !== byteOf(number, at)) throw new Error(`Message ${number} is damaged.`);
    number++;
  };
  const pass = () => {
    const isBusy = inlet.take(take);
    if (number === messages) parentPort.postMessage({ woken, number });
    else if (isBusy || !inlet.sleeps()) setImmediate(pass);
  };
  bell.on('message', () => {
    woken++;
    pass();
  });
  pass();
}

if (isWriter) write();
else read();
