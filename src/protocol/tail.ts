/** TAIL: the bodies of its requests and of the frames of a feed, both ways. Decoders throw BAD_REQUEST for what does not follow protocol.md. */

import { TallystickError } from '../errors.js';
import { ByteReader, type ByteWriter, encodeUtf8, requireUtf8 } from './bytes.js';
import { DEFAULT_LIMITS, Flag } from './opcode.js';
import { type Key, readAfter, readKeys, writeAfter, writeKeys } from './request.js';

/** Milliseconds between the frames of a feed; 0: every group is told when it is flushed. */
export const LEAST_INTERVAL = 10;
export const MOST_INTERVAL = 60_000;
/** The most frames that a feed may be ahead of what its reader has taken. */
export const MOST_CREDIT = 64;

/** What a feed follows, and how. */
export interface Following {
  /** The position from which on everything is to be told; present exactly when the frame has AFTER. */
  readonly after?: { readonly epoch: number; readonly sequence: number };
  readonly interval: number;
  /** How many frames the feed may be ahead of what its reader has said that it has taken. */
  readonly credit: number;
}

export type TailRequest =
  | { readonly kind: 'end'; readonly feed: number }
  /** So many frames of the feed have been taken in all. */
  | { readonly kind: 'more'; readonly feed: number; readonly taken: number }
  /** No name is there twice. */
  | ({ readonly kind: 'names'; readonly names: readonly string[] } & Following)
  /** All names where the prefix is empty. */
  | ({ readonly kind: 'prefix'; readonly prefix: string } & Following);

export type Told =
  /** A counter, as it is first told. */
  | { readonly kind: 'value'; readonly name: string; readonly value: bigint }
  /** The same of a name that has no counter. */
  | { readonly kind: 'absent'; readonly name: string }
  /** `delta`: the value less the last one told, modulo 2^64. */
  | { readonly kind: 'change'; readonly name: string; readonly value: bigint; readonly delta: bigint }
  | { readonly kind: 'deleted'; readonly name: string; readonly delta: bigint };

export interface TailAnswer {
  /** What was told before is void: a snapshot begins. */
  readonly begins: boolean;
  /** Everything up to the position has been told, so that the feed can be resumed from it. */
  readonly whole: boolean;
  readonly position: number;
  readonly told: readonly Told[];
}

const Kind = { END: 0, MORE: 1, NAMES: 2, PREFIX: 3 } as const;
const TOLD = ['absent', 'value', 'change', 'deleted'] as const;
/** The lowest two bits of the head of what is told. */
export const TOLD_KIND = { ABSENT: 0, VALUE: 1, CHANGE: 2, DELETED: 3 } as const;
const BEGINS = 1;
const WHOLE = 2;

/** The frame needs AFTER exactly when the request has `after`. */
export function encodeTail(writer: ByteWriter, request: TailRequest): void {
  if ('after' in request && request.after) writeAfter(writer, request.after.epoch, request.after.sequence);
  if (request.kind === 'end' || request.kind === 'more') {
    writer.u8(request.kind === 'end' ? Kind.END : Kind.MORE);
    writer.u32(request.feed);
    if (request.kind === 'more') writer.varint(request.taken);
    return;
  }
  writer.u8(request.kind === 'names' ? Kind.NAMES : Kind.PREFIX);
  writer.varint(request.interval);
  writer.varint(request.credit);
  if (request.kind === 'names') {
    writeKeys(
      writer,
      request.names.map((name) => ({ name })),
    );
    return;
  }
  const prefix = encodeUtf8(request.prefix);
  writer.varint(prefix.length);
  writer.bytes(prefix);
}

export function decodeTail(body: Uint8Array, flags: number): TailRequest {
  const reader = new ByteReader(body);
  const after = flags & Flag.AFTER ? { after: readAfter(reader) } : undefined;
  const kind = reader.u8();
  const request =
    kind === Kind.END || kind === Kind.MORE ? readAbout(kind, reader) : readFollowing(kind, reader, after);
  reader.end();
  if (after && !('interval' in request))
    throw new TallystickError('BAD_REQUEST', 'Only what begins a feed has a position.');
  return request;
}

function readAbout(kind: number, reader: ByteReader): TailRequest {
  const feed = reader.u32();
  return kind === Kind.END ? { kind: 'end', feed } : { kind: 'more', feed, taken: reader.varint() };
}

