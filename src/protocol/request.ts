/**
 * The bodies of requests, both ways. The small writers serve a client that packs a batch operation by operation, without
 * an object for each; `encode…` and `decode…` take and give plain values. Decoders throw BAD_REQUEST for a body that
 * does not follow protocol.md, NAME_INVALID for a name that is no UTF-8, and take nothing that is left over.
 */

import { TallystickError } from '../errors.js';
import { ByteReader, type ByteWriter, encodeUtf8, requireUtf8 } from './bytes.js';
import { DEFAULT_LIMITS, Flag } from './opcode.js';

const BY_ID = 1;
const EXTENDED = 2;

/** The bits of `fields` in an extended operation. */
const Field = { MIN: 1, MAX: 2, OPERATION_ID: 4, TIME: 8, EXPIRY: 16 } as const;
const ALL_FIELDS = Field.MIN | Field.MAX | Field.OPERATION_ID | Field.TIME | Field.EXPIRY;

/** The last millisecond of the year 9999, which is as far as times go. */
export const MAX_TIME = 253_402_300_799_999;

/** How an expiry is written. */
const Mode = { NEVER: 0, AT: 1, IN: 2, IF_NONE: 4 } as const;

/** Bytes of an operation id. */
export const OPERATION_ID_BYTES = 16;

/** A counter by its name, or by the id that OPEN gave. */
export type Key = { readonly name: string } | { readonly slot: number; readonly generation: number };

/** What precedes the body of a SEQUENCED request. */
export interface Sequence {
  /** From 1, without a gap, for each producer, partition and incarnation. */
  readonly sequence: number;
  /** How many sequences back the oldest unanswered one lies. */
  readonly unanswered: number;
  /** At most 64 bytes, opaque; absent leaves the producer's cursor as it was. */
  readonly cursor?: Uint8Array;
}

/** When a counter expires: never, at a time, or so long after the change is applied. */
export type Expiry =
  | { readonly never: true; readonly at?: never; readonly in?: never }
  | { readonly at: number; readonly in?: never; readonly ifNone?: boolean }
  | { readonly in: number; readonly at?: never; readonly ifNone?: boolean };

/** The parts of an operation that need its extended form. */
export interface Extension {
  readonly min?: bigint;
  readonly max?: bigint;
  /** 16 bytes. */
  readonly operationId?: Uint8Array;
  /** When it happened, in milliseconds since 1970, if that is not now. */
  readonly time?: number;
  /** When the counter expires from now on. */
  readonly expiry?: Expiry;
}

export interface Operation extends Extension {
  readonly key: Key;
  readonly delta: bigint;
}

export interface AddRequest {
  /** Present exactly when the frame has SEQUENCED. */
  readonly sequence?: Sequence;
  readonly operations: readonly Operation[];
}

export interface GetRequest {
  /** The position to wait for; present exactly when the frame has AFTER. */
  readonly after?: { readonly epoch: number; readonly sequence: number };
  readonly keys: readonly Key[];
}

export interface SetRequest {
  /** Present exactly when the frame has SEQUENCED. */
  readonly sequence?: Sequence;
  readonly key: Key;
  readonly value: bigint;
  /** Set only if the counter has this value. */
  readonly expect?: bigint;
  /** 1 to 256 bytes of UTF-8. */
  readonly reason: string;
}

export interface DeleteRequest {
  /** Present exactly when the frame has SEQUENCED. */
  readonly sequence?: Sequence;
  readonly key: Key;
  /** Delete only if the counter has this value. */
  readonly expect?: bigint;
  /** 1 to 256 bytes of UTF-8. */
  readonly reason: string;
}

export interface ListRequest {
  /** What the names begin with: at most 1,024 bytes, which may end within a character. */
  readonly prefix: Uint8Array;
  /** 0 at first, then what the answer before gave. 32 bits. */
  readonly cursor: number;
  /** The most counters of the answer, at least 1; it may have fewer in any case. 32 bits. */
  readonly limit: number;
}

// --- piece by piece ---

/** `head varint | name`. Throws NAME_INVALID, with nothing written, for half a surrogate pair. */
export function writeNameKey(writer: ByteWriter, name: string, extended = false): void {
  writer.varint(keyHead(requireUtf8(name), extended ? EXTENDED : 0));
  writer.name(name);
}

/** The same for a name that is UTF-8 already, in `source` from `start` to `end`. */
export function writeNameBytesKey(
  writer: ByteWriter,
  source: Uint8Array,
  start: number,
  end: number,
  extended = false,
): void {
  writer.varint(keyHead(end - start, extended ? EXTENDED : 0));
  writer.bytes(source, start, end);
}

