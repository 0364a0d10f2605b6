/** Channels over TCP: the only file of the client that knows `node:net`. */

import { connect } from 'node:net';
import type { Address, Channel, ChannelEvents, Transport } from './transport.js';

export const tcpTransport: Transport = {
  open(address: Address, events: ChannelEvents): Channel {
    const socket = connect({ host: address.host, port: address.port, noDelay: true, keepAlive: true });
    let cause: Error | undefined;
    let closing = false;
    socket.on('connect', () => events.opened());
    socket.on('data', (bytes) => events.received(bytes));
    socket.on('error', (error) => {
      cause = error;
    });
    socket.on('close', () => {
      if (!closing) events.closed(cause);
    });
    return {
      write(bytes) {
        // one system call for all frames of a turn
        if (socket.writableCorked === 0) {
          socket.cork();
          process.nextTick(() => socket.uncork());
        }
        socket.write(bytes);
      },
      flush: () => socket.uncork(),
      close() {
        closing = true;
        socket.destroy();
      },
    };
  },
};
