import { once } from 'node:events';
import { connect } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { codeOfStatus } from '../dist/errors.js';
import { ByteWriter } from '../dist/protocol/bytes.js';
import { encodeHelloRequest, PROTOCOL_VERSION } from '../dist/protocol/control.js';
import { encodeFrame, FrameReader } from '../dist/protocol/frame.js';
import { LANE, Opcode } from '../dist/protocol/opcode.js';
import { decodeError } from '../dist/protocol/response.js';
import { encodeTail } from '../dist/protocol/tail.js';

/**
 * The readers of load/stalled.mjs: each asks for its feed with the largest window there is, and then never reads. Only in the end, when it is told so, each reads
 * what has come: a feed that was cut off has TOO_SLOW as its last word, or the end of its connection.
 *
 *   workerData: { places: [{ host, port, partition, prefix }, …] }
 *   tells: ['server port client port', …]; in the end { tooSlow, closed, frames, bytes }: how many were cut off in either way, and what they had been sent
 */
const CREDIT = 64;
const INTERVAL = 1_000;
const FEED = 2;
/** For the end of its feed to come, once it reads. */
const PATIENCE_MILLISECONDS = 10_000;

function encode(opcode, partition, id, write) {
  const body = new ByteWriter();
  write(body);
  return encodeFrame(opcode, 0, partition, id, body.view());
}

async function follow({ host, port, partition, prefix }) {
  const socket = connect({ host, port, noDelay: true });
  // the server may end it while bytes wait here
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.pause();
  socket.write(
    encode(Opcode.HELLO, LANE, 1, (body) => encodeHelloRequest(body, { version: PROTOCOL_VERSION, client: 'stalled' })),
  );
  const request = { kind: 'prefix', interval: INTERVAL, credit: CREDIT, prefix };
  socket.write(encode(Opcode.TAIL, partition, FEED, (body) => encodeTail(body, request)));
  return socket;
}

/** Reads all that a reader was sent; what that ends with. */
function readToEnd(socket, counts) {
  return new Promise((resolve) => {
    const reader = new FrameReader();
    socket.on('data', (chunk) => {
      counts.bytes += chunk.length;
      reader.push(chunk, ({ opcode, requestId, body }) => {
        if (requestId !== FEED) return;
        if (opcode === Opcode.ERROR) resolve(codeOfStatus(decodeError(body).status));
        else counts.frames++;
      });
    });
    socket.on('close', () => resolve('closed'));
    setTimeout(() => resolve('goes on'), PATIENCE_MILLISECONDS);
    socket.resume();
  });
}

const sockets = [];
for (const place of workerData.places) sockets.push(await follow(place));
parentPort.postMessage(sockets.map(({ localPort, remotePort }) => `${remotePort} ${localPort}`));
await once(parentPort, 'message');
const counts = { frames: 0, bytes: 0 };
const ends = await Promise.all(sockets.map((socket) => readToEnd(socket, counts)));
const count = (end) => ends.filter((each) => each === end).length;
parentPort.postMessage({ tooSlow: count('TOO_SLOW'), closed: count('closed'), ...counts });
for (const socket of sockets) socket.destroy();
