import { once } from 'node:events';
import { connect } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { ByteWriter } from '../dist/protocol/bytes.js';
import { encodeHelloRequest, PROTOCOL_VERSION } from '../dist/protocol/control.js';
import { encodeFrame } from '../dist/protocol/frame.js';
import { LANE, Opcode } from '../dist/protocol/opcode.js';
import { encodeTail } from '../dist/protocol/tail.js';

/**
 * The readers of load/stalled.mjs: each asks for its feed, grants it all the credit there is, and then never reads.
 *
 *   workerData: { places: [{ host, port, partition, prefix }, …] }
 */
const CREDIT = 64;
const INTERVAL = 1_000;

function encode(opcode, partition, id, write) {
  const body = new ByteWriter();
  write(body);
  return encodeFrame(opcode, 0, partition, id, body.view());
}

async function follow({ host, port, partition, prefix }) {
  const socket = connect({ host, port, noDelay: true });
  // the server ends it while bytes wait here
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.pause();
  socket.write(
    encode(Opcode.HELLO, LANE, 1, (body) => encodeHelloRequest(body, { version: PROTOCOL_VERSION, client: 'stalled' })),
  );
  const request = { kind: 'prefix', interval: INTERVAL, credit: CREDIT, prefix };
  socket.write(encode(Opcode.TAIL, partition, 2, (body) => encodeTail(body, request)));
  return socket;
}

const sockets = [];
for (const place of workerData.places) sockets.push(await follow(place));
// Credit that is granted before anything was read: a client that follows no rules
const granting = setInterval(() => {
  sockets.forEach((socket, i) => {
    const { partition } = workerData.places[i];
    if (socket.writable && socket.writableLength === 0)
      socket.write(
        encode(Opcode.TAIL, partition, 3, (body) => encodeTail(body, { kind: 'more', feed: 2, credit: CREDIT })),
      );
  });
}, 1_000);
parentPort.postMessage(sockets.map(({ localPort, remotePort }) => `${remotePort} ${localPort}`));
parentPort.on('message', () => {
  clearInterval(granting);
  for (const socket of sockets) socket.destroy();
  parentPort.close();
});
