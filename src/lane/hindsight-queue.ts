import type { Clock, Timer } from '../clock.js';
import type { LogPlace } from '../log/log.js';
import { placeOfPartition } from '../log/replay.js';
import type { StatsMap } from '../protocol/control.js';
import type { Hindsight, Then, Wanted } from '../pubsub/hindsight.js';
import type { FromReplayer, ReplayOrder } from './replay-messages.js';

/** After so long whoever waits begins anew. */
const PATIENCE_MILLISECONDS = 10_000;
/** That may wait at a time: readers, and the names that they follow, of which a prefix counts as many. */
const MOST_WAITING = 1_024;
const MOST_NAMES = 524_288;
const NAMES_OF_A_PREFIX = 65_536;

export interface HindsightQueueParts {
  readonly commit: { readonly flushedPlace: LogPlace };
  readonly clock: Clock;
  /** Starts a replayer, and gives what stops it. Its last message is `ended`. */
  readonly start: (order: ReplayOrder, hear: (message: FromReplayer) => void) => () => void;
}

interface Look {
  readonly id: number;
  readonly wanted: Wanted;
  readonly names: number;
  readonly answer: (then: Then | undefined) => void;
  readonly deadline: Timer;
}

/** A replayer at work, and for whom. */
interface Run {
  readonly looks: Map<number, Look>;
  stop: () => void;
}

/**
 * Whoever is to go on from a position that only the log knows. One replayer is at work at a time, for all who then wait for the same partition:
 * a second kernel is as large as that.
 *
 * ```
 *  look ─► waiting ─► of one replayer ─► answered: found, not found, or too late
 * ```
 */
export class HindsightQueue implements Hindsight {
  readonly #parts: HindsightQueueParts;
  readonly #waiting = new Map<number, Look>();
  #run: Run | undefined;
  #names = 0;
  #last = 0;
  #ended: (() => void) | undefined;
  #isStopped = false;
  readonly #counts = { found: 0, notFound: 0, late: 0, refused: 0, failed: 0 };

  constructor(parts: HindsightQueueParts) {
    this.#parts = parts;
  }

  look(wanted: Wanted, answer: (then: Then | undefined) => void): (() => void) | undefined {
    const { followed } = wanted;
    const names = followed.kind === 'names' ? followed.names.length : NAMES_OF_A_PREFIX;
    if (this.#isStopped || this.#atOnce >= MOST_WAITING || this.#names + names > MOST_NAMES) {
      this.#counts.refused++;
      return undefined;
    }
    const id = ++this.#last;
    const deadline = this.#parts.clock.setTimer(PATIENCE_MILLISECONDS, () => {
      this.#counts.late++;
      this.#remove(id)?.answer(undefined);
    });
    this.#waiting.set(id, { id, wanted, names, answer, deadline });
    this.#names += names;
    // all that come in one turn are of one order
    this.#parts.clock.endOfTurn(() => this.#begin());
    return () => this.#remove(id);
  }

  /** For STATS. */
  describe(): StatsMap {
    const { notFound, late, refused } = this.#counts;
    return { waiting: this.#atOnce, missed: notFound + late + refused, ...this.#counts };
  }

  /** Answers no more. Resolves when no replayer is at work. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const id of this.#waiting.keys()) this.#remove(id);
    const run = this.#run;
    if (!run) return;
    const ended = new Promise<void>((resolve) => {
      this.#ended = resolve;
    });
    for (const id of run.looks.keys()) this.#remove(id);
    await ended;
  }

  /** Whoever waits, with those that a replayer is at work for. */
  get #atOnce(): number {
    return this.#waiting.size + (this.#run?.looks.size ?? 0);
  }

  #begin(): void {
    const [first] = this.#waiting.values();
    if (this.#run || !first) return;
    const { partition } = first.wanted;
    const looks = new Map([...this.#waiting].filter(([, { wanted }]) => wanted.partition === partition));
    for (const id of looks.keys()) this.#waiting.delete(id);
    const flushed = placeOfPartition(this.#parts.commit.flushedPlace, partition);
    const wanted = [...looks.values()].map(({ id, wanted: { position, followed } }) => ({ id, position, followed }));
    const run: Run = { looks, stop: () => {} };
    this.#run = run;
    run.stop = this.#parts.start({ partition, flushed, wanted }, (message) => this.#hear(message));
  }

  #hear(message: FromReplayer): void {
    if (message.kind === 'found') {
      const look = this.#remove(message.id);
      if (!look) return;
      this.#counts.found++;
      look.answer(message.past);
      return;
    }
    if (message.kind === 'failed') this.#counts.failed++;
    for (const id of [...(this.#run?.looks.keys() ?? [])]) {
      this.#counts.notFound++;
      this.#remove(id)?.answer(undefined);
    }
    if (message.kind !== 'ended') return;
    this.#run = undefined;
    this.#ended?.();
    this.#begin();
  }

  /** Nothing is to be answered any more of a look; where that was the last one, its replayer has no more to do. */
  #remove(id: number): Look | undefined {
    const run = this.#run;
    const look = this.#waiting.get(id) ?? run?.looks.get(id);
    if (!look) return undefined;
    look.deadline.cancel();
    this.#names -= look.names;
    this.#waiting.delete(id);
    if (run?.looks.delete(id) && run.looks.size === 0) run.stop();
    return look;
  }
}
