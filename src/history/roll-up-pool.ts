import { fileURLToPath } from 'node:url';
import type { Piscina } from 'piscina';
import { TallystickError } from '../errors.js';
import type { Look, LookRequest, RollUp, RollUpPlanner, RollUpRequest } from './roll-up.js';
import { type RollUpAnswer, type RollUpTask, unpacked } from './roll-up-message.js';

type Pool = Piscina<RollUpTask, RollUpAnswer>;

/** One is busy for a step at a time; the lane's writing is what bounds a roll-up. */
const THREADS = 1;
/** Longer than the lane rests between two steps: to start a thread costs more than a step. */
const IDLE_MILLISECONDS = 120_000;

/** Computes the roll-ups of a lane's history in a thread beside it, from what is committed. */
export class RollUpPool implements RollUpPlanner {
  readonly #path: string;
  /** From the first question on: a lane starts without waiting for it. */
  #pool: Promise<Pool> | undefined;

  /** @param path of the lane's history, which must be there */
  constructor(path: string) {
    this.#path = path;
  }

  /** @throws TallystickError DATA_DAMAGED, LOG_CORRUPT */
  async next(request: RollUpRequest): Promise<RollUp | undefined> {
    const answer = await this.#ask({ kind: 'step', request });
    return answer.kind === 'step' ? unpacked(answer.step) : undefined;
  }

  /** @throws TallystickError DATA_DAMAGED, LOG_CORRUPT */
  async look(request: LookRequest): Promise<Look | undefined> {
    const answer = await this.#ask({ kind: 'look', request });
    return answer.kind === 'look' ? answer.look : undefined;
  }

  async #ask(asked: RollUpTask['asked']): Promise<RollUpAnswer> {
    this.#pool ??= startPool();
    const pool = await this.#pool;
    const answer = await pool.run({ path: this.#path, asked });
    if (answer.kind === 'failed') throw new TallystickError(answer.code, answer.detail);
    return answer;
  }

  /** Waits for the step at hand: a thread is never terminated within LMDB. */
  async close(): Promise<void> {
    await (await this.#pool)?.close();
  }
}

async function startPool(): Promise<Pool> {
  const { Piscina } = await import('piscina');
  return new Piscina({
    filename: fileURLToPath(new URL('./roll-up-thread.js', import.meta.url)),
    minThreads: 0,
    maxThreads: THREADS,
    idleTimeout: IDLE_MILLISECONDS,
  });
}
