import { TallystickError } from '../errors.js';
import { LmdbTables } from './lmdb-tables.js';
import { nextRollUp } from './roll-up.js';
import { packed, type RollUpAnswer, type RollUpTask } from './roll-up-message.js';
import { RowCodec } from './row.js';

const codec = new RowCodec();

/**
 * A task of the pool's threads. The storage is open only meanwhile: a thread that waits for its next task runs no timers, and a
 * read transaction that it still had would keep all pages that the lane frees.
 */
export default async function computeRollUp({ path, ...request }: RollUpTask): Promise<RollUpAnswer> {
  const tables = new LmdbTables(path, { readOnly: true });
  try {
    const step = nextRollUp(tables, codec, request);
    return step ? { kind: 'step', step: packed(step) } : { kind: 'nothing' };
  } catch (error) {
    // The class of an error does not go from thread to thread.
    if (error instanceof TallystickError) return { kind: 'failed', code: error.code, detail: error.detail };
    throw error;
  } finally {
    await tables.close();
  }
}
