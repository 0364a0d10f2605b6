import { existsSync } from 'node:fs';
import { historyPath } from '../log/lane-storage.js';
import { corrupt } from '../log/replay.js';
import { LmdbTables, LmdbTablesReader } from './lmdb-tables.js';

/** Makes the history of a lane, in a directory that is there. One that is there stays as it is. */
export async function createHistory(directory: string): Promise<void> {
  await new LmdbTables(historyPath(directory)).close();
}

/** @throws TallystickError LOG_CORRUPT where it is missing: what is not in it would seem never to have been */
export function openHistory(directory: string): LmdbTables {
  return new LmdbTables(existingPath(directory));
}

/** Opens it for reading, beside whoever writes it. @throws TallystickError LOG_CORRUPT */
export function openHistoryReader(directory: string): LmdbTablesReader {
  return new LmdbTablesReader(existingPath(directory));
}

function existingPath(directory: string): string {
  const path = historyPath(directory);
  if (!existsSync(path)) throw corrupt(`${path} is missing.`);
  return path;
}
