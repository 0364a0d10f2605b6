import { Socket } from 'node:net';
import { TallystickError } from '../errors.js';

export interface ReadInto<B extends Uint8Array> {
  /** Shared by as many sockets as there are: what is read there is valid only while it is told. */
  readonly buffer: B;
  /** Takes what came; `false` stops the reading until the socket is resumed. */
  readonly read: (bytes: B) => boolean;
  /** Whether our side stays open when the other one has ended theirs; no unless given. */
  readonly allowHalfOpen?: boolean;
}

/**
 * A socket in the place of an accepted one that reads into `buffer`. Those that a server of Node makes allocate 64 KiB for
 * every read, which costs a server under load a fifth of its time in collections, and `onread` is an option of `Socket` alone. So
 * the connection changes its object: `_handle` is what Node itself hands over so, without documentation. `lib/net.js` of every
 * release that package.json allows takes it. What is accepted is empty then, and the caller's to destroy; its server counts it until it is.
 */
export function readingInto<B extends Uint8Array>(
  accepted: Socket,
  { buffer, read, allowHalfOpen }: ReadInto<B>,
): Socket {
  const holder = accepted as unknown as { _handle: unknown };
  const handle = holder._handle;
  if (!handle) throw new TallystickError('INTERNAL', `The sockets of Node ${process.version} have no handle to take.`);
  holder._handle = null;
  // Messages of a connection are mostly as long as the one before, and are shown by the same object
  let view = buffer;
  const callback = (count: number): boolean => {
    if (view.length !== count) view = buffer.subarray(0, count) as B;
    return read(view);
  };
  const options = {
    ...{ handle, manualStart: true, readable: true, writable: true, onread: { buffer, callback } },
    allowHalfOpen: allowHalfOpen ?? false,
  };
  return new Socket(options);
}
