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
  /** Whether the decreases are asked for too. */
  readonly gross?: true;
  /** How long it is, at least 1. */
  readonly milliseconds: number;
  readonly keys: readonly Key[];
}

/** How long a bucket is, in milliseconds: a second, a minute, or an hour. */
export const WINDOW_BUCKETS = [1_000, 60_000, 3_600_000] as const;
export type WindowBucket = (typeof WINDOW_BUCKETS)[number];

const GROSS_MODE = 2;
const HAS_DECREASES = 4;

/** Of whole buckets; of a sliding window also of the bucket within which it begins. */
export interface BucketSums {
  readonly sum: bigint;
  readonly oldest: bigint;
}

/** What whole buckets, each so long, changed the counter by; where that was asked for also what decreased it, which is 0 or less. */
export type WindowSum =
  | (BucketSums & { readonly status: 0; readonly bucket: WindowBucket; readonly decreases?: BucketSums })
  | { readonly status: number; readonly sum?: never };

export interface WindowAnswer extends Progress {
  /** The server's clock, at which the window ends; milliseconds since 1970. */
  readonly now: number;
  readonly sums: readonly WindowSum[];
}

/** The frame needs AFTER exactly when the request has `after`. */
export function encodeWindow(writer: ByteWriter, { after, mode, gross, milliseconds, keys }: WindowRequest): void {
  if (after) writeAfter(writer, after.epoch, after.sequence);
  writer.u8(WINDOW_MODES.indexOf(mode) | (gross ? GROSS_MODE : 0));
  writer.varint(milliseconds);
  writeKeys(writer, keys);
}

export function decodeWindow(body: Uint8Array, flags: number): WindowRequest {
  const reader = new ByteReader(body);
  const after = flags & Flag.AFTER ? { after: readAfter(reader) } : undefined;
  const bits = reader.u8();
  const mode = WINDOW_MODES[bits & ~GROSS_MODE];
  const gross = bits & GROSS_MODE ? { gross: true as const } : undefined;
  const milliseconds = reader.varint();
  if (!mode || milliseconds < 1) throw new TallystickError('BAD_REQUEST', 'A window has a mode and a length.');
  const keys = readKeys(reader);
  reader.end();
  return { ...after, mode, ...gross, milliseconds, keys };
}

export function encodeWindowAnswer(writer: ByteWriter, answer: WindowAnswer): void {
  writeProgress(writer, answer);
  writer.varint(answer.now);
  writer.varint(answer.sums.length);
  for (const found of answer.sums) {
    writer.u8(found.status);
    if (found.sum === undefined) continue;
    writer.u8(WINDOW_BUCKETS.indexOf(found.bucket) | (found.decreases ? HAS_DECREASES : 0));
    for (const { sum, oldest } of [found, ...(found.decreases ? [found.decreases] : [])]) {
      writer.zigzag(sum);
      writer.zigzag(oldest);
    }
  }
}

export function decodeWindowAnswer(body: Uint8Array): WindowAnswer {
  const reader = new ByteReader(body);
  const progress = readProgress(reader);
  const now = reader.varint();
  const sums: WindowSum[] = [];
  for (let count = reader.count(1); count > 0; count--) {
    const status = reader.u8();
    sums.push(status === OK ? readSum(reader) : { status });
  }
  reader.end();
  return { ...progress, now, sums };
}

function readSum(reader: ByteReader): WindowSum {
  const bits = reader.u8();
  const bucket = WINDOW_BUCKETS[bits & ~HAS_DECREASES];
  if (bucket === undefined) throw new TallystickError('BAD_REQUEST', 'A bucket is a second, a minute or an hour.');
  const net = readSums(reader);
  const decreases = bits & HAS_DECREASES ? { decreases: readSums(reader) } : undefined;
  return { status: 0 as const, bucket, ...net, ...decreases };
}

const readSums = (reader: ByteReader): BucketSums => ({ sum: reader.zigzagBig(), oldest: reader.zigzagBig() });

/** Where the oldest bucket of a window begins, which ends at `now`. */
export function oldestBucket(
  { mode, milliseconds }: Pick<WindowRequest, 'mode' | 'milliseconds'>,
  now: number,
  bucket: WindowBucket,
): number {
  const oldest =
    mode === 'sliding'
      ? Math.floor((now - milliseconds) / bucket)
      : Math.floor(now / bucket) + 1 - Math.ceil(milliseconds / bucket);
  return Math.max(0, oldest) * bucket;
}
