import { codeOfStatus, OK, TallystickError } from '../errors.js';
import type { Partition } from '../partition/partition.js';
import { ByteWriter, encodeUtf8 } from '../protocol/bytes.js';
import { encodeGet, encodeList } from '../protocol/request.js';
import { type Piece, readListed } from './piece.js';

/** A name, and its counter. */
export interface Located {
  readonly name: string;
  readonly slot: number | undefined;
}

/** Which counter each name has. @throws TallystickError WRONG_PARTITION, NAME_INVALID */
export function locate(partition: Partition, names: readonly string[]): Located[] {
  if (names.length === 0) return [];
  const writer = new ByteWriter();
  encodeGet(writer, { keys: names.map((name) => ({ name })) });
  const status = partition.read(writer.view());
  if (status !== OK) throw new TallystickError(codeOfStatus(status));
  return names.map((name, i) => ({ name, slot: partition.slotOfKey(i) }));
}

/** Counters below a prefix, from a cursor on, as they are told first; the next cursor, which is 0 behind the last one. */
export function listBelow(
  partition: Partition,
  prefix: string,
  cursor: number,
  limit: number,
): { readonly pieces: readonly Piece[]; readonly cursor: number } {
  const writer = new ByteWriter();
  encodeList(writer, { prefix: encodeUtf8(prefix), cursor, limit });
  const status = partition.list(writer.view());
  if (status !== OK) throw new TallystickError('INTERNAL', 'A partition does not list.');
  return readListed(partition.answer);
}
