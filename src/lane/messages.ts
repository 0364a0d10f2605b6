import type { MessagePort } from 'node:worker_threads';
import type { ErrorCode } from '../errors.js';
import type { Retention } from '../history/roll-up.js';
import type { LogKind } from '../log/segment-files.js';
import type { Retention as LogRetention } from '../log/segments.js';
import type { ServerMap } from './greeting.js';
import type { HotName } from './hot-names.js';
import type { Link } from './link.js';
import type { LaneConfiguration } from './recovery.js';

/** What the supervisor and a lane's thread tell each other. Values that a message port can copy; no counts, no operations. */

/** Of the log of one lane. */
export interface LogSettings {
  /** What new segments are kept in. */
  readonly kind: LogKind;
  readonly segmentBytes: number;
  readonly retention: LogRetention;
}

export interface WebSocketSettings {
  readonly port: number;
  /** Of pages that may connect. */
  readonly origins: readonly string[];
}

/** A place where clients connect. */
export interface Place {
  readonly host: string;
  readonly port: number;
}

export interface LaneOptions {
  readonly lane: number;
  /** The lane's directory. */
  readonly path: string;
  /** Whether to make it. */
  readonly create: boolean;
  readonly partitions: readonly number[];
  readonly configuration: LaneConfiguration;
  readonly log: LogSettings;
  readonly host: string;
  readonly port: number;
  /** Where WebSocket is spoken; undefined where it is not. */
  readonly webSocket: WebSocketSettings | undefined;
  /** Of each port. */
  readonly connections: number;
  readonly checkpointTailBytes: number;
  /** Of the history. */
  readonly retention: Retention;
  readonly hotPerSecond: number;
  /** Operations that clients may write; 0: any. What they have written is in `quota`, which all lanes share. */
  readonly quotaPerSecond: number;
  readonly quota: SharedArrayBuffer;
  /** One word: not 0 when storage can no longer be trusted. */
  readonly poison: SharedArrayBuffer;
  /** Of all lanes (append-watch.ts). */
  readonly appends: SharedArrayBuffer;
  readonly links: readonly ThreadLink[];
}

/** The way to the thread of another lane; what comes out of the port says no more than that the other one rang. */
export type ThreadLink = Omit<Link, 'wake'> & { readonly bell: MessagePort };

export type ToLane =
  /** All lanes listen: here is the map, serve. */
  | { readonly kind: 'serve'; readonly map: ServerMap }
  /** Refuse what comes, flush what is there, close and end. */
  | { readonly kind: 'drain' };

export type FromLane =
  | ({ readonly kind: 'listening' } & LaneStatus)
  | { readonly kind: 'hot'; readonly hot: HotName }
  /** Of a look back into the log, which only its reader is the worse for. */
  | { readonly kind: 'lookFailed'; readonly code: ErrorCode; readonly detail: string }
  | { readonly kind: 'drained' }
  /** An error, as its code and its own part of the message. */
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly detail: string };

/** Where a lane listens, and how it came to be there. */
export interface LaneStatus extends Place {
  /** For WebSocket, where that is spoken. */
  readonly webSocket?: Place;
  readonly recovery: Recovery;
}

/** What a lane read to come to where it was. */
export interface Recovery {
  /** Of the checkpoints. */
  readonly pages: number;
  readonly checkpointMilliseconds: number;
  /** Of the log: what was applied, and what was read. */
  readonly entries: number;
  readonly bytes: number;
  readonly logMilliseconds: number;
}
