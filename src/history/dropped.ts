import { type CounterKey, UNITS } from './bucket.js';
import { keyOf } from './key.js';
import type { RowCodec } from './row.js';
import type { HistoryReader, StoredRow } from './tables.js';

/**
 * Up to which day the days of a counter were dropped. What was there before is not 0 but unknown, also when the clock is set back or its class comes
 * to keep more; so it is a row beside those of its days, put in the transaction that removes them. Its block is one that no time has, its first unit
 * says the day, and it goes where the rows of its counter go: into a backup, and away with it.
 */
const BLOCK = 0xffff_ffff;

const keyOfDropped = (counter: CounterKey): Buffer => keyOf(counter, BLOCK);

/** The first day, since 1970, that was not dropped; 0 where none was. @throws TallystickError DATA_DAMAGED */
export function droppedBefore(reader: HistoryReader, codec: RowCodec, counter: CounterKey): number {
  const key = keyOfDropped(counter);
  const stored = reader.get('day', key);
  return stored ? Number(codec.decode('day', key, stored)[0] ?? 0n) : 0;
}

/** The row that says so. */
export function droppedRow(codec: RowCodec, counter: CounterKey, day: number): StoredRow[] {
  const key = keyOfDropped(counter);
  const value = codec.encode('day', key, [BigInt(day), ...new Array<undefined>(UNITS.day - 1).fill(undefined)]);
  return value ? [{ key, value }] : [];
}
