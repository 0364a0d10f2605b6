import { TallystickError } from '../errors.js';
import { MILLISECONDS, type Resolution } from './bucket.js';
import { Zone } from './zone.js';

/** What an answer may hold. A day takes 25 us to find in a zone, so that the longest series of days takes 250 ms. */
export const MAX_STEPS = 10_000;
/** The last instant that Date and Intl know, less what a zone may look beyond. */
const MAX_INSTANT = 8.64e15 - 4 * MILLISECONDS.day;

export interface Step {
  readonly count: number;
  readonly unit: Resolution;
}

export interface SeriesQuery {
  /** Milliseconds since 1970; `to` is not in it. */
  readonly from: number;
  readonly to: number;
  readonly step: Step;
  /** Of the IANA database: where days begin. */
  readonly zone: string;
}

/** The steps of a series: `edges[i]` to `edges[i + 1]`, each whole, so that the first and the last may reach out of what was asked for. */
export interface Steps {
  readonly edges: readonly number[];
  /** How long a step is, in milliseconds, where no clock is set meanwhile. */
  readonly length: number;
}

/**
 * Steps of days begin with days of the zone, counted from that of `from`; they are as long as the days are. Steps of minutes and
 * hours begin anew with each day of the zone and take real time; the last one of a day ends with it.
 *
 * @throws TallystickError BAD_REQUEST
 */
export function stepsOf({ from, to, step, zone: name }: SeriesQuery): Steps {
  const length = step.count * MILLISECONDS[step.unit];
  check(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from < to && to <= MAX_INSTANT, 'The range');
  check(Number.isInteger(step.count) && step.count > 0 && Number.isSafeInteger(length), 'The step');
  check(step.unit === 'day' || length <= MILLISECONDS.day, 'A step of more than a day, in other units than days,');
  if ((to - from) / length > MAX_STEPS) {
    throw new TallystickError('BAD_REQUEST', `The range has more than ${MAX_STEPS} steps.`);
  }
  const zone = new Zone(name);
  const edges = step.unit === 'day' ? dayEdges(zone, from, to, step.count) : shortEdges(zone, from, to, length);
  return { edges, length };
}

/** Whether answers between these instants are the same where minutes are added up by the hour. */
export const areWholeHours = (instants: readonly number[]): boolean =>
  instants.every((instant) => instant % MILLISECONDS.hour === 0);

function dayEdges(zone: Zone, from: number, to: number, count: number): number[] {
  const edges: number[] = [];
  for (let day = zone.dayOf(from); ; day += count) {
    const edge = zone.startOfDay(day);
    // A day that the calendar leaves out begins with the next one.
    if (edge !== edges.at(-1)) edges.push(edge);
    if (edge >= to) return edges;
  }
}

function shortEdges(zone: Zone, from: number, to: number, length: number): number[] {
  const edges: number[] = [];
  for (let day = zone.dayOf(from), start = zone.startOfDay(day); ; day++) {
    const end = zone.startOfDay(day + 1);
    const first = start + Math.max(0, Math.floor((from - start) / length)) * length;
    for (let edge = first; edge < end; edge += length) {
      edges.push(edge);
      if (edge >= to) return edges;
    }
    start = end;
  }
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new TallystickError('BAD_REQUEST', `${what} is not usable.`);
}
