import type { ErrorCode } from '../errors.js';

/** What goes back to a client. */
export interface Reply {
  readonly status: number;
  /** Its media type. */
  readonly type: string;
  readonly body: string;
  /** Of a problem. */
  readonly code?: ErrorCode;
  /** Names and values in turn. */
  readonly headers?: readonly string[];
}

export const JSON_TYPE = 'application/json';
