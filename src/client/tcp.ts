/** Channels over TCP: the only file of the client that knows `node:net`. */

import { connect, type Socket } from 'node:net';
import type { Address, Channel, ChannelEvents, Transport } from './transport.js';

/**
 * What all channels read into: it is theirs again when it was told. Else Node allocates 64 KiB for each read, which then are collected.
 */
const BUFFER = Buffer.allocUnsafeSlow(65_536);
/** Frames that are together no longer are copied into one piece, which costs less than to tell the system of each, or Node of an array of its engine. */
const FEW_BYTES = 8_192;

export const tcpTransport: Transport = {
  open(address: Address, events: ChannelEvents): Channel {
    let view = BUFFER;
    const callback = (count: number): boolean => {
      if (view.length !== count) view = BUFFER.subarray(0, count);
      events.received(view);
      return true;
    };
    const { host, port } = address;
    const socket = connect({ host, port, noDelay: true, keepAlive: true, onread: { buffer: BUFFER, callback } });
    let cause: Error | undefined;
    let closing = false;
    let frames: Uint8Array[] = [];
    const flush = (): void => {
      if (frames.length === 0) return;
      const all = frames;
      frames = [];
      if (!closing) writeAll(socket, all);
    };
    socket.on('connect', () => events.opened());
    // Nothing else would read as far as the end
    socket.resume();
    socket.on('error', (error) => {
      cause = error;
    });
    socket.on('close', () => {
      if (!closing) events.closed(cause);
    });
    return {
      write(bytes) {
        if (frames.length > 0) frames.push(bytes);
        else {
          frames = [bytes];
          process.nextTick(flush);
        }
      },
      flush,
      close() {
        closing = true;
        socket.destroy();
      },
    };
  },
};

/** In one system call, as far as the system has room. */
function writeAll(socket: Socket, frames: readonly Uint8Array[]): void {
  let bytes = 0;
  for (const frame of frames) bytes += frame.length;
  if (bytes <= FEW_BYTES) {
    socket.write(Buffer.concat(frames, bytes));
    return;
  }
  socket.cork();
  for (const frame of frames) socket.write(frame);
  socket.uncork();
}
