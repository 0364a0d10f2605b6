/**
 * The client library for browsers, and whatever else has their WebSocket and not the modules of Node. Chance, time and the network
 * enter here.
 */

import { clockOf } from '../clock.js';
import { TallystickError } from '../errors.js';
import type { Client } from './client.js';
import { type ConnectOptions, connectIn } from './connect.js';
import { parseAddress } from './transport.js';
import { webSocketTransport } from './web-socket.js';

export * from './api.js';

/** Of a browser, what is used: with the types of all of it, what Node lacks would be let in everywhere. */
interface BrowserWebSocket {
  binaryType: string;
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: string | ArrayBuffer }) => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  send(message: Uint8Array): void;
  close(): void;
}
declare const WebSocket: new (url: string) => BrowserWebSocket;
declare const MessageChannel: new () => {
  readonly port1: { onmessage: (() => void) | null };
  readonly port2: { postMessage(message: null): void };
};

const transport = webSocketTransport((url, events) => {
  const socket = new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => events.opened();
  socket.onmessage = ({ data }) => events.received(typeof data === 'string' ? undefined : new Uint8Array(data));
  // Browsers keep from pages what an error was; the close that follows each says as much
  socket.onclose = ({ code, reason }) => events.closed(code, reason);
  return { send: (message) => socket.send(message), close: () => socket.close() };
});

/** Messages of a page to itself come after the input that is there, and are not slowed down in a tab that nobody sees, as timers are. */
function turnsByMessages(): (callback: () => void) => void {
  const { port1, port2 } = new MessageChannel();
  const callbacks: (() => void)[] = [];
  port1.onmessage = () => callbacks.shift()?.();
  return (callback) => {
    callbacks.push(callback);
    port2.postMessage(null);
  };
}

const environment = {
  clock: clockOf(turnsByMessages()),
  random: Math.random,
  randomBytes: (count: number) => crypto.getRandomValues(new Uint8Array(count)),
  transport,
};

/**
 * Connects to a server by the address of any of its lanes, `ws://host:port`, or several to be tried in turn. Tries until
 * `timeout` and then rejects with TIMEOUT; with the server's error where that is final.
 */
export function connect(
  urls: string | readonly string[],
  options: ConnectOptions & { readonly values: 'number' },
): Promise<Client<number>>;
export function connect(urls: string | readonly string[], options?: ConnectOptions): Promise<Client>;
export async function connect(
  urls: string | readonly string[],
  options: ConnectOptions = {},
): Promise<Client | Client<number>> {
  const other = [urls].flat().find((url) => parseAddress(url).scheme !== 'ws');
  if (other !== undefined) throw new TallystickError('INVALID_ARGUMENT', `"${other}": a browser needs ws://host:port.`);
  return connectIn(environment, urls, options);
}
