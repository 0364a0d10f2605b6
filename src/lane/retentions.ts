import { dueBefore, type Retention } from '../history/roll-up.js';
import { type CounterClass, encodeClasses, hasClasses } from '../partition/classes.js';
import type { Partition } from '../partition/partition.js';
import { MILLISECONDS, RESOLUTIONS, type Resolution } from '../series/bucket.js';

/** For how long the history keeps what of which counters: as their class says, and the server where it says nothing. */
export class Retentions {
  /** What all counters keep, and what any does. */
  readonly shortest: Retention;
  readonly longest: Retention;
  readonly #server: Retention;
  readonly #classes: readonly Retention[];
  readonly #body: Uint8Array;

  constructor(server: Retention, classes: readonly CounterClass[]) {
    this.#server = server;
    this.#body = encodeClasses(classes);
    this.#classes = classes.map(({ history }) => {
      const { minutes, hours, days } = typeof history === 'object' ? history : {};
      return {
        minuteHours: minutes === undefined ? server.minuteHours : minutes / MILLISECONDS.hour,
        hourDays: hours === undefined ? server.hourDays : hours / MILLISECONDS.day,
        dayDays: days === undefined ? server.dayDays : days / MILLISECONDS.day,
      };
    });
    const all = [server, ...this.#classes];
    const bound = (pick: (...numbers: number[]) => number): Retention => ({
      minuteHours: pick(...all.map(({ minuteHours }) => minuteHours)),
      hourDays: pick(...all.map(({ hourDays }) => hourDays)),
      dayDays: pick(...all.map(({ dayDays }) => dayDays)),
    });
    this.shortest = bound(Math.min);
    this.longest = bound(Math.max);
  }

  /** Whether it is known of each counter of a partition which of these classes it has: a change of the classes takes some ticks. */
  isKnown(partition: Partition): boolean {
    return !partition.isClassifying && hasClasses(partition.classes, this.#body);
  }

  /** Whether what a counter has of a day, or block of days, is to be rolled up or dropped. A counter that is gone is as one without a class. */
  isDue(
    partition: Partition,
    counter: { readonly slot: number; readonly generation: number },
    source: Resolution,
    day: number,
    now: number,
  ): boolean {
    const retention = this.#classes[partition.classOf(counter.slot, counter.generation) - 1] ?? this.#server;
    return day < dueBefore(retention, source, now);
  }

  /** Changes as days become old enough for some class. */
  dueDays(now: number): string {
    const days = [this.#server, ...this.#classes].flatMap((retention) =>
      RESOLUTIONS.map((source) => dueBefore(retention, source, now)),
    );
    return days.join();
  }
}
