import type { Extension } from '../protocol/request.js';
import { toInt64 } from './counters.js';
import { type Expiry, expiryOf } from './expiry.js';
import { type Instant, millisecondsOf } from './instant.js';
import { operationId } from './operation-id.js';

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

/** Throws INVALID_ARGUMENT for what is no safe integer of 64 bits. */
export function checkDelta(delta: number | bigint): void {
  if (typeof delta !== 'number' || !Number.isSafeInteger(delta)) toInt64(delta);
}

/** What an operation needs its extended form for; undefined where it needs none. */
export function extensionOf({ id, min, max, time, expiry }: OperationOptions): Extension | undefined {
  if (id === undefined && min === undefined && max === undefined && time === undefined && expiry === undefined)
    return undefined;
  return {
    ...(min !== undefined && { min: toInt64(min) }),
    ...(max !== undefined && { max: toInt64(max) }),
    ...(id !== undefined && { operationId: operationId(id) }),
    ...(time !== undefined && { time: millisecondsOf(time) }),
    ...(expiry !== undefined && { expiry: expiryOf(expiry) }),
  };
}