function readFollowing(kind: number, reader: ByteReader, after: Pick<Following, 'after'> | undefined): TailRequest {
  const interval = reader.varint();
  if (interval !== 0 && (interval < LEAST_INTERVAL || interval > MOST_INTERVAL)) {
    throw new TallystickError('BAD_REQUEST', `An interval is 0, or ${LEAST_INTERVAL} to ${MOST_INTERVAL} ms.`);
  }
  const following = { ...after, interval, credit: readCredit(reader) };
  if (kind === Kind.NAMES) {
    const keys = readKeys(reader);
    if (keys.length === 0 || keys.length > DEFAULT_LIMITS.batch) {
      throw new TallystickError('BAD_REQUEST', `A feed follows 1 to ${DEFAULT_LIMITS.batch} names.`);
    }
    return { kind: 'names', ...following, names: readNames(keys) };
  }
  if (kind !== Kind.PREFIX) throw new TallystickError('BAD_REQUEST', `A TAIL has no kind ${kind}.`);
  const length = reader.varint();
  if (length > DEFAULT_LIMITS.name) throw new TallystickError('BAD_REQUEST', `A prefix of ${length} bytes.`);
  return { kind: 'prefix', ...following, prefix: reader.text(length) };
}

/** The names of keys, which are all different: each is told by its index. */
function readNames(keys: readonly Key[]): string[] {
  const names = keys.flatMap((key) => ('name' in key ? [key.name] : []));
  if (names.length < keys.length) throw new TallystickError('BAD_REQUEST', 'A feed follows names, and no ids.');
  if (new Set(names).size < names.length) throw new TallystickError('BAD_REQUEST', 'A feed follows a name once.');
  return names;
}

function readCredit(reader: ByteReader): number {
  const credit = reader.varint();
  if (credit >= 1 && credit <= MOST_CREDIT) return credit;
  throw new TallystickError('BAD_REQUEST', `A feed may be 1 to ${MOST_CREDIT} frames ahead.`);
}

/** @param names what the feed follows, where that is names: none else is told */
export function encodeTailAnswer(writer: ByteWriter, answer: TailAnswer, names?: readonly string[]): void {
  writeTailHeader(writer, answer, answer.told.length);
  for (const told of answer.told) writeTold(writer, told, names);
}

/** What stands before the counters of a frame. */
export function writeTailHeader(
  writer: ByteWriter,
  { begins, whole, position }: Omit<TailAnswer, 'told'>,
  count: number,
): void {
  writer.u8((begins ? BEGINS : 0) | (whole ? WHOLE : 0));
  writer.varint(position);
  writer.varint(count);
}

/** The head of what a feed of names tells of one of them. `kind`: of TOLD_KIND. */
export function writeToldIndex(writer: ByteWriter, index: number, kind: number): void {
  writer.varint(index * 4 + kind);
}

/** The head of what a feed of a prefix tells of a counter, and its name. `kind`: of TOLD_KIND. */
export function writeToldName(writer: ByteWriter, name: string, kind: number): void {
  writeToldLength(writer, requireUtf8(name), kind);
  writer.name(name);
}

/** The same before the bytes of the name, of which there are so many. */
export function writeToldLength(writer: ByteWriter, length: number, kind: number): void {
  writer.varint(length * 4 + kind);
}

export function writeTold(writer: ByteWriter, told: Told, names?: readonly string[]): void {
  const kind = TOLD.indexOf(told.kind);
  if (names) writeToldIndex(writer, names.indexOf(told.name), kind);
  else writeToldName(writer, told.name, kind);
  if ('value' in told) writer.zigzag(told.value);
  if ('delta' in told) writer.zigzag(told.delta);
}

/** @param names what the feed follows, where that is names */
export function decodeTailAnswer(body: Uint8Array, names?: readonly string[]): TailAnswer {
  const reader = new ByteReader(body);
  const bits = reader.u8();
  if (bits > (BEGINS | WHOLE)) throw new TallystickError('BAD_REQUEST', 'A frame of a feed has unknown bits.');
  const position = reader.varint();
  const told: Told[] = [];
  for (let count = reader.count(names ? 1 : 2); count > 0; count--) told.push(readTold(reader, names));
  reader.end();
  return { begins: (bits & BEGINS) !== 0, whole: (bits & WHOLE) !== 0, position, told };
}

function readTold(reader: ByteReader, names: readonly string[] | undefined): Told {
  const head = reader.varint();
  const kind = TOLD[head % 4] as (typeof TOLD)[number];
  const lengthOrIndex = Math.floor(head / 4);
  const name = names ? names[lengthOrIndex] : reader.name(lengthOrIndex);
  if (name === undefined) {
    throw new TallystickError('BAD_REQUEST', `A feed of ${names?.length} names tells of index ${lengthOrIndex}.`);
  }
  if (kind === 'absent') return { kind, name };
  if (kind === 'value') return { kind, name, value: reader.zigzagBig() };
  if (kind === 'deleted') return { kind, name, delta: reader.zigzagBig() };
  return { kind, name, value: reader.zigzagBig(), delta: reader.zigzagBig() };
}
