import { setImmediate as nextTurn } from 'node:timers/promises';
import { RESOLUTIONS } from '../series/bucket.js';
import { after, spanStart } from './key.js';
import { decodeState, type PartitionState } from './partition-state.js';
import type { RowCodec } from './row.js';
import type { HistoryReader } from './tables.js';

/** Rows that are read in one turn of the event loop. */
const ROWS_PER_TURN = 1_024;

export interface CheckedHistory extends PartitionState {
  readonly rows: number;
}

/**
 * Reads all rows of a partition's history.
 *
 * @throws TallystickError DATA_DAMAGED for the first one that fails its checks; DIRECTORY_INVALID
 */
export async function checkHistory(reader: HistoryReader, codec: RowCodec, partition: number): Promise<CheckedHistory> {
  reader.refresh();
  const state = decodeState(partition, reader.state(partition));
  let rows = 0;
  for (const resolution of RESOLUTIONS) {
    const end = spanStart(partition + 1, 0);
    for (let start = spanStart(partition, 0); ; ) {
      const read = reader.range(resolution, start, end, ROWS_PER_TURN);
      for (const { key, value } of read) codec.decode(resolution, key, value);
      rows += read.length;
      const last = read.at(-1);
      if (!last || read.length < ROWS_PER_TURN) break;
      start = after(last.key);
      await nextTurn();
    }
  }
  return { ...state, rows };
}
