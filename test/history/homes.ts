import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from 'lmdb';
import type { History } from '../../src/history/history.js';
import { LmdbTables } from '../../src/history/lmdb-tables.js';
import { lookAt, nextRollUp, type RollUpPlanner, type RollUpRequest } from '../../src/history/roll-up.js';
import { RowCodec } from '../../src/history/row.js';
import type { HistoryReader, HistoryTables } from '../../src/history/tables.js';
import type { AppendOutcome } from '../../src/log/log.js';
import type { Resolution } from '../../src/series/bucket.js';
import { SimHistoryDisk, SimTables } from './sim-tables.js';

/** A home for the history of a lane. */
export interface HistoryHome {
  open(): HistoryTables;
  /** Changes all rows of a resolution, or the states of the partitions, while no tables are open. */
  edit(table: Resolution | 'partitions', change: (value: Uint8Array) => Uint8Array): Promise<void>;
  remove(): Promise<void>;
}

export function simHome(): HistoryHome {
  const disk = new SimHistoryDisk();
  return {
    open: () => new SimTables(disk),
    edit: async (table, change) => {
      const rows = table === 'partitions' ? disk.states : disk.rows[table];
      for (const [key, value] of rows as Map<unknown, Uint8Array>) {
        (rows as Map<unknown, Uint8Array>).set(key, change(value));
      }
    },
    remove: async () => {},
  };
}

export function lmdbHome(): HistoryHome {
  const directory = mkdtempSync(join(tmpdir(), 'tallystick-history-'));
  const path = join(directory, 'history.mdb');
  return {
    open: () => new LmdbTables(path),
    edit: (table, change) => editHistory(path, table, change),
    remove: () => rm(directory, { recursive: true }),
  };
}

/** Changes all rows of a resolution, or the states of the partitions, in a closed file. */
export async function editHistory(
  path: string,
  table: Resolution | 'partitions',
  change: (value: Uint8Array) => Uint8Array,
): Promise<void> {
  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
  const root = open<Uint8Array, Uint8Array>({ ...binary, path, overlappingSync: false, maxDbs: 4 });
  const name = table === 'partitions' ? table : `${table}s`;
  const rows = root.openDB<Uint8Array, Uint8Array>({ ...binary, name });
  for (const { key, value } of [...rows.getRange()]) rows.putSync(key, change(Uint8Array.from(value)));
  await root.close();
}

const codec = new RowCodec();

/** Computes steps at once, in the same thread. */
export function plannerOf(reader: HistoryReader): RollUpPlanner {
  return {
    next: async (request) => nextRollUp(reader, codec, request),
    look: async (request) => lookAt(reader, request),
  };
}

/** Takes the next step of the roll-up of a partition; undefined where nothing is old enough. */
export async function rollUp(
  history: History,
  planner: RollUpPlanner,
  request: RollUpRequest,
): Promise<AppendOutcome | undefined> {
  const step = await planner.next(request);
  return step && history.replace(step);
}
