import { TallystickError } from '../errors.js';
import { LmdbTables } from './lmdb-tables.js';
import { nextRollUp } from './roll-up.js';
import { packed, type RollUpAnswer, type RollUpTask } from './roll-up-message.js';
import { RowCodec } from './row.js';

const codec = new RowCodec();

/**
 * The storage stays open as long as the thread lives, which is for one pool and so for one path: lmdb-js 3.5.6 keeps 32 KiB of
 * each environment that was ever opened.
 */
let opened: LmdbTables | undefined;

/** A task of the pool's threads. */
export default function computeRollUp({ path, ...request }: RollUpTask): RollUpAnswer {
  try {
    opened ??= new LmdbTables(path, { readOnly: true });
    const step = nextRollUp(opened, codec, request);
    return step ? { kind: 'step', step: packed(step) } : { kind: 'nothing' };
  } catch (error) {
    // The class of an error does not go from thread to thread.
    if (error instanceof TallystickError) return { kind: 'failed', code: error.code, detail: error.detail };
    throw error;
  } finally {
    // Ends the read transaction. A thread that waits for its next task runs no timer that would, and a read transaction that
    // it still had would keep all pages that the lane frees.
    opened?.refresh();
  }
}
