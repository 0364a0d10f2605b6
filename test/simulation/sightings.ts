import { ABSENT, ERRORS, OK } from '../../src/errors.js';
import type { Key } from '../../src/protocol/request.js';
import { bitsOfSeen, type Sighting, type UniqueCount, type UniquesWindow } from '../../src/protocol/uniques.js';
import type { SeeResult } from './model-results.js';

const UNIT_MILLISECONDS = { hours: 3_600_000, days: 86_400_000 } as const;

interface Seen {
  readonly item: string;
  readonly milliseconds: number;
  readonly position: number;
}

/** What the items of a model need of its counters. */
interface Counters {
  /** The name that a key stands for at a position. */
  nameOf(key: Key, position: number): string | undefined;
  /** When a name went last, at or before a position; 0 where it never did. */
  wentAt(name: string, position: number): number;
  isThere(name: string, position: number): boolean;
}

/** A list of everything that was seen under the names of a partition: the oracle of unique items, also by hour and by day. */
export class Sightings {
  readonly #seen = new Map<string, Seen[]>();
  readonly #keeps: (name: string) => boolean;
  readonly #counters: Counters;

  /** @param keeps whether the class of a name keeps unique items: exactly, and by hour and day */
  constructor(keeps: (name: string) => boolean, counters: Counters) {
    this.#keeps = keeps;
    this.#counters = counters;
  }

  /** @param exists is told of each name that exists from now on */
  see(
    sightings: readonly Sighting[],
    { milliseconds, position }: Omit<Seen, 'item'>,
    exists: (name: string) => void,
    undo: (() => void)[],
  ): SeeResult {
    const results = sightings.map(({ key, item }) => {
      const name = this.#counters.nameOf(key, position);
      const status = this.#statusOf(name);
      if (name === undefined || status !== OK) return { status, bits: 0 };
      const id = String(item);
      const isNew = !this.#of(name, position).some((seen) => seen.item === id);
      const all = this.#seen.get(name) ?? [];
      this.#seen.set(name, all);
      all.push({ item: id, milliseconds, position });
      undo.push(() => all.pop());
      exists(name);
      return { status, bits: bitsOfSeen({ isNew, exact: true }) };
    });
    return {
      refused: results.flatMap(({ status }, index) => (status ? [{ index, status }] : [])),
      seen: results.map(({ bits }) => bits),
    };
  }

  /** What UNIQUES must tell of each key as of a position; and, within a window, of a time. */
  each(keys: readonly Key[], position: number, window?: UniquesWindow, now = 0): UniqueCount[] {
    return keys.map((key) => {
      const name = this.#counters.nameOf(key, position);
      const status = this.#statusOf(name);
      if (name === undefined || status !== OK) return { status, exact: true, count: 0 };
      if (!this.#counters.isThere(name, position)) return { status: ABSENT, exact: true, count: 0 };
      return { status: OK, exact: true, count: this.#itemsOf(name, position, window, now).size };
    });
  }

  /** The same of their union. */
  union(keys: readonly Key[], position: number, window?: UniquesWindow, now = 0): UniqueCount {
    const all = new Set<string>();
    for (const key of keys) {
      const name = this.#counters.nameOf(key, position);
      const status = this.#statusOf(name);
      if (name === undefined || status !== OK) return { status, exact: true, count: 0 };
      for (const item of this.#itemsOf(name, position, window, now)) all.add(item);
    }
    return { status: OK, exact: true, count: all.size };
  }

  #statusOf(name: string | undefined): number {
    if (name === undefined) return ERRORS.ID_UNKNOWN.status;
    return this.#keeps(name) ? OK : ERRORS.NOT_TRACKED.status;
  }

  /** What was seen in the life that a name has at a position. */
  #of(name: string, position: number): Seen[] {
    const began = this.#counters.wentAt(name, position);
    return (this.#seen.get(name) ?? []).filter((seen) => seen.position > began && seen.position <= position);
  }

  #itemsOf(name: string, position: number, window: UniquesWindow | undefined, now: number): Set<string> {
    const unit = window && UNIT_MILLISECONDS[window.unit];
    const isWithin = ({ milliseconds }: Seen) => {
      if (!unit) return true;
      const age = Math.floor(now / unit) - Math.floor(milliseconds / unit);
      return age >= 0 && age < window.length;
    };
    return new Set(
      this.#of(name, position)
        .filter(isWithin)
        .map(({ item }) => item),
    );
  }
}
