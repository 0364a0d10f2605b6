/** WebSockets of Node, whose oldest version that we run on has none of its own: the only file of the client that knows `ws`. */

import { createRequire } from 'node:module';
import type * as Ws from 'ws';
import { webSocketTransport } from './web-socket.js';

const require = createRequire(import.meta.url);

export const wsTransport = webSocketTransport((url, events) => {
  // Loaded when it is first needed: most speak TCP, and it would take two thirds of the time in which the client is loaded.
  const { WebSocket } = require('ws') as typeof Ws;
  const socket = new WebSocket(url, { perMessageDeflate: false });
  let cause: Error | undefined;
  socket.on('open', () => events.opened());
  socket.on('message', (message, isBinary) => events.received(isBinary ? (message as Buffer) : undefined));
  socket.on('error', (error) => {
    cause = error;
  });
  socket.on('close', (code, reason) => events.closed(code, reason.toString(), cause));
  return {
    // ws masks a copy of what it is given
    send: (message) => socket.send(message),
    // An end in order would wait for the server's, and keep the process for so long
    close: () => socket.terminate(),
  };
});
