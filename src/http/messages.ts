import type { ErrorCode } from '../errors.js';

/** What the main thread and the thread of HTTP tell each other. */

export interface HttpOptions {
  /** Of any lane, as the SDK takes it. */
  readonly url: string;
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
  /** Names by which the server may be asked for, besides `localhost` and IP addresses. */
  readonly hosts: readonly string[];
  /** Counters whose names and values /metrics tells. */
  readonly metricsNames: readonly string[];
  readonly connections: number;
  /** For how long the server remembers operation ids. */
  readonly operationIdMilliseconds: number;
}

/** A place where clients connect. */
export interface HttpPlace {
  readonly host: string;
  readonly port: number;
}

/** Answer what is there, refuse what comes, close and end. */
export interface ToHttp {
  readonly kind: 'drain';
}

export type FromHttp =
  | ({ readonly kind: 'listening' } & HttpPlace)
  | { readonly kind: 'drained' }
  /** An error, as its code and its own part of the message. */
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly detail: string };
