/** The network as the client sees it: an object that is passed in, so that browsers and tests bring their own. */

import { TallystickError } from '../errors.js';

/** Where a lane listens, and for what. */
export interface Address {
  /** TCP or WebSocket. */
  readonly scheme: 'tallystick' | 'ws';
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
  /** Sends now what was written, which else goes when the calls of this turn are made. */
  flush(): void;
  close(): void;
}

export interface Transport {
  open(address: Address, events: ChannelEvents): Channel;
}

/**
 * The address in `tallystick://host:port`, `ws://host:port` or `host:port`; IPv6 hosts stand in brackets. Throws
 * INVALID_ARGUMENT.
 */
export function parseAddress(url: string): Address {
  const scheme = url.startsWith('ws://') ? 'ws' : 'tallystick';
  const start = `${scheme}://`;
  const authority = url.startsWith(start) ? url.slice(start.length).replace(/\/$/, '') : url;
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/?#@[\]]+)):(\d{1,5})$/.exec(authority);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (!host || !(port >= 1 && port <= 65_535)) {
    throw new TallystickError(
      'INVALID_ARGUMENT',
      `"${url}" is no address like tallystick://host:port or ws://host:port.`,
    );
  }
  return { scheme, host, port };
}

export const authorityOf = ({ host, port }: Pick<Address, 'host' | 'port'>): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`;

/**
 * The address that a server gave for one of its lanes: of the kind by which the server was reached. A wildcard means the host
 * by which it was.
 */
export function laneAddress({ host, port }: Pick<Address, 'host' | 'port'>, reachedAt: Address): Address {
  const isWildcard = host === '' || host === '0.0.0.0' || host === '::';
  return { scheme: reachedAt.scheme, host: isWildcard ? reachedAt.host : host, port };
}