/** `head varint | generation varint`. */
export function writeIdKey(writer: ByteWriter, slot: number, generation: number, extended = false): void {
  writer.varint(keyHead(slot, extended ? EXTENDED | BY_ID : BY_ID));
  writer.varint(generation);
}

export function writeKey(writer: ByteWriter, key: Key, extended = false): void {
  if ('name' in key) writeNameKey(writer, key.name, extended);
  else writeIdKey(writer, key.slot, key.generation, extended);
}

/** A plain operation of an ADD. A `number` must be a safe integer. */
export function writeOperationByName(writer: ByteWriter, name: string, delta: number | bigint): void {
  writeNameKey(writer, name);
  writer.zigzag(delta);
}

/** A plain operation of an ADD. A `number` must be a safe integer. */
export function writeOperationById(writer: ByteWriter, slot: number, generation: number, delta: number | bigint): void {
  writeIdKey(writer, slot, generation);
  writer.zigzag(delta);
}

/** `delta | fields | …`, after a key that was written with `extended`. */
export function writeExtendedDelta(writer: ByteWriter, delta: number | bigint, extension: Extension): void {
  const { min, max, operationId, time, expiry } = extension;
  if (operationId && operationId.length !== OPERATION_ID_BYTES) {
    throw new TallystickError('INVALID_ARGUMENT', `An operation id has ${OPERATION_ID_BYTES} bytes.`);
  }
  if (time !== undefined && !(Number.isSafeInteger(time) && time >= 0 && time <= MAX_TIME)) {
    throw new TallystickError('INVALID_ARGUMENT', `A time is milliseconds since 1970, not ${time}.`);
  }
  writer.zigzag(delta);
  writer.u8(
    (min === undefined ? 0 : Field.MIN) |
      (max === undefined ? 0 : Field.MAX) |
      (operationId === undefined ? 0 : Field.OPERATION_ID) |
      (time === undefined ? 0 : Field.TIME) |
      (expiry === undefined ? 0 : Field.EXPIRY),
  );
  if (min !== undefined) writer.zigzag(min);
  if (max !== undefined) writer.zigzag(max);
  if (operationId !== undefined) writer.bytes(operationId);
  if (time !== undefined) writer.varint(time);
  if (expiry !== undefined) writeExpiry(writer, expiry);
}

/** `sequence varint | unanswered varint | cursor length u8 | cursor`. */
export function writeSequence(writer: ByteWriter, sequence: number, unanswered: number, cursor?: Uint8Array): void {
  const cursorBytes = cursor?.length ?? 0;
  if (cursorBytes > DEFAULT_LIMITS.cursor) {
    throw new TallystickError('INVALID_ARGUMENT', `A cursor has at most ${DEFAULT_LIMITS.cursor} bytes.`);
  }
  writer.varint(sequence);
  writer.varint(unanswered);
  writer.u8(cursorBytes);
  if (cursor) writer.bytes(cursor);
}

/** `epoch u32 | sequence varint`: what precedes the body of a GET with AFTER. */
export function writeAfter(writer: ByteWriter, epoch: number, sequence: number): void {
  writer.u32(epoch);
  writer.varint(sequence);
}

/** value << 2 | extended << 1 | byId; multiplied, since a shift would cut to 32 bits. */
function keyHead(value: number, bits: number): number {
  return value * 4 + bits;
}

// --- whole bodies ---

export function encodeOpen(writer: ByteWriter, names: readonly string[]): void {
  writer.varint(names.length);
  for (const name of names) writeNameKey(writer, name);
}

export function decodeOpen(body: Uint8Array): string[] {
  const reader = new ByteReader(body);
  const names: string[] = [];
  for (let count = reader.count(2); count > 0; count--) {
    const { key, extended } = readKey(reader);
    if (extended || !('name' in key)) throw new TallystickError('BAD_REQUEST', 'OPEN takes plain names.');
    names.push(key.name);
  }
  reader.end();
  return names;
}

/** The frame needs SEQUENCED exactly when the request has a sequence. */
export function encodeAdd(writer: ByteWriter, request: AddRequest): void {
  if (request.sequence) encodeSequence(writer, request.sequence);
  writer.varint(request.operations.length);
  for (const operation of request.operations) {
    const { key, delta, min, max, operationId, time, expiry } = operation;
    const extended = [min, max, operationId, time, expiry].some((field) => field !== undefined);
    writeKey(writer, key, extended);
    if (extended) writeExtendedDelta(writer, delta, operation);
    else writer.zigzag(delta);
  }
}

