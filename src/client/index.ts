/** The client library for Node. Chance, time and the network enter here. */

import { systemClock } from '../clock.js';
import type { Client } from './client.js';
import { type ConnectOptions, connectIn } from './connect.js';
import { tcpTransport } from './tcp.js';
import type { Address, ChannelEvents } from './transport.js';
import { wsTransport } from './ws.js';

export * from './api.js';

const environment = {
  clock: systemClock,
  random: Math.random,
  randomBytes: (count: number) => crypto.getRandomValues(new Uint8Array(count)),
  transport: {
    open: (address: Address, events: ChannelEvents) =>
      (address.scheme === 'ws' ? wsTransport : tcpTransport).open(address, events),
  },
};

/**
 * Connects to a server by the address of any of its lanes: `tallystick://host:port` or `host:port`, over WebSocket
 * `ws://host:port`, or several to be tried in turn. Tries until `timeout` and then rejects with TIMEOUT; with the server's error where that is final.
 */
export function connect(
  urls: string | readonly string[],
  options: ConnectOptions & { readonly values: 'number' },
): Promise<Client<number>>;
export function connect(urls: string | readonly string[], options?: ConnectOptions): Promise<Client>;
export function connect(
  urls: string | readonly string[],
  options: ConnectOptions = {},
): Promise<Client | Client<number>> {
  return connectIn(environment, urls, options);
}
