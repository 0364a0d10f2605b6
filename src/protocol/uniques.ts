/**
 * The bodies of SEE and UNIQUES and their answers, both ways, as plain values. Decoders throw BAD_REQUEST for a body that does not follow
 * protocol.md, and take nothing that is left over.
 */

import { OK, TallystickError } from '../errors.js';
import { ByteReader, type ByteWriter } from './bytes.js';
import { DEFAULT_LIMITS, Flag } from './opcode.js';
import {
  encodeSequence,
  type Key,
  readAfter,
  readKey,
  readKeys,
  readSequence,
  type Sequence,
  writeAfter,
  writeKey,
  writeKeys,
} from './request.js';
import { type Progress, type Refused, readProgress, readRefused, writeProgress, writeRefused } from './response.js';
import { SKETCH_BYTES, type UniqueItems } from './sketch.js';

/** An item that was seen under a name. */
export interface Sighting {
  readonly key: Key;
  /** 1 to 1,024 bytes. */
  readonly item: Uint8Array;
}

export interface SeeRequest {
  /** Present exactly when the frame has SEQUENCED. */
  readonly sequence?: Sequence;
  readonly sightings: readonly Sighting[];
}

/** What became of an item. */
export interface Seen {
  /** Whether it was new; false where it was refused. */
  readonly isNew: boolean;
  /** Whether that is certain. An estimate may take a new item for an old one, never an old one for a new one. */
  readonly exact: boolean;
}

export interface SeeAnswer extends Progress {
  readonly refused: readonly Refused[];
  /** One for each item; empty unless the request asked for VALUES. */
  readonly seen: readonly Seen[];
}

/** The number of each name, of their union, or the union as something that can be united with others. */
export type Wanted = 'each' | 'union' | 'sketch';
const WANTED = ['each', 'union', 'sketch'] as const satisfies readonly Wanted[];

/** The last so many hours, at most 24, or days of UTC: the one that is now and those before it. */
export interface UniquesWindow {
  readonly unit: 'hours' | 'days';
  readonly length: number;
}
const UNITS = ['hours', 'days'] as const;

export interface UniquesRequest {
  /** The position to wait for; present exactly when the frame has AFTER. */
  readonly after?: { readonly epoch: number; readonly sequence: number };
  readonly wanted: Wanted;
  /** Absent: all that was ever seen. */
  readonly window?: UniquesWindow;
  /** At most 256, or 16 within a window. */
  readonly keys: readonly Key[];
}

/** How many different items were seen. */
export interface UniqueCount {
  /** OK; else ABSENT, where nothing was, or an error, and there is no number. */
  readonly status: number;
  readonly exact: boolean;
  readonly count: number;
}

export interface UniquesAnswer extends Progress {
  readonly wanted: Wanted;
  /** One for each key of 'each', one of a 'union', none of a 'sketch'. */
  readonly counts: readonly UniqueCount[];
  /** Of a 'sketch': what it is, or the status of the first name that makes it unknown. */
  readonly sketch?: UniqueItems | { readonly status: number };
}

export interface MergeRequest {
  /** Present exactly when the frame has SEQUENCED. */
  readonly sequence?: Sequence;
  readonly key: Key;
  readonly items: UniqueItems;
}

/** How many different items the name has then. */
export interface MergeAnswer extends Progress, UniqueCount {}

/** The key of the item before. */
export const SAME_KEY = 0;
const NEW = 1;
const ESTIMATED = 2;
const HASHES = 0;
const REGISTERS = 1;
/** Most names of a UNIQUES. */
export const MOST_UNIQUES = 256;
export const MOST_UNIQUES_WITHIN = 16;
/** Added to what is wanted where a window follows. */
const WITHIN = 4;
/** Longer than any class keeps. */
const LONGEST_WINDOW = 100_000;

/** `item length varint | item`, after a key. @throws TallystickError INVALID_ARGUMENT */
export function writeItem(writer: ByteWriter, item: Uint8Array): void {
  if (item.length < 1 || item.length > DEFAULT_LIMITS.name) {
    throw new TallystickError('INVALID_ARGUMENT', `An item has 1 to ${DEFAULT_LIMITS.name} bytes.`);
  }
  writer.varint(item.length);
  writer.bytes(item);
}

