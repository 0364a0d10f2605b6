import { codeOfStatus, OK, TallystickError } from '../errors.js';
import type { Partition } from '../partition/partition.js';
import { ByteReader, ByteWriter, encodeUtf8 } from '../protocol/bytes.js';
import { encodeGet, encodeList } from '../protocol/request.js';
import type { Found } from './subscriber.js';

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

/** Counters below a prefix, from a cursor on; the next cursor, which is 0 behind the last one. */
export function listBelow(
  partition: Partition,
  prefix: string,
  cursor: number,
  limit: number,
): { readonly found: readonly Found[]; readonly cursor: number } {
  const writer = new ByteWriter();
  encodeList(writer, { prefix: encodeUtf8(prefix), cursor, limit });
  const status = partition.list(writer.view());
  if (status !== OK) throw new TallystickError('INTERNAL', 'A partition does not list.');
  const reader = new ByteReader(partition.answer);
  const next = reader.varint();
  const found: Found[] = [];
  for (let count = reader.varint(); count > 0; count--) {
    found.push({ name: reader.name(reader.varint()), value: reader.zigzagBig() });
  }
  return { found, cursor: next };
}
