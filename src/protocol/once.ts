/**
 * The bodies of ONCE and its answer, both ways, as plain values. Decoders throw BAD_REQUEST for a body that does not follow protocol.md, and
 * take nothing that is left over.
 */

import { TallystickError } from '../errors.js';
import { ByteReader, type ByteWriter } from './bytes.js';
import { encodeSequence, type Key, MAX_TIME, readKey, readSequence, type Sequence, writeKey } from './request.js';
import { type Progress, type Refused, readProgress, readRefused, writeProgress, writeRefused } from './response.js';
import { readItem, SAME_KEY, writeItem } from './uniques.js';

/** An increment that counts unless the item was counted under the name already. */
export interface OnceOperation {
  readonly key: Key;
  /** 1 to 1,024 bytes. */
  readonly item: Uint8Array;
  /** 1 unless given. */
  readonly delta?: bigint;
  /** For how long the item is not to be counted again, in milliseconds: what the class must say; 0 or absent: whatever that is. */
  readonly within?: number;
}

export interface OnceRequest {
  /** Present exactly when the frame has SEQUENCED. */
  readonly sequence?: Sequence;
  readonly operations: readonly OnceOperation[];
}

export interface OnceAnswer extends Progress {
  readonly refused: readonly Refused[];
  /** Whether each operation counted; false where it was refused. */
  readonly counted: readonly boolean[];
  /** The counter's value after each operation; empty unless the request asked for VALUES. */
  readonly values: readonly bigint[];
}

/** `delta zigzag | within varint`, after an item whose key was written with `extended`. @throws TallystickError INVALID_ARGUMENT */
export function writeCounting(writer: ByteWriter, delta: number | bigint, within: number): void {
  if (!(Number.isSafeInteger(within) && within >= 0 && within <= MAX_TIME)) {
    throw new TallystickError('INVALID_ARGUMENT', `An item cannot count once within ${within} ms.`);
  }
  writer.zigzag(delta);
  writer.varint(within);
}

/** The frame needs SEQUENCED exactly when the request has a sequence. An item with the very key of the one before takes a byte for it. */
export function encodeOnce(writer: ByteWriter, { sequence, operations }: OnceRequest): void {
  if (sequence) encodeSequence(writer, sequence);
  writer.varint(operations.length);
  let before: Key | undefined;
  let wasExtended = false;
  for (const { key, item, delta, within } of operations) {
    const isExtended = delta !== undefined || within !== undefined;
    if (key === before && isExtended === wasExtended) writer.u8(SAME_KEY);
    else writeKey(writer, key, isExtended);
    writeItem(writer, item);
    if (isExtended) writeCounting(writer, delta ?? 1n, within ?? 0);
    before = key;
    wasExtended = isExtended;
  }
}

export function decodeOnce(body: Uint8Array, flags: number): OnceRequest {
  const reader = new ByteReader(body);
  const sequence = readSequence(reader, flags);
  const operations: OnceOperation[] = [];
  let before: { readonly key: Key; readonly extended: boolean } | undefined;
  for (let count = reader.count(3); count > 0; count--) {
    const isSame = before !== undefined && reader.peekU8() === SAME_KEY;
    if (isSame) reader.u8();
    const { key, extended } = isSame && before ? before : readKey(reader);
    const item = readItem(reader);
    operations.push({ key, item, ...(extended ? readCounting(reader) : undefined) });
    before = isSame && before ? before : { key, extended };
  }
  reader.end();
  return { ...sequence, operations };
}

function readCounting(reader: ByteReader): { readonly delta: bigint; readonly within: number } {
  const delta = reader.zigzagBig();
  const within = reader.varint();
  if (within > MAX_TIME) throw new TallystickError('BAD_REQUEST', `An item cannot count once within ${within} ms.`);
  return { delta, within };
}

export function encodeOnceAnswer(writer: ByteWriter, { refused, counted, values, ...progress }: OnceAnswer): void {
  writeProgress(writer, progress);
  writeRefused(writer, refused);
  for (let i = 0; i < counted.length; i += 8) {
    writer.u8(counted.slice(i, i + 8).reduce((byte, isCounted, j) => byte | ((isCounted ? 1 : 0) << j), 0));
  }
  for (const value of values) writer.zigzag(value);
}

/** `operations` is how many the request had, `values` whether it asked for VALUES. */
export function decodeOnceAnswer(body: Uint8Array, operations: number, values: boolean): OnceAnswer {
  const reader = new ByteReader(body);
  const progress = readProgress(reader);
  const refused = readRefused(reader, operations);
  const counted: boolean[] = [];
  for (let i = 0; i < operations; i += 8) {
    const byte = reader.u8();
    for (let j = 0; j < 8 && i + j < operations; j++) counted.push(((byte >> j) & 1) === 1);
  }
  const read: bigint[] = [];
  for (let i = 0; values && i < operations; i++) read.push(reader.zigzagBig());
  reader.end();
  return { ...progress, refused, counted, values: read };
}
