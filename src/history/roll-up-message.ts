import type { ErrorCode } from '../errors.js';
import type { Resolution } from '../series/bucket.js';
import { KEY_BYTES, keyBytes } from './key.js';
import type { Look, LookRequest, RollUp, RollUpRequest } from './roll-up.js';
import type { StoredRow } from './tables.js';

/** What goes between a lane and the pool that computes its roll-ups. */

export interface RollUpTask {
  /** The file of the lane's history. */
  readonly path: string;
  readonly asked:
    | { readonly kind: 'step'; readonly request: RollUpRequest }
    | { readonly kind: 'look'; readonly request: LookRequest };
}

export type RollUpAnswer =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'step'; readonly step: PackedRollUp }
  | { readonly kind: 'look'; readonly look: Look }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly detail: string };

/**
 * A step whose rows lie in two buffers, because to clone thousands of small ones takes the lane's thread milliseconds.
 *
 * ```
 *  removals: keys of the source's length, one after the other
 *
 *  puts:  0     12       14
 *         +-----+--------+------- - -
 *         | key | length | value       one after the other, little-endian
 *         |     |  u16   |
 *         +-----+--------+------- - -
 * ```
 */
export interface PackedRollUp {
  readonly partition: number;
  readonly revision: number;
  readonly source: Resolution;
  readonly day: number;
  readonly removals: Uint8Array;
  readonly target: Resolution;
  readonly puts: Uint8Array;
}

const LENGTH_BYTES = 2;

export function packed({ removals, puts, ...rest }: RollUp): PackedRollUp {
  const items = puts.flatMap(({ key, value }) => {
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt16LE(value.length);
    return [key, length, value];
  });
  // Buffers of their own: a view of Node's pool would be cloned with the whole pool.
  return {
    ...rest,
    removals: Uint8Array.from(Buffer.concat(removals)),
    puts: Uint8Array.from(Buffer.concat(items)),
  };
}

export function unpacked({ removals, puts, ...rest }: PackedRollUp): RollUp {
  const length = keyBytes(rest.source);
  const keys = Array.from({ length: removals.length / length }, (_, index) =>
    removals.subarray(index * length, (index + 1) * length),
  );
  const rows: StoredRow[] = [];
  const view = new DataView(puts.buffer, puts.byteOffset, puts.length);
  for (let at = 0; at < puts.length; ) {
    const start = at + KEY_BYTES + LENGTH_BYTES;
    const end = start + view.getUint16(at + KEY_BYTES, true);
    rows.push({ key: puts.subarray(at, at + KEY_BYTES), value: puts.subarray(start, end) });
    at = end;
  }
  return { ...rest, removals: keys, puts: rows };
}