/** What `writeItem` wrote. @throws TallystickError NAME_INVALID */
export function readItem(reader: ByteReader): Uint8Array {
  const bytes = reader.varint();
  if (bytes >= 1 && bytes <= DEFAULT_LIMITS.name) return reader.copy(bytes);
  throw new TallystickError('NAME_INVALID', `An item has 1 to ${DEFAULT_LIMITS.name} bytes.`);
}

/** The frame needs SEQUENCED exactly when the request has a sequence. An item with the very key of the one before takes a byte for it. */
export function encodeSee(writer: ByteWriter, { sequence, sightings }: SeeRequest): void {
  if (sequence) encodeSequence(writer, sequence);
  writer.varint(sightings.length);
  let before: Key | undefined;
  for (const { key, item } of sightings) {
    if (key === before) writer.u8(SAME_KEY);
    else writeKey(writer, key);
    writeItem(writer, item);
    before = key;
  }
}

export function decodeSee(body: Uint8Array, flags: number): SeeRequest {
  const reader = new ByteReader(body);
  const sequence = readSequence(reader, flags);
  const sightings: Sighting[] = [];
  let before: Key | undefined;
  for (let count = reader.count(3); count > 0; count--) {
    const key = before && reader.peekU8() === SAME_KEY ? before : readItemKey(reader);
    if (key === before) reader.u8();
    sightings.push({ key, item: readItem(reader) });
    before = key;
  }
  reader.end();
  return { ...sequence, sightings };
}

function readItemKey(reader: ByteReader): Key {
  const { key, extended } = readKey(reader);
  if (extended) throw new TallystickError('BAD_REQUEST', 'The key of an item has no extended form.');
  return key;
}

export function encodeSeeAnswer(writer: ByteWriter, answer: SeeAnswer): void {
  writeProgress(writer, answer);
  writeRefused(writer, answer.refused);
  for (let i = 0; i < answer.seen.length; i += 4) {
    writer.u8(answer.seen.slice(i, i + 4).reduce((byte, seen, j) => byte | (bitsOfSeen(seen) << (2 * j)), 0));
  }
}

/** The two bits of an item in an answer. */
export function bitsOfSeen({ isNew, exact }: Seen): number {
  return (isNew ? NEW : 0) | (exact ? 0 : ESTIMATED);
}

export function seenOfBits(bits: number): Seen {
  return { isNew: (bits & NEW) !== 0, exact: (bits & ESTIMATED) === 0 };
}

/** `items` is how many the request had, `values` whether it asked for VALUES. */
export function decodeSeeAnswer(body: Uint8Array, items: number, values: boolean): SeeAnswer {
  const reader = new ByteReader(body);
  const progress = readProgress(reader);
  const refused = readRefused(reader, items);
  const seen: Seen[] = [];
  for (let i = 0; values && i < items; i += 4) {
    const byte = reader.u8();
    for (let j = 0; j < 4 && i + j < items; j++) seen.push(seenOfBits(byte >> (2 * j)));
  }
  reader.end();
  return { ...progress, refused, seen };
}

/** The frame needs AFTER exactly when the request has `after`. */
export function encodeUniques(writer: ByteWriter, { after, wanted, window, keys }: UniquesRequest): void {
  if (after) writeAfter(writer, after.epoch, after.sequence);
  writer.u8(WANTED.indexOf(wanted) | (window ? WITHIN : 0));
  if (window) {
    writer.u8(UNITS.indexOf(window.unit));
    writer.varint(window.length);
  }
  writeKeys(writer, keys);
}

export function decodeUniques(body: Uint8Array, flags: number): UniquesRequest {
  const reader = new ByteReader(body);
  const after = flags & Flag.AFTER ? { after: readAfter(reader) } : undefined;
  const asked = reader.u8();
  const wanted = WANTED[asked & ~WITHIN];
  if (!wanted) throw new TallystickError('BAD_REQUEST', 'A UNIQUES wants something unknown.');
  const window = asked & WITHIN ? { window: readWindow(reader) } : undefined;
  const keys = readKeys(reader);
  const most = window ? MOST_UNIQUES_WITHIN : MOST_UNIQUES;
  if (keys.length > most) throw new TallystickError('TOO_MANY_OPERATIONS', `At most ${most} names.`);
  reader.end();
  return { ...after, wanted, ...window, keys };
}

