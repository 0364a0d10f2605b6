/** HISTORY: the bodies of its request and answer, both ways. Decoders throw BAD_REQUEST for what does not follow protocol.md. */

import { TallystickError } from '../errors.js';
import { ByteReader, type ByteWriter } from './bytes.js';
import { Flag } from './opcode.js';
import { type Key, readAfter, readKeys, writeAfter, writeKeys } from './request.js';
import { type Progress, readProgress, writeProgress } from './response.js';

/** What is asked: the buckets of a time, all of them or with minutes added up by the hour, or the value at an instant. */
export type HistoryQuestion =
  | { readonly kind: 'buckets' | 'hours'; readonly from: number; readonly to: number }
  | { readonly kind: 'value'; readonly at: number };

export interface HistoryRequest {
  /** The position to wait for; present exactly when the frame has AFTER. */
  readonly after?: { readonly epoch: number; readonly sequence: number };
  /** Times are milliseconds since 1970, as all here. */
  readonly question: HistoryQuestion;
  readonly key: Key;
}

/** By their numbers in a body. */
export const BUCKET_RESOLUTIONS = ['minute', 'hour', 'day'] as const;
type Resolution = (typeof BUCKET_RESOLUTIONS)[number];

/** A sum of deltas, of up to 128 bits. */
export interface HistoryBucket {
  readonly resolution: Resolution;
  /** A whole minute. */
  readonly start: number;
  readonly sum: bigint;
}

/** A value that a counter had, and what it is exact for. */
export interface HistoryValue {
  readonly value: bigint;
  /** The instant of which it is: that asked for, or the next of which it is known. */
  readonly at: number;
  readonly resolution: Resolution;
}

export type HistoryFound =
  | { readonly kind: 'buckets'; readonly buckets: readonly HistoryBucket[] }
  /** A bucket of minutes is all of an hour. */
  | { readonly kind: 'hours'; readonly buckets: readonly HistoryBucket[] }
  | ({ readonly kind: 'value' } & HistoryValue);

export interface HistoryAnswer extends Progress {
  /** The server's clock. */
  readonly now: number;
  readonly found: HistoryFound;
}

/** By their numbers in a body. */
const KINDS = ['buckets', 'value', 'hours'] as const;
const MINUTE = 60_000;
const SUM_BYTES = 16;

/** The frame needs AFTER exactly when the request has `after`. */
export function encodeHistory(writer: ByteWriter, { after, question, key }: HistoryRequest): void {
  if (after) writeAfter(writer, after.epoch, after.sequence);
  writer.u8(KINDS.indexOf(question.kind));
  if (question.kind === 'value') {
    writer.varint(question.at);
  } else {
    writer.varint(question.from);
    writer.varint(question.to);
  }
  writeKeys(writer, [key]);
}

export function decodeHistory(body: Uint8Array, flags: number): HistoryRequest {
  const reader = new ByteReader(body);
  const after = flags & Flag.AFTER ? { after: readAfter(reader) } : undefined;
  const question = readQuestion(reader);
  const [key, ...others] = readKeys(reader);
  reader.end();
  if (!key || others.length > 0) throw new TallystickError('BAD_REQUEST', 'A HISTORY is of one counter.');
  return { ...after, question, key };
}

/** What stands before the keys of a request. */
export function readQuestion(reader: ByteReader): HistoryQuestion {
  const kind = readKind(reader);
  if (kind === 'value') return { kind, at: reader.varint() };
  const [from, to] = [reader.varint(), reader.varint()];
  if (from >= to) throw new TallystickError('BAD_REQUEST', 'A range of the history ends behind its beginning.');
  return { kind, from, to };
}

export function encodeHistoryAnswer(writer: ByteWriter, answer: HistoryAnswer): void {
  writeProgress(writer, answer);
  writeFound(writer, answer.now, answer.found);
}

/** What stands behind the progress of an answer. */
export function writeFound(writer: ByteWriter, now: number, found: HistoryFound): void {
  writer.varint(now);
  writer.u8(KINDS.indexOf(found.kind));
  if (found.kind === 'value') {
    writer.u8(BUCKET_RESOLUTIONS.indexOf(found.resolution));
    writer.varint(found.at);
    writeSum(writer, found.value);
    return;
  }
  writer.varint(found.buckets.length);
  let before = 0;
  for (const { resolution, start, sum } of found.buckets) {
    const minute = start / MINUTE;
    writer.u8(BUCKET_RESOLUTIONS.indexOf(resolution));
    writer.varint(minute - before);
    writeSum(writer, sum);
    before = minute;
  }
}

export function decodeHistoryAnswer(body: Uint8Array): HistoryAnswer {
  const reader = new ByteReader(body);
  const progress = readProgress(reader);
  const now = reader.varint();
  const kind = readKind(reader);
  const found: HistoryFound = kind === 'value' ? readValue(reader) : { kind, buckets: readBuckets(reader) };
  reader.end();
  return { ...progress, now, found };
}

function readKind(reader: ByteReader): (typeof KINDS)[number] {
  const number = reader.u8();
  const kind = KINDS[number];
  if (!kind) throw new TallystickError('BAD_REQUEST', `A HISTORY has no kind ${number}.`);
  return kind;
}

function readValue(reader: ByteReader): HistoryFound {
  const resolution = readResolution(reader);
  return { kind: 'value', resolution, at: reader.varint(), value: readSum(reader) };
}

function readBuckets(reader: ByteReader): HistoryBucket[] {
  const buckets: HistoryBucket[] = [];
  let minute = 0;
  for (let count = reader.count(3); count > 0; count--) {
    const resolution = readResolution(reader);
    minute += reader.varint();
    buckets.push({ resolution, start: minute * MINUTE, sum: readSum(reader) });
  }
  return buckets;
}

function readResolution(reader: ByteReader): Resolution {
  const resolution = BUCKET_RESOLUTIONS[reader.u8()];
  if (!resolution) throw new TallystickError('BAD_REQUEST', 'There is no such resolution.');
  return resolution;
}

/** `length u8 | as many bytes`: two's complement, little-endian, as short as it can be. */
function writeSum(writer: ByteWriter, sum: bigint): void {
  const bytes: number[] = [];
  for (let rest = sum; ; rest >>= 8n) {
    const byte = Number(rest & 0xffn);
    bytes.push(byte);
    if (rest >= -128n && rest < 128n) break;
  }
  writer.u8(bytes.length);
  writer.bytes(Uint8Array.from(bytes));
}

function readSum(reader: ByteReader): bigint {
  const length = reader.u8();
  if (length < 1 || length > SUM_BYTES) throw new TallystickError('BAD_REQUEST', `A sum has no ${length} bytes.`);
  let sum = 0n;
  for (const [at, byte] of reader.bytes(length).entries()) sum |= BigInt(byte) << BigInt(8 * at);
  return BigInt.asIntN(8 * length, sum);
}
