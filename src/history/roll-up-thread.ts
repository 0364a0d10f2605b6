import { constants } from 'node:os';
import { TallystickError } from '../errors.js';
import { setThreadPriority } from '../thread-priority.js';
import { LmdbTablesReader } from './lmdb-tables.js';
import { lookAt, nextRollUp } from './roll-up.js';
import { packed, type RollUpAnswer, type RollUpTask } from './roll-up-message.js';
import { RowCodec } from './row.js';

const codec = new RowCodec();

// What it computes has a day's time, and the lanes' callers wait: it gets what is left of the cores.
setThreadPriority(constants.priority.PRIORITY_LOW);

/** It stays open as long as the thread lives, which is for one pool and so for one path. */
let opened: LmdbTablesReader | undefined;

/** A task of the pool's threads. */
export default function computeRollUp({ path, asked }: RollUpTask): RollUpAnswer {
  try {
    opened ??= new LmdbTablesReader(path);
    if (asked.kind === 'look') {
      const look = lookAt(opened, asked.request);
      return look ? { kind: 'look', look } : { kind: 'nothing' };
    }
    const step = nextRollUp(opened, codec, asked.request);
    return step ? { kind: 'step', step: packed(step) } : { kind: 'nothing' };
  } catch (error) {
    // The class of an error does not go from thread to thread.
    if (error instanceof TallystickError) return { kind: 'failed', code: error.code, detail: error.detail };
    throw error;
  }
}
