/**
 * WebSockets of Node, whose oldest version that we run on has none of its own: the only file of the client that knows `ws`, which is loaded
 * with the first of them: it takes longer than all of a client that speaks TCP.
 */

import type { WebSocket } from 'ws';
import { type WebSocketEvents, webSocketTransport } from './web-socket.js';

const ABNORMAL = 1006;

export const wsTransport = webSocketTransport((url, events) => {
  let socket: WebSocket | undefined;
  let isClosed = false;
  const dial = async (): Promise<void> => {
    const { WebSocket } = await import('ws');
    if (isClosed) return;
    socket = new WebSocket(url, { perMessageDeflate: false });
    listen(socket, events);
  };
  dial().catch((error: Error) => events.closed(ABNORMAL, '', error));
  return {
    // ws masks a copy of what it is given
    send: (message) => socket?.send(message),
    // An end in order would wait for the server's, and keep the process for so long
    close: () => {
      isClosed = true;
      socket?.terminate();
    },
  };
});

function listen(socket: WebSocket, events: WebSocketEvents): void {
  let cause: Error | undefined;
  socket.on('open', () => events.opened());
  socket.on('message', (message, isBinary) => events.received(isBinary ? (message as Buffer) : undefined));
  socket.on('error', (error) => {
    cause = error;
  });
  socket.on('close', (code, reason) => events.closed(code, reason.toString(), cause));
}
