import { TallystickError } from '../errors.js';
import { MILLISECONDS } from './bucket.js';

const DAY = MILLISECONDS.day;
const SECOND = 1_000;

/** The days of a time zone of the IANA database, as the Intl of this process knows it. */
export class Zone {
  readonly #format: Intl.DateTimeFormat;
  /** Of instants that were looked at: neighbouring days look at the same ones, and Intl takes 20 us for one. */
  readonly #offsets = new Map<number, number>();

  /** @throws TallystickError BAD_REQUEST for a zone that is not known */
  constructor(name: string) {
    try {
      this.#format = new Intl.DateTimeFormat('en-US', {
        timeZone: name,
        hourCycle: 'h23',
        year: 'numeric',
        month: 'numeric',
        day: 'numeric',
        hour: 'numeric',
        minute: 'numeric',
        second: 'numeric',
      });
    } catch (cause) {
      throw new TallystickError('BAD_REQUEST', `There is no time zone ${JSON.stringify(name)}.`, { cause });
    }
  }

  /** The day of the calendar, counted from 1970-01-01, in which an instant lies. */
  dayOf(instant: number): number {
    const day = Math.floor((instant + this.#offset(instant)) / DAY);
    // Where a clock is set back over midnight, it shows the old day once more.
    return instant >= this.startOfDay(day + 1) ? day + 1 : day;
  }

  /**
   * The instant at which a day begins: when its date, or a later one, is shown first. That is not midnight where the clock is set
   * forward over it (Toronto in 1919, São Paulo until 2018), and the same instant as for the next day where the calendar leaves
   * the day out (Apia in 2011).
   */
  startOfDay(day: number): number {
    const midnight = day * DAY;
    // The clock may be set between a day before and a day after, which is farther than any zone is from UTC.
    const before = this.#offset(midnight - DAY);
    const behind = this.#offset(midnight + DAY);
    const expected = midnight - before;
    if (before === behind) return expected;
    if (this.#offset(expected - SECOND) === before && this.#shows(expected, midnight)) return expected;
    const set = this.#firstWith(behind, midnight - DAY, midnight + DAY);
    return Math.max(set, midnight - behind);
  }

  #shows(instant: number, midnight: number): boolean {
    return instant + this.#offset(instant) >= midnight;
  }

  /** The first second at which the clock is that far ahead: it is not at `from`, is at `to`, and is set once between them. */
  #firstWith(offset: number, from: number, to: number): number {
    let [not, is] = [from / SECOND, to / SECOND];
    while (is - not > 1) {
      const middle = Math.floor((not + is) / 2);
      if (this.#offset(middle * SECOND) === offset) is = middle;
      else not = middle;
    }
    return is * SECOND;
  }

  /** Milliseconds that the clock of the zone is ahead of UTC. */
  #offset(instant: number): number {
    const known = this.#offsets.get(instant) ?? this.#computedOffset(instant);
    this.#offsets.set(instant, known);
    return known;
  }

  #computedOffset(instant: number): number {
    const fields: Record<string, number> = {};
    for (const { type, value } of this.#format.formatToParts(instant)) fields[type] = Number(value);
    const { year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0 } = fields;
    const shown = Date.UTC(year, month - 1, day, hour, minute, second);
    return shown - Math.floor(instant / SECOND) * SECOND;
  }
}
