import { ByteReader, ByteWriter } from '../protocol/bytes.js';
import { TOLD_KIND, writeToldLength } from '../protocol/tail.js';
import { FRAME_BYTES } from './feed.js';
import type { Found } from './subscriber.js';

/** Counters of a snapshot as a frame tells them, so that nothing is made of them where they are only passed on. */
export interface Piece {
  readonly items: ByteWriter;
  readonly count: number;
}

/** Arrays that are kept for further pieces, each with room for the longest frame. A piece that needs less than half of a frame has one of its own. */
const MOST_KEPT = 128;
const KEPT_BYTES = FRAME_BYTES + 2_048;

/** For the pieces of all feeds of a thread: what such arrays take the engine collects late, and then all at once. */
const kept: ByteWriter[] = [];

/** What LIST tells: where to go on, 0 behind the last counter, and pieces that each fill a frame but the last. */
export function readListed(answer: Uint8Array): { readonly cursor: number; readonly pieces: readonly Piece[] } {
  const reader = new ByteReader(answer);
  const cursor = reader.varint();
  const pieces: Piece[] = [];
  let items = take();
  let count = 0;
  for (let left = reader.varint(); left > 0; left--) {
    const length = reader.varint();
    const from = reader.offset;
    reader.bytes(length);
    reader.zigzagBig();
    writeToldLength(items, length, TOLD_KIND.VALUE);
    items.bytes(answer, from, reader.offset);
    count++;
    if (left > 1 && items.length < FRAME_BYTES) continue;
    pieces.push({ items, count });
    items = take();
    count = 0;
  }
  keep(items);
  return { cursor, pieces: pieces.map(compact) };
}

/** Nobody uses a piece any more. */
export function release({ items }: Piece): void {
  keep(items);
}

function take(): ByteWriter {
  return kept.pop() ?? new ByteWriter(KEPT_BYTES);
}

function keep(items: ByteWriter): void {
  if (items.buffer.length < KEPT_BYTES || kept.length === MOST_KEPT) return;
  items.reset();
  kept.push(items);
}

function compact(piece: Piece): Piece {
  const { items, count } = piece;
  if (items.length >= FRAME_BYTES / 2) return piece;
  const own = new ByteWriter(items.length);
  own.bytes(items.view());
  keep(items);
  return { items: own, count };
}

/** The counters of a piece. */
export function* countersOf({ items, count }: Piece): Generator<Found> {
  const reader = new ByteReader(items.view());
  for (let left = count; left > 0; left--)
    yield { name: reader.name(Math.floor(reader.varint() / 4)), value: reader.zigzagBig() };
}
