/** The client library for Node. */

import type { Client } from './client.js';
import { type ConnectOptions, connectIn } from './connect.js';
import { nodeEnvironment } from './environment.js';

export * from './api.js';

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
  return connectIn(nodeEnvironment, urls, options);
}