export function decodeAdd(body: Uint8Array, flags: number): AddRequest {
  const reader = new ByteReader(body);
  const sequence = readSequence(reader, flags);
  const operations: Operation[] = [];
  for (let count = reader.count(3); count > 0; count--) {
    const { key, extended } = readKey(reader);
    const delta = reader.zigzagBig();
    operations.push({ key, delta, ...(extended ? readExtension(reader) : undefined) });
  }
  reader.end();
  return { ...sequence, operations };
}

/** The frame needs AFTER exactly when the request has `after`. */
export function encodeGet(writer: ByteWriter, request: GetRequest): void {
  if (request.after) writeAfter(writer, request.after.epoch, request.after.sequence);
  writeKeys(writer, request.keys);
}

export function decodeGet(body: Uint8Array, flags: number): GetRequest {
  const reader = new ByteReader(body);
  const after = flags & Flag.AFTER ? { after: readAfter(reader) } : undefined;
  const keys = readKeys(reader);
  reader.end();
  return { ...after, keys };
}

/** `epoch u32 | sequence varint` of a request with AFTER. */
export function readAfter(reader: ByteReader): { readonly epoch: number; readonly sequence: number } {
  return { epoch: reader.u32(), sequence: reader.varint() };
}

/** `count varint | count × key`, of a request that reads. */
export function writeKeys(writer: ByteWriter, keys: readonly Key[]): void {
  writer.varint(keys.length);
  for (const key of keys) writeKey(writer, key);
}

export function readKeys(reader: ByteReader): Key[] {
  const keys: Key[] = [];
  for (let count = reader.count(2); count > 0; count--) {
    const { key, extended } = readKey(reader);
    if (extended) throw new TallystickError('BAD_REQUEST', 'A key that is read has no extended form.');
    keys.push(key);
  }
  return keys;
}

/** The frame needs SEQUENCED exactly when the request has a sequence. */
export function encodeSet(writer: ByteWriter, request: SetRequest): void {
  const reason = encodeReason(request.reason);
  if (request.sequence) encodeSequence(writer, request.sequence);
  writeKey(writer, request.key, request.expect !== undefined);
  writer.zigzag(request.value);
  if (request.expect !== undefined) writer.zigzag(request.expect);
  writer.varint(reason.length);
  writer.bytes(reason);
}

export function decodeSet(body: Uint8Array, flags: number): SetRequest {
  const reader = new ByteReader(body);
  const sequence = readSequence(reader, flags);
  const { key, extended } = readKey(reader);
  const value = reader.zigzagBig();
  const expect = extended ? { expect: reader.zigzagBig() } : undefined;
  const reason = readReason(reader);
  reader.end();
  return { ...sequence, key, value, ...expect, reason };
}

/** The frame needs SEQUENCED exactly when the request has a sequence. */
export function encodeDelete(writer: ByteWriter, request: DeleteRequest): void {
  const reason = encodeReason(request.reason);
  if (request.sequence) encodeSequence(writer, request.sequence);
  writeKey(writer, request.key, request.expect !== undefined);
  if (request.expect !== undefined) writer.zigzag(request.expect);
  writer.varint(reason.length);
  writer.bytes(reason);
}

export function decodeDelete(body: Uint8Array, flags: number): DeleteRequest {
  const reader = new ByteReader(body);
  const sequence = readSequence(reader, flags);
  const { key, extended } = readKey(reader);
  const expect = extended ? { expect: reader.zigzagBig() } : undefined;
  const reason = readReason(reader);
  reader.end();
  return { ...sequence, key, ...expect, reason };
}

export function encodeList(writer: ByteWriter, { prefix, cursor, limit }: ListRequest): void {
  writer.varint(prefix.length);
  writer.bytes(prefix);
  writer.varint(cursor);
  writer.varint(limit);
}

export function decodeList(body: Uint8Array): ListRequest {
  const reader = new ByteReader(body);
  const prefixBytes = reader.varint();
  if (prefixBytes > DEFAULT_LIMITS.name) {
    throw new TallystickError('BAD_REQUEST', `A prefix has at most ${DEFAULT_LIMITS.name} bytes.`);
  }
  const prefix = reader.copy(prefixBytes);
  const cursor = reader.varint();
  const limit = reader.varint();
  if (limit < 1 || Math.max(cursor, limit) > 0xffffffff) {
    throw new TallystickError('BAD_REQUEST', 'Cursor and limit of a LIST have 32 bits, and the limit is at least 1.');
  }
  reader.end();
  return { prefix, cursor, limit };
}

