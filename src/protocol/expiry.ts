/** EXPIRE and EXPIRY: the bodies of their requests and answers, both ways. Decoders throw BAD_REQUEST for what does not follow protocol.md. */

import { OK, TallystickError } from '../errors.js';
import { ByteReader, type ByteWriter } from './bytes.js';
import {
  type Expiry,
  encodeSequence,
  type Key,
  readExpiry,
  readKey,
  readSequence,
  type Sequence,
  writeExpiry,
  writeKey,
} from './request.js';
import { type Progress, readProgress, writeProgress } from './response.js';

export interface ExpireRequest {
  /** Present exactly when the frame has SEQUENCED. */
  readonly sequence?: Sequence;
  readonly key: Key;
  readonly expiry: Expiry;
}

/** Of EXPIRE. */
export interface ExpireAnswer extends Progress {
  /** OK; ABSENT, where there is no counter; or an error. */
  readonly status: number;
  /** When the counter expires now, in milliseconds since 1970; 0 where it never does, or has just ended. */
  readonly expires: number;
}

/** When a counter expires, where it exists: in milliseconds since 1970, 0 = never. */
export type FoundExpiry =
  | { readonly status: 0; readonly expires: number }
  | { readonly status: number; readonly expires?: never };

/** Of EXPIRY, whose request is that of a GET. */
export interface ExpiryAnswer extends Progress {
  readonly found: readonly FoundExpiry[];
}

/** The frame needs SEQUENCED exactly when the request has a sequence. */
export function encodeExpire(writer: ByteWriter, { sequence, key, expiry }: ExpireRequest): void {
  if (sequence) encodeSequence(writer, sequence);
  writeKey(writer, key);
  writeExpiry(writer, expiry);
}

export function decodeExpire(body: Uint8Array, flags: number): ExpireRequest {
  const reader = new ByteReader(body);
  const sequence = readSequence(reader, flags);
  const { key, extended } = readKey(reader);
  if (extended) throw new TallystickError('BAD_REQUEST', 'An EXPIRE has no extended form.');
  const expiry = readExpiry(reader);
  reader.end();
  return { ...sequence, key, expiry };
}

export function encodeExpireAnswer(writer: ByteWriter, answer: ExpireAnswer): void {
  writeProgress(writer, answer);
  writer.u8(answer.status);
  writer.varint(answer.expires);
}

export function decodeExpireAnswer(body: Uint8Array): ExpireAnswer {
  const reader = new ByteReader(body);
  const progress = readProgress(reader);
  const answer = { ...progress, status: reader.u8(), expires: reader.varint() };
  reader.end();
  return answer;
}

export function encodeExpiryAnswer(writer: ByteWriter, answer: ExpiryAnswer): void {
  writeProgress(writer, answer);
  writer.varint(answer.found.length);
  for (const { status, expires } of answer.found) {
    writer.u8(status);
    if (expires !== undefined) writer.varint(expires);
  }
}

export function decodeExpiryAnswer(body: Uint8Array): ExpiryAnswer {
  const reader = new ByteReader(body);
  const progress = readProgress(reader);
  const found: FoundExpiry[] = [];
  for (let count = reader.count(1); count > 0; count--) {
    const status = reader.u8();
    found.push(status === OK ? { status, expires: reader.varint() } : { status });
  }
  reader.end();
  return { ...progress, found };
}
