import { ABSENT, codeOfStatus, OK, TallystickError } from '../errors.js';
import { decodeExpiryAnswer, type ExpiryAnswer } from '../protocol/expiry.js';
import { Opcode } from '../protocol/opcode.js';
import { encodeGet, type Expiry as WireExpiry } from '../protocol/request.js';
import { parseDuration } from './duration.js';
import { type Instant, millisecondsOf } from './instant.js';
import { askParts, partsOf, type Question } from './parts.js';
import type { ReadOptions } from './reader.js';
import type { Session } from './session.js';

/**
 * When a counter ends by itself, as if it were deleted: so long after the change is applied ("90s", "1h", or milliseconds), at a time, or
 * never. With `ifNone` only where it has no such time yet.
 */
export type Expiry =
  | 'never'
  | { readonly after: string | number; readonly at?: never; readonly ifNone?: boolean }
  | { readonly at: Instant; readonly after?: never; readonly ifNone?: boolean };

/** What a counter's end is. */
export interface ToldExpiry {
  /** Whether there is such a counter. */
  readonly existed: boolean;
  /** When it ends, in milliseconds since 1970; undefined where it does not by itself, or just has. */
  readonly expires: number | undefined;
}

/** Names of a request: a name has at most 1,024 bytes, so that they fit into a frame. */
const MOST_NAMES = 1_000;

/** @throws TallystickError INVALID_ARGUMENT */
export function expiryOf(expiry: Expiry): WireExpiry {
  if (expiry === 'never') return { never: true };
  const ifNone = expiry.ifNone ? { ifNone: true } : undefined;
  if (expiry.after !== undefined) return { in: parseDuration(expiry.after), ...ifNone };
  return { at: millisecondsOf(expiry.at), ...ifNone };
}

export function toldExpiry(expires: number, existed: boolean): ToldExpiry {
  return { existed, expires: expires === 0 ? undefined : expires };
}

const QUESTION: Question<ExpiryAnswer> = { opcode: Opcode.EXPIRY, encode: encodeGet, decode: decodeExpiryAnswer };

/** When counters end, in the order of their names. Rejects with the first failure. */
export async function readExpiries(
  session: Session,
  names: readonly string[],
  options: ReadOptions,
  timeout: number,
): Promise<ToldExpiry[]> {
  const told: ToldExpiry[] = new Array(names.length);
  for (const { part, answer } of await askParts(
    session,
    partsOf(session, names, MOST_NAMES),
    QUESTION,
    options,
    timeout,
  )) {
    if (answer.found.length !== part.names.length)
      throw new TallystickError('BAD_REQUEST', `${answer.found.length} times.`);
    for (const [i, { status, expires = 0 }] of answer.found.entries()) {
      if (status !== OK && status !== ABSENT)
        throw new TallystickError(codeOfStatus(status), `The end of "${part.names[i]}".`);
      told[part.indexes[i] as number] = toldExpiry(expires, status === OK);
    }
  }
  return told;
}