// --- the parts ---

/** `mode u8 | time varint`. @throws TallystickError INVALID_ARGUMENT */
export function writeExpiry(writer: ByteWriter, expiry: Expiry): void {
  if ('never' in expiry) {
    writer.u8(Mode.NEVER);
    writer.varint(0);
    return;
  }
  const time = expiry.at ?? expiry.in;
  if (!(Number.isSafeInteger(time) && time >= 0 && time <= MAX_TIME))
    throw new TallystickError('INVALID_ARGUMENT', `A counter cannot expire at, or after, ${time} ms.`);
  writer.u8((expiry.at === undefined ? Mode.IN : Mode.AT) | (expiry.ifNone ? Mode.IF_NONE : 0));
  writer.varint(time);
}

export function readExpiry(reader: ByteReader): Expiry {
  const mode = reader.u8();
  const time = reader.varint();
  if (mode === Mode.NEVER && time === 0) return { never: true };
  const ifNone = mode & Mode.IF_NONE ? { ifNone: true } : undefined;
  const kind = mode & ~Mode.IF_NONE;
  if ((kind !== Mode.AT && kind !== Mode.IN) || time > MAX_TIME)
    throw new TallystickError('BAD_REQUEST', `${mode}, ${time} is no time at which a counter expires.`);
  return kind === Mode.AT ? { at: time, ...ifNone } : { in: time, ...ifNone };
}

export function encodeSequence(writer: ByteWriter, { sequence, unanswered, cursor }: Sequence): void {
  writeSequence(writer, sequence, unanswered, cursor);
}

export function readSequence(reader: ByteReader, flags: number): { sequence: Sequence } | undefined {
  if (!(flags & Flag.SEQUENCED)) return undefined;
  const sequence = reader.varint();
  const unanswered = reader.varint();
  const cursorBytes = reader.u8();
  if (cursorBytes > DEFAULT_LIMITS.cursor) {
    throw new TallystickError('BAD_REQUEST', `A cursor has at most ${DEFAULT_LIMITS.cursor} bytes.`);
  }
  if (cursorBytes === 0) return { sequence: { sequence, unanswered } };
  return { sequence: { sequence, unanswered, cursor: reader.copy(cursorBytes) } };
}

function encodeReason(text: string): Uint8Array {
  const reason = encodeUtf8(text);
  if (reason.length < 1 || reason.length > DEFAULT_LIMITS.reason) {
    throw new TallystickError('INVALID_ARGUMENT', `A reason has 1 to ${DEFAULT_LIMITS.reason} bytes.`);
  }
  return reason;
}

function readReason(reader: ByteReader): string {
  const bytes = reader.varint();
  if (bytes < 1 || bytes > DEFAULT_LIMITS.reason) {
    throw new TallystickError('BAD_REQUEST', `A reason has 1 to ${DEFAULT_LIMITS.reason} bytes.`);
  }
  return reader.text(bytes);
}

export function readKey(reader: ByteReader): { key: Key; extended: boolean } {
  const head = reader.varint();
  const value = Math.floor(head / 4);
  const extended = (head & EXTENDED) !== 0;
  if (head & BY_ID) return { key: { slot: value, generation: reader.varint() }, extended };
  if (value < 1 || value > DEFAULT_LIMITS.name) {
    throw new TallystickError('NAME_INVALID', `A name of ${value} bytes.`);
  }
  return { key: { name: reader.name(value) }, extended };
}

function readExtension(reader: ByteReader): Extension {
  const fields = reader.u8();
  if (fields & ~ALL_FIELDS) throw new TallystickError('BAD_REQUEST', 'An operation has unknown fields.');
  return {
    ...(fields & Field.MIN ? { min: reader.zigzagBig() } : undefined),
    ...(fields & Field.MAX ? { max: reader.zigzagBig() } : undefined),
    ...(fields & Field.OPERATION_ID ? { operationId: reader.copy(OPERATION_ID_BYTES) } : undefined),
    ...(fields & Field.TIME ? { time: readTime(reader) } : undefined),
    ...(fields & Field.EXPIRY ? { expiry: readExpiry(reader) } : undefined),
  };
}

function readTime(reader: ByteReader): number {
  const time = reader.varint();
  if (time > MAX_TIME) throw new TallystickError('BAD_REQUEST', 'A time lies beyond the year 9999.');
  return time;
}
