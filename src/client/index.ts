/** The client library. Chance, time and the network enter here. */

import { systemClock } from '../clock.js';
import { type Client, type ConnectOptions, connectIn } from './client.js';
import { tcpTransport } from './tcp.js';
import type { Address, ChannelEvents } from './transport.js';
import { wsTransport } from './ws.js';

export { type ErrorCode, type Outcome, TallystickError } from '../errors.js';
export type { StatsAnswer } from '../protocol/control.js';
export type { Seen } from '../protocol/uniques.js';
export type { BatchResult, CallOptions, FailedOperation, OperationResult } from './call.js';
export type { Client, ConnectOptions } from './client.js';
export type { Counter } from './counter.js';
export type { Counters } from './counters.js';
export { type FailedIncrement, FlushError } from './failures.js';
export type {
  HistoryPoint,
  PastValue,
  RangeOptions,
  RangeReading,
  Series,
  SeriesOptions,
} from './history.js';
export type { Instant } from './instant.js';
export type { ListedCounter, ListOptions } from './lister.js';
export { Position } from './position.js';
export type { Reading, ReadOptions } from './reader.js';
export type { Statistics } from './sender.js';
export type { Item, SeeOptions } from './sightings.js';
export type { Uniques } from './uniques.js';
export type { WindowOptions, WindowReading } from './windows.js';
export type {
  Ack,
  BatchOperation,
  BatchOptions,
  BatchToOptions,
  Deleted,
  DeleteOptions,
  IncrementOptions,
  OperationOptions,
  SetOptions,
} from './writer.js';

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
