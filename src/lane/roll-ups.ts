import type { Clock, Timer } from '../clock.js';
import { asTallystickError, type TallystickError } from '../errors.js';
import type { History } from '../history/history.js';
import { dueBefore, type RollUp, type RollUpPlanner, stepsOfADay } from '../history/roll-up.js';
import type { Partition } from '../partition/partition.js';
import { MILLISECONDS, RESOLUTIONS, type Resolution } from '../series/bucket.js';
import type { Retentions } from './retentions.js';

/** After the lane begins to serve, and then between two rounds: what is rolled up is days old. */
const FIRST_MILLISECONDS = 60_000;
const ROUND_MILLISECONDS = 3_600_000;
/**
 * What becomes due with a day is spread over it, because callers feel a step: it holds the lane for some milliseconds, and its commit shares the disk with
 * the log's flushes. In 20 hours it is done before the next day is due. A lane of 500,000 counters makes a step every 15 s, which is 208 counter-hours
 * a second; one of a few counters a step a minute.
 */
const SPREAD_MILLISECONDS = 20 * MILLISECONDS.hour;
const LONGEST_REST_MILLISECONDS = 60_000;
/** What was due a day ago is late: then a lane goes four times as fast, and rolls up 1,500 counter-hours a second at least, lest it never catches up. */
const LATE_TIMES = 4;
export const LONGEST_LATE_REST_MILLISECONDS = 2_000;
/** A slow disk is left to the log most of the time, however much there is to do: a rest is so many times as long as the step's commit took. */
const LEAST_TIMES = 19;
/** Behind a look that found nothing. */
const SHORTEST_REST_MILLISECONDS = 10;

export interface RollUpsParts {
  readonly history: History;
  readonly planner: RollUpPlanner;
  readonly retentions: Retentions;
  readonly partitions: ReadonlyMap<number, Partition>;
  readonly clock: Clock;
  readonly onFailed: (error: TallystickError) => void;
}

interface Planned {
  readonly step: RollUp;
  /** It was due a day ago already. */
  readonly isLate: boolean;
}

/** Where the looks at the days of a partition that are due for some classes alone have come to. */
interface Looks {
  /** They begin anew when days become old enough for another class. What comes in late for a day that was looked at waits until then. */
  readonly dueDays: string;
  readonly left: { readonly source: Resolution; day: number; slot: number; readonly end: number }[];
}

/**
 * Rolls the history of a lane up, hour after hour, one partition after the other and step by step: the planner computes, the lane
 * writes. A step that finds no room is left to the next round.
 */
export class RollUps {
  readonly #parts: RollUpsParts;
  #timer: Timer;
  /** The partitions that this round has yet to come to. */
  #left: number[] = [];
  readonly #looks = new Map<number, Looks>();
  #working: Promise<void> | undefined;
  #stopped = false;

  constructor(parts: RollUpsParts) {
    this.#parts = parts;
    this.#timer = this.#after(FIRST_MILLISECONDS, () => this.#begin());
  }

  /** Resolves when the step at hand is done. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer.cancel();
    await this.#working;
  }

  #begin(): void {
    try {
      this.#left = this.#hasRows ? [...this.#parts.partitions.keys()] : [];
    } catch (error) {
      this.#fail(error);
    }
    this.#step();
  }

  /** Without any the planner is not even asked: that starts a thread, which takes some 12 MB. */
  get #hasRows(): boolean {
    const { rows } = this.#parts.history.stats();
    return RESOLUTIONS.some((resolution) => rows[resolution] > 0);
  }

  #step(): void {
    const [partition] = this.#left;
    if (this.#stopped) return;
    if (partition === undefined) {
      this.#timer = this.#after(ROUND_MILLISECONDS, () => this.#begin());
      return;
    }
    this.#working = this.#rollUp(partition).catch((error: unknown) => this.#fail(error));
  }

  async #rollUp(partition: number): Promise<void> {
    const { history, clock } = this.#parts;
    const now = clock.wallMilliseconds();
    const planned = (await this.#planAll(partition, now)) ?? (await this.#planSome(partition, now));
    const began = clock.monotonicMilliseconds();
    const outcome = planned && (await history.replace(planned.step));
    if (outcome?.kind === 'unknown') throw outcome.error;
    if (!outcome) this.#left.shift();
    else if (outcome.kind === 'not-written') this.#left = [];
    const rest = planned ? this.#rest(planned, clock.monotonicMilliseconds() - began) : SHORTEST_REST_MILLISECONDS;
    this.#timer = this.#after(rest, () => this.#step());
  }

  /** How long to rest behind a step, in milliseconds, of which its commit took so many. */
  #rest({ isLate }: Planned, took: number): number {
    const partitions = [...this.#parts.partitions.values()];
    const inTime = SPREAD_MILLISECONDS / partitions.reduce((steps, { slots }) => steps + stepsOfADay(slots), 0);
    const rest = isLate ? Math.min(inTime / LATE_TIMES, LONGEST_LATE_REST_MILLISECONDS) : inTime;
    return Math.min(LONGEST_REST_MILLISECONDS, Math.max(rest, LEAST_TIMES * took));
  }

  /** The next step of the days that are due for all counters; undefined where there is none. */
  async #planAll(partition: number, now: number): Promise<Planned | undefined> {
    const { planner, retentions } = this.#parts;
    const retention = retentions.longest;
    const step = await planner.next({ partition, retention, now });
    return step && { step, isLate: step.day < dueBefore(retention, step.source, now - MILLISECONDS.day) };
  }

  /** The next step of the days that are due for some classes and not for others; undefined where there is none. */
  async #planSome(number: number, now: number): Promise<Planned | undefined> {
    const { planner, retentions, partitions } = this.#parts;
    const partition = partitions.get(number);
    if (!partition || !retentions.isKnown(partition)) return undefined;
    const { left } = this.#looksAt(number, now);
    for (let [place] = left; place && !this.#stopped; [place] = left) {
      const look = await planner.look({ partition: number, ...place });
      if (!look) {
        left.shift();
        continue;
      }
      const { source, day, slot, next } = look;
      // The kernel is asked at once before the step is computed; a name that takes a slot meanwhile has another generation.
      const dueAt = (time: number) =>
        look.counters.filter((counter) => retentions.isDue(partition, counter, source, day, time));
      const counters = dueAt(now);
      const isLate = dueAt(now - MILLISECONDS.day).length > 0;
      const some = { source, day, slot, counters };
      const step =
        counters.length > 0
          ? await planner.next({ partition: number, retention: retentions.longest, now, some })
          : undefined;
      if (step) return { step, isLate };
      Object.assign(place, { day, slot: next });
    }
    return undefined;
  }

  #looksAt(partition: number, now: number): Looks {
    const { longest, shortest } = this.#parts.retentions;
    const dueDays = this.#parts.retentions.dueDays(now);
    const known = this.#looks.get(partition);
    if (known?.dueDays === dueDays) return known;
    const places = RESOLUTIONS.map((source) => {
      return { source, day: dueBefore(longest, source, now), slot: 0, end: dueBefore(shortest, source, now) };
    });
    const looks = { dueDays, left: places.filter(({ day, end }) => day < end) };
    this.#looks.set(partition, looks);
    return looks;
  }

  #after(milliseconds: number, callback: () => void): Timer {
    return this.#parts.clock.setTimer(milliseconds, callback);
  }

  #fail(error: unknown): void {
    this.#stopped = true;
    this.#parts.onFailed(asTallystickError(error));
  }
}
