import type { Clock } from '../clock.js';

/**
 * For how long the group that collects is held after a flush, so that those who were just answered can join it.
 *
 * Callers that await one thing after the other otherwise form two cohorts: one's group is flushed while the other waits in the
 * open one, and each pays nearly two flushes for a request. PostgreSQL's `commit_delay` and MySQL's
 * `binlog_group_commit_sync_delay` are against that, with times that somebody has to choose. Here the groups before tell: a
 * group is held where those who were answered come back about as soon as a flush takes, and no longer than that, from when their
 * answers went out: to write to sixty sockets takes as long as a flush.
 *
 *   flushed, answered -> nobody is back -> some are back ------------------> all are back: sent
 *                         \__ their time is over: sent   \__ none this turn: sent
 */

/** What a flush is taken for that took longer, as one does now and then. */
const MOST_MILLISECONDS = 5;
/** So many times what the last flush took, a group is held at the most: two cohorts wait for two. Timers of Node count from 1 ms on. */
const FLUSHES = 1.5;
/** The part of those who were answered that is to come back. Of a client's next requests half go to the other one of two lanes. */
const PART = 0.25;
/** A group whose callers did not come back in time weighs as much as so many whose did: holding it delayed others for nothing. */
const WEIGHT = 8;

export class CommitDelay {
  readonly #clock: Clock;
  /** How many were answered last, when they had their answers, and for how long the group behind them may be held. */
  #told = 0;
  #since = 0;
  #most = 0;
  /** Entries that have come since; how many were there when a turn was looked at last; when as many were as are to come back. */
  #came = 0;
  #seen = 0;
  #returned = Number.POSITIVE_INFINITY;
  /** From 0 on groups are held. */
  #credit = -WEIGHT;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** An entry has come. */
  came(): void {
    if (++this.#came === this.#enough) this.#returned = this.#clock.monotonicMilliseconds();
  }

  /** A group is flushed, which took so many milliseconds, and so many are about to be told. */
  flushed(now: number, milliseconds: number, told: number): void {
    const isInTime = this.#returned - this.#since <= this.#most;
    this.#credit = isInTime ? Math.min(WEIGHT, this.#credit + 1) : Math.max(-WEIGHT, this.#credit - WEIGHT);
    this.#told = told;
    this.#since = now;
    this.#most = FLUSHES * Math.min(MOST_MILLISECONDS, milliseconds);
    this.#came = 0;
    this.#seen = 0;
    this.#returned = Number.POSITIVE_INFINITY;
  }

  /** Those who were told have their answers: what it took to write these is not their time. */
  answered(): void {
    this.#since = this.#clock.monotonicMilliseconds();
  }

  /** To be asked at the end of a turn: for how many milliseconds the group is still to be held; 0: it is to be sent. */
  left(): number {
    if (this.#credit < 0 || this.#came >= this.#told) return 0;
    const isQuiet = this.#came === this.#seen;
    this.#seen = this.#came;
    if (isQuiet && this.isReturning) return 0;
    return Math.max(0, this.#since + this.#most - this.#clock.monotonicMilliseconds());
  }

  /** Whether enough are back: then the next turn may be the one in which nobody comes. */
  get isReturning(): boolean {
    return this.#came >= this.#enough;
  }

  get #enough(): number {
    return Math.ceil(this.#told * PART);
  }
}
