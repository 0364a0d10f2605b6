import type { Extension } from '../protocol/request.js';
import type { CallOptions } from './call.js';
import { toInt64 } from './counters.js';
import { type Expiry, expiryOf } from './expiry.js';
import { type Instant, millisecondsOf } from './instant.js';
import { operationId } from './operation-id.js';

/** When a write is answered: in the log and flushed, or in memory. */
export type Ack = 'durable' | 'applied';

/** The conditions of one increment. */
export interface OperationOptions {
  /** 16 bytes, or any string: the increment happens once within 10 minutes, however often it is asked for. */
  readonly id?: string | Uint8Array;
  /** The new value must not be below … */
  readonly min?: number | bigint;
  /** … nor above, else OUT_OF_BOUNDS. */
  readonly max?: number | bigint;
  /**
   * When it happened, if that is not now. It counts in the windows and the history of that time; the
   * counter's class says how late it may come (TIME_TOO_OLD).
   */
  readonly time?: Instant;
  /** When the counter ends by itself, from now on: with `{ after: '1m', ifNone: true }` a minute after its first increment. */
  readonly expiry?: Expiry;
}

/** One increment of a batch. */
export interface BatchOperation extends OperationOptions {
  readonly name: string;
  /** 1 unless given. */
  readonly delta?: number | bigint;
}

export interface IncrementOptions extends OperationOptions, CallOptions {
  /** The client's `ack` unless given. */
  readonly ack?: Ack;
}

export interface BatchOptions extends CallOptions {
  /** All operations or none; their names must share a partition. */
  readonly atomic?: boolean;
  readonly ack?: Ack;
  /** `false`: answers only what failed, which takes less time and memory in the client and the server. */
  readonly values?: boolean;
}

export interface BatchToOptions extends BatchOptions {
  /** At most 64 bytes that `client.cursors` gives back to the next session of a named producer. */
  readonly cursor?: Uint8Array;
}

export interface SetOptions extends CallOptions {
  /** 1 to 256 bytes of UTF-8 for the audit log. */
  readonly reason: string;
  /** Set only if the counter has this value, else EXPECTATION_FAILED. */
  readonly expect?: number | bigint;
}

export interface DeleteOptions extends CallOptions {
  /** 1 to 256 bytes of UTF-8 for the audit log. */
  readonly reason: string;
  /** Delete only if the counter has this value, else EXPECTATION_FAILED. An absent one has 0. */
  readonly expect?: number | bigint;
}

/** What a delete found. */
export interface Deleted<V> {
  /** The value that it had, 0 where there was none. */
  readonly previous: V;
  /** Whether there was a counter. */
  readonly existed: boolean;
}

/** Throws INVALID_ARGUMENT for what is no safe integer of 64 bits. */
export function checkDelta(delta: number | bigint): void {
  if (typeof delta !== 'number' || !Number.isSafeInteger(delta)) toInt64(delta);
}

export function reasonOf({ reason, expect }: SetOptions | DeleteOptions): { reason: string; expect?: bigint } {
  return { reason, ...(expect !== undefined && { expect: toInt64(expect) }) };
}

export function hasConditions({ id, min, max, time, expiry }: OperationOptions): boolean {
  return id !== undefined || min !== undefined || max !== undefined || time !== undefined || expiry !== undefined;
}

export function extensionOf(options: OperationOptions): Extension | undefined {
  if (!hasConditions(options)) return undefined;
  const { id, min, max, time, expiry } = options;
  return {
    ...(min !== undefined && { min: toInt64(min) }),
    ...(max !== undefined && { max: toInt64(max) }),
    ...(id !== undefined && { operationId: operationId(id) }),
    ...(time !== undefined && { time: millisecondsOf(time) }),
    ...(expiry !== undefined && { expiry: expiryOf(expiry) }),
  };
}