function readWindow(reader: ByteReader): UniquesWindow {
  const unit = UNITS[reader.u8()];
  const length = reader.varint();
  if (unit && length >= 1 && length <= LONGEST_WINDOW) return { unit, length };
  throw new TallystickError('BAD_REQUEST', 'A window of unique items is some hours or days.');
}

export function encodeUniquesAnswer(writer: ByteWriter, answer: UniquesAnswer): void {
  writeProgress(writer, answer);
  const { wanted, sketch, counts } = answer;
  if (sketch) writeSketch(writer, sketch);
  if (wanted === 'each') writer.varint(counts.length);
  for (const count of counts) writeNumber(writer, count);
}

function writeNumber(writer: ByteWriter, { status, exact, count }: UniqueCount): void {
  writer.u8(status);
  if (status !== OK) return;
  writer.u8(exact ? 1 : 0);
  writer.varint(count);
}

function readNumber(reader: ByteReader): UniqueCount {
  const status = reader.u8();
  if (status !== OK) return { status, exact: true, count: 0 };
  return { status, exact: readForm(reader) === 1, count: reader.varint() };
}

function writeSketch(writer: ByteWriter, sketch: UniqueItems | { readonly status: number }): void {
  if ('status' in sketch) {
    writer.u8(sketch.status);
    return;
  }
  writer.u8(OK);
  writeItems(writer, sketch);
}

function writeItems(writer: ByteWriter, { hashes, registers }: UniqueItems): void {
  writer.u8(registers ? REGISTERS : HASHES);
  if (registers) {
    writer.bytes(registers);
    return;
  }
  writer.varint(hashes.length);
  for (const hash of hashes) writer.u64(hash);
}

/** The frame needs SEQUENCED exactly when the request has a sequence. */
export function encodeMerge(writer: ByteWriter, { sequence, key, items }: MergeRequest): void {
  if (sequence) encodeSequence(writer, sequence);
  writeKey(writer, key);
  writeItems(writer, items);
}

export function decodeMerge(body: Uint8Array, flags: number): MergeRequest {
  const reader = new ByteReader(body);
  const sequence = readSequence(reader, flags);
  const key = readItemKey(reader);
  const items = readItems(reader);
  reader.end();
  return { ...sequence, key, items };
}

export function encodeMergeAnswer(writer: ByteWriter, answer: MergeAnswer): void {
  writeProgress(writer, answer);
  writeNumber(writer, answer);
}

export function decodeMergeAnswer(body: Uint8Array): MergeAnswer {
  const reader = new ByteReader(body);
  const progress = readProgress(reader);
  const count = readNumber(reader);
  reader.end();
  return { ...progress, ...count };
}

export function decodeUniquesAnswer(body: Uint8Array, wanted: Wanted): UniquesAnswer {
  const reader = new ByteReader(body);
  const progress = readProgress(reader);
  if (wanted === 'sketch') {
    const sketch = readSketch(reader);
    reader.end();
    return { ...progress, wanted, counts: [], sketch };
  }
  const counts: UniqueCount[] = [];
  for (let left = wanted === 'each' ? reader.count(1) : 1; left > 0; left--) counts.push(readNumber(reader));
  reader.end();
  return { ...progress, wanted, counts };
}

function readForm(reader: ByteReader): number {
  const form = reader.u8();
  if (form > 1) throw new TallystickError('BAD_REQUEST', 'A number of unique items is exact or an estimate.');
  return form;
}

function readSketch(reader: ByteReader): UniqueItems | { readonly status: number } {
  const status = reader.u8();
  return status === OK ? readItems(reader) : { status };
}

function readItems(reader: ByteReader): UniqueItems {
  if (readForm(reader) === REGISTERS) return { registers: reader.copy(SKETCH_BYTES) };
  const hashes: bigint[] = [];
  for (let count = reader.count(8); count > 0; count--) hashes.push(reader.u64());
  return { hashes };
}
