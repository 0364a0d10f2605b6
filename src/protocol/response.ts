/**
 * The bodies of answers, both ways, as plain values. Decoders throw BAD_REQUEST for a body that does not follow
 * protocol.md and take nothing that is left over.
 */

import { ABSENT, codeOfStatus, ERRORS, type ErrorCode, OK, type Outcome, TallystickError } from '../errors.js';
import { ByteReader, type ByteWriter } from './bytes.js';

/** What begins the answers to OPEN, ADD, GET, SET, DELETE and LIST. */
export interface Progress {
  /** The sequence number, in its partition, of the last change that the answer shows or made. */
  readonly position: number;
  /** The last sequence number of the partition that was flushed when the answer was written. */
  readonly flushed: number;
}

/** An id where the status is OK (0), else why there is none. */
export type OpenedName = { readonly status: 0; readonly slot: number; readonly generation: number } | FailedItem;

/** A value where the status is OK (0); ABSENT (1) was never written; any other is an error. */
export type ReadValue = { readonly status: 0; readonly value: bigint } | FailedItem;

/** A status other than OK. `never` keys tell the two forms apart. */
export interface FailedItem {
  readonly status: number;
  readonly slot?: never;
  readonly value?: never;
}

export interface OpenAnswer extends Progress {
  readonly ids: readonly OpenedName[];
}

/** An operation of a batch, by its index from 0, and why it was refused. */
export interface Refused {
  readonly index: number;
  readonly status: number;
}

export interface AddAnswer extends Progress {
  readonly refused: readonly Refused[];
  /** The value of each operation's counter; empty unless the request asked for VALUES. */
  readonly values: readonly bigint[];
}

export interface GetAnswer extends Progress {
  readonly values: readonly ReadValue[];
}

/** Of SET and DELETE. */
export interface SetAnswer extends Progress {
  /** OK or an error; of a DELETE also ABSENT, where there was no counter. */
  readonly status: number;
  /** The value before; where the status is an error, the value as it stands. */
  readonly previous: bigint;
}

export interface ListAnswer extends Progress {
  /** What the next LIST begins with; 0 where this was the end. */
  readonly cursor: number;
  readonly counters: readonly { readonly name: string; readonly value: bigint }[];
}

export interface SyncAnswer {
  readonly positions: readonly { readonly partition: number; readonly position: number }[];
}

export interface ErrorAnswer {
  readonly status: number;
  readonly outcome: Outcome;
  /** The position of the batch where the outcome is `applied`; of SEQUENCE_CONFLICT the partition's; else 0. */
  readonly position: number;
  /** What was wrong with this request, in a sentence; may be empty. */
  readonly detail: string;
}

const OUTCOMES = ['refused', 'unknown', 'applied'] as const satisfies readonly Outcome[];
/** Text for a person only, so what is no UTF-8 shows as U+FFFD. */
const LENIENT_DECODER = new TextDecoder();
const ENCODER = new TextEncoder();

export function encodeOpenAnswer(writer: ByteWriter, answer: OpenAnswer): void {
  writeProgress(writer, answer);
  writer.varint(answer.ids.length);
  for (const id of answer.ids) {
    writer.u8(id.status);
    if (id.slot === undefined) continue;
    writer.varint(id.slot);
    writer.varint(id.generation);
  }
}

export function decodeOpenAnswer(body: Uint8Array): OpenAnswer {
  const reader = new ByteReader(body);
  const progress = readProgress(reader);
  const ids: OpenedName[] = [];
  for (let count = reader.count(1); count > 0; count--) {
    const status = reader.u8();
    ids.push(status === OK ? { status, slot: reader.varint(), generation: reader.varint() } : { status });
  }
  reader.end();
  return { ...progress, ids };
}

export function encodeAddAnswer(writer: ByteWriter, answer: AddAnswer): void {
  writeProgress(writer, answer);
  writeRefused(writer, answer.refused);
  for (const value of answer.values) writer.zigzag(value);
}

/** `operations` is how many the request had, `values` whether it asked for VALUES. */
export function decodeAddAnswer(body: Uint8Array, operations: number, values: boolean): AddAnswer {
  const reader = new ByteReader(body);
  const { position, flushed } = readProgress(reader);
  const refused = readRefused(reader, operations);
  const read: bigint[] = values ? new Array(operations) : [];
  for (let i = 0; i < read.length; i++) read[i] = reader.zigzagBig();
  reader.end();
  return { position, flushed, refused, values: read }; // a spread took longer than all of the decoding
}

export function encodeGetAnswer(writer: ByteWriter, answer: GetAnswer): void {
  writeProgress(writer, answer);
  writer.varint(answer.values.length);
  for (const read of answer.values) {
    writer.u8(read.status);
    if (read.value !== undefined) writer.zigzag(read.value);
  }
}

