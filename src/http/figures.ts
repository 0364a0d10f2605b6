import type { ErrorCode } from '../errors.js';
import type { Load } from './admission.js';

/** What the thread of HTTP counts of itself, for /metrics. Keys are of tables of ours, never a client's text; the operator names the counters that are told. */

/** Upper ends of the buckets of durations, in seconds; the last bucket has none. */
export const DURATION_BUCKETS = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5] as const;

export interface Durations {
  /** For each bucket how many lasted longer than the bucket before, and no longer than it. */
  readonly counts: number[];
  seconds: number;
}

export class Figures {
  /** Of sockets. */
  connections = 0;
  /** Of server-sent events. */
  streams = 0;
  /** Names of counters that /metrics tells with their values. */
  readonly exported: readonly string[];
  readonly #answers = new Map<string, Map<number, number>>();
  readonly #problems = new Map<ErrorCode, number>();
  readonly #durations: Readonly<Record<Exclude<Load, 'probe'>, Durations>> = {
    read: noDurations(),
    write: noDurations(),
  };

  constructor(exported: readonly string[] = []) {
    this.exported = exported;
  }

  /** By route, then by status. */
  get answers(): ReadonlyMap<string, ReadonlyMap<number, number>> {
    return this.#answers;
  }

  get problems(): ReadonlyMap<ErrorCode, number> {
    return this.#problems;
  }

  get durations(): Readonly<Record<Exclude<Load, 'probe'>, Durations>> {
    return this.#durations;
  }

  /** `route`: the name of one, or `none` for what was refused before one saw it. */
  answered(route: string, status: number, code: ErrorCode | undefined): void {
    let statuses = this.#answers.get(route);
    if (!statuses) {
      statuses = new Map();
      this.#answers.set(route, statuses);
    }
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    if (code !== undefined) this.#problems.set(code, (this.#problems.get(code) ?? 0) + 1);
  }

  /** From when a request was there to when its answer was. */
  took(load: Load, milliseconds: number): void {
    if (load === 'probe') return;
    const durations = this.#durations[load];
    const seconds = milliseconds / 1_000;
    let bucket = 0;
    while (bucket < DURATION_BUCKETS.length && seconds > (DURATION_BUCKETS[bucket] as number)) bucket++;
    durations.counts[bucket] = (durations.counts[bucket] as number) + 1;
    durations.seconds += seconds;
  }
}

const noDurations = (): Durations => ({ counts: new Array(DURATION_BUCKETS.length + 1).fill(0), seconds: 0 });
