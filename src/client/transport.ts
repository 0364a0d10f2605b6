/** The network as the client sees it: an object that is passed in, so that browsers and tests bring their own. */

import { TallystickError } from '../errors.js';

/** Where a lane listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What a channel tells its owner. Never called from within `open`, `write` or `close`, nor after `close`. */
export interface ChannelEvents {
  opened(): void;
  /** The bytes are the channel's again when the call returns. */
  received(bytes: Uint8Array): void;
  /** The last event. `cause` is absent where the peer closed in order. */
  closed(cause?: Error): void;
}

/** An ordered, reliable stream of bytes both ways. */
export interface Channel {
  /** Takes the bytes, in order. They must stay as they are until they are answered or the channel is closed. */
  write(bytes: Uint8Array): void;
  close(): void;
}

export interface Transport {
  open(address: Address, events: ChannelEvents): Channel;
}

/**
 * The address in `tallystick://host:port` or `host:port`; IPv6 hosts stand in brackets. Throws INVALID_ARGUMENT.
 */
export function parseAddress(url: string): Address {
  const authority = url.startsWith('tallystick://') ? url.slice('tallystick://'.length).replace(/\/$/, '') : url;
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/?#@[\]]+)):(\d{1,5})$/.exec(authority);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (!host || !(port >= 1 && port <= 65_535)) {
    throw new TallystickError('INVALID_ARGUMENT', `"${url}" is no address like tallystick://host:port.`);
  }
  return { host, port };
}

/** The address that a server gave for one of its lanes; a wildcard means the host by which the server was reached. */
export function laneAddress(lane: Address, reachedAt: Address): Address {
  const isWildcard = lane.host === '' || lane.host === '0.0.0.0' || lane.host === '::';
  return isWildcard ? { host: reachedAt.host, port: lane.port } : lane;
}