export function decodeGetAnswer(body: Uint8Array): GetAnswer {
  const reader = new ByteReader(body);
  const { position, flushed } = readProgress(reader);
  const values: ReadValue[] = new Array(reader.count(1));
  for (let i = 0; i < values.length; i++) {
    const status = reader.u8();
    values[i] = status === OK ? { status, value: reader.zigzagBig() } : { status };
  }
  reader.end();
  return { position, flushed, values };
}

export function encodeSetAnswer(writer: ByteWriter, answer: SetAnswer): void {
  writeProgress(writer, answer);
  writer.u8(answer.status);
  writer.zigzag(answer.previous);
}

export function decodeSetAnswer(body: Uint8Array): SetAnswer {
  const reader = new ByteReader(body);
  const progress = readProgress(reader);
  const status = reader.u8();
  const previous = reader.zigzagBig();
  reader.end();
  return { ...progress, status, previous };
}

export function encodeListAnswer(writer: ByteWriter, answer: ListAnswer): void {
  writeProgress(writer, answer);
  writer.varint(answer.cursor);
  writer.varint(answer.counters.length);
  for (const { name, value } of answer.counters) {
    const bytes = ENCODER.encode(name);
    writer.varint(bytes.length);
    writer.bytes(bytes);
    writer.zigzag(value);
  }
}

export function decodeListAnswer(body: Uint8Array): ListAnswer {
  const reader = new ByteReader(body);
  const progress = readProgress(reader);
  const cursor = reader.varint();
  const counters: { name: string; value: bigint }[] = [];
  for (let count = reader.count(3); count > 0; count--) {
    counters.push({ name: reader.name(reader.varint()), value: reader.zigzagBig() });
  }
  reader.end();
  return { ...progress, cursor, counters };
}

export function encodeSyncAnswer(writer: ByteWriter, answer: SyncAnswer): void {
  writer.varint(answer.positions.length);
  for (const { partition, position } of answer.positions) {
    writer.u16(partition);
    writer.varint(position);
  }
}

export function decodeSyncAnswer(body: Uint8Array): SyncAnswer {
  const reader = new ByteReader(body);
  const positions: { partition: number; position: number }[] = [];
  for (let count = reader.count(3); count > 0; count--) {
    positions.push({ partition: reader.u16(), position: reader.varint() });
  }
  reader.end();
  return { positions };
}

export function encodeError(writer: ByteWriter, { status, outcome, position, detail }: ErrorAnswer): void {
  writer.u8(status);
  writer.u8(OUTCOMES.indexOf(outcome));
  writer.varint(position);
  writer.bytes(ENCODER.encode(detail));
}

export function decodeError(body: Uint8Array): ErrorAnswer {
  const reader = new ByteReader(body);
  const status = reader.u8();
  const outcome = OUTCOMES[reader.u8()];
  if (outcome === undefined) throw new TallystickError('BAD_REQUEST', 'An ERROR has an unknown outcome.');
  const position = reader.varint();
  return { status, outcome, position, detail: LENIENT_DECODER.decode(reader.bytes(reader.remaining)) };
}

/** The error that an ERROR answer reports, to be thrown to a caller. */
export function errorOf({ status, outcome, detail }: ErrorAnswer): TallystickError {
  return new TallystickError(codeOfStatus(status), detail, { outcome });
}

/**
 * The ERROR answer that reports an error of the table, or one of its codes; what is given beside it takes precedence.
 * INTERNAL for an error that never crosses the wire.
 */
export function errorAnswer(
  error: TallystickError | ErrorCode,
  given: { readonly outcome?: Outcome; readonly position?: number; readonly detail?: string } = {},
): ErrorAnswer {
  const row = ERRORS[typeof error === 'string' ? error : error.code];
  const { outcome, detail } = typeof error === 'string' ? { outcome: row.outcome, detail: '' } : error;
  return {
    status: row.status > ABSENT ? row.status : ERRORS.INTERNAL.status,
    outcome: given.outcome ?? outcome,
    position: given.position ?? 0,
    detail: given.detail ?? detail,
  };
}

export function writeProgress(writer: ByteWriter, { position, flushed }: Progress): void {
  writer.varint(position);
  writer.varint(flushed);
}

export function readProgress(reader: ByteReader): Progress {
  return { position: reader.varint(), flushed: reader.varint() };
}

/** The refused operations of a batch: `count | (index varint | status u8) …` */
export function writeRefused(writer: ByteWriter, refused: readonly Refused[]): void {
  writer.varint(refused.length);
  for (const { index, status } of refused) {
    writer.varint(index);
    writer.u8(status);
  }
}

export function readRefused(reader: ByteReader, operations: number): Refused[] {
  const refused: Refused[] = [];
  for (let count = reader.count(2); count > 0; count--) {
    const index = reader.varint();
    if (index >= operations) throw new TallystickError('BAD_REQUEST', `There is no operation ${index}.`);
    refused.push({ index, status: reader.u8() });
  }
  return refused;
}
