import { type ClassDay, type CounterClass, daysOf, encodeDays } from '../partition/classes.js';
import { Kind, type Partition } from '../partition/partition.js';
import { Zone } from '../series/zone.js';

const NO_BYTES = new Uint8Array(0);

/** The days of the classes whose counters begin at 0 with each: the kernel knows no time zone, so their ends come to it by the log. */
export class Days {
  /** Of the classes that have days. */
  readonly #zones: readonly (Zone | undefined)[];
  /** Of a class that the configuration no longer has, until the change of the classes is in the log. */
  readonly #other = new Zone('UTC');

  constructor(classes: readonly CounterClass[]) {
    this.#zones = classes.map(({ rollover, zone }) => (rollover ? new Zone(zone ?? 'UTC') : undefined));
  }

  /** Whether counters of a class begin at 0 with each day. */
  has(number: number): boolean {
    return this.#zones[number - 1] !== undefined;
  }

  /** The day of a class in which an instant lies. */
  dayOf(number: number, instant: number): ClassDay {
    const zone = this.#zones[number - 1] ?? this.#other;
    const day = zone.dayOf(instant);
    let next = day + 1;
    // A day that the calendar leaves out has no length.
    while (zone.startOfDay(next) <= instant) next++;
    return { number, begin: zone.startOfDay(day), end: zone.startOfDay(next) };
  }

  /** The body of a DAYS for those classes of a partition that have another day now; undefined where none has. */
  change(partition: Partition, now: number): Uint8Array | undefined {
    return this.#bodyFor(daysOf(partition.classes), now);
  }

  /** The same for classes of which no day is known, or a day that is not over, in another zone. */
  correction(partition: Partition, now: number): Uint8Array | undefined {
    const isOpen = ({ begin, end }: ClassDay) => end === 0 || (begin <= now && now < end);
    return this.#bodyFor(daysOf(partition.classes).filter(isOpen), now);
  }

  #bodyFor(known: readonly ClassDay[], now: number): Uint8Array | undefined {
    const days = known.flatMap(({ number, begin, end }) => {
      const day = this.dayOf(number, now);
      return day.begin !== begin || day.end !== end ? [day] : [];
    });
    return days.length > 0 ? encodeDays(days) : undefined;
  }

  /** What a partition that has something due is to be given next, before anything else: TICKs, and a DAYS where days are over. */
  settling(partition: Partition, now: number): { readonly kind: number; readonly body: Uint8Array } {
    const days = partition.needsDays(now) ? this.change(partition, now) : undefined;
    return days ? { kind: Kind.DAYS, body: days } : { kind: Kind.TICK, body: NO_BYTES };
  }
}
