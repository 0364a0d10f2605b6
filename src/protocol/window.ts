/** WINDOW: the bodies of its request and answer, both ways. Decoders throw BAD_REQUEST for what does not follow protocol.md. */

import { OK, TallystickError } from '../errors.js';
import { ByteReader, type ByteWriter } from './bytes.js';
import { Flag } from './opcode.js';
import { type Key, readAfter, readKeys, writeAfter, writeKeys } from './request.js';
import { type Progress, readProgress, writeProgress } from './response.js';

/** How a window begins: within its oldest bucket, whose sum is told apart, or with a bucket. */
export const WINDOW_MODES = ['sliding', 'aligned'] as const;
export type WindowMode = (typeof WINDOW_MODES)[number];

export interface WindowRequest {
  /** The position to wait for; present exactly when the frame has AFTER. */
  readonly after?: { readonly epoch: number; readonly sequence: number };
  readonly mode: WindowMode;
  /** How long it is, at least 1. */
  readonly milliseconds: number;
  readonly keys: readonly Key[];
}

/** What whole buckets changed the counter by; of a sliding window also the bucket within which it begins. */
export type WindowSum =
  | { readonly status: 0; readonly sum: bigint; readonly oldest: bigint }
  | { readonly status: number; readonly sum?: never };

export interface WindowAnswer extends Progress {
  /** The server's clock, at which the window ends; milliseconds since 1970, as all here. */
  readonly now: number;
  /** Where the oldest bucket begins. */
  readonly from: number;
  /** How long a bucket is. */
  readonly bucket: number;
  readonly sums: readonly WindowSum[];
}

/** The frame needs AFTER exactly when the request has `after`. */
export function encodeWindow(writer: ByteWriter, { after, mode, milliseconds, keys }: WindowRequest): void {
  if (after) writeAfter(writer, after.epoch, after.sequence);
  writer.u8(WINDOW_MODES.indexOf(mode));
  writer.varint(milliseconds);
  writeKeys(writer, keys);
}

export function decodeWindow(body: Uint8Array, flags: number): WindowRequest {
  const reader = new ByteReader(body);
  const after = flags & Flag.AFTER ? { after: readAfter(reader) } : undefined;
  const mode = WINDOW_MODES[reader.u8()];
  const milliseconds = reader.varint();
  if (!mode || milliseconds < 1) throw new TallystickError('BAD_REQUEST', 'A window has a mode and a length.');
  const keys = readKeys(reader);
  reader.end();
  return { ...after, mode, milliseconds, keys };
}

export function encodeWindowAnswer(writer: ByteWriter, answer: WindowAnswer): void {
  writeProgress(writer, answer);
  writer.varint(answer.now);
  writer.varint(answer.from);
  writer.varint(answer.bucket);
  writer.varint(answer.sums.length);
  for (const found of answer.sums) {
    writer.u8(found.status);
    if (found.sum === undefined) continue;
    writer.zigzag(found.sum);
    writer.zigzag(found.oldest);
  }
}

export function decodeWindowAnswer(body: Uint8Array): WindowAnswer {
  const reader = new ByteReader(body);
  const progress = readProgress(reader);
  const [now, from, bucket] = [reader.varint(), reader.varint(), reader.varint()];
  const sums: WindowSum[] = [];
  for (let count = reader.count(1); count > 0; count--) {
    const status = reader.u8();
    sums.push(status === OK ? { status, sum: reader.zigzagBig(), oldest: reader.zigzagBig() } : { status });
  }
  reader.end();
  return { ...progress, now, from, bucket, sums };
}
