import { MILLISECONDS, type Resolution } from '../series/bucket.js';
import { sumOf, UNITS } from './bucket.js';
import { keyOf, partsOf, spanStart } from './key.js';
import { decodeState } from './partition-state.js';
import type { RowCodec } from './row.js';
import type { HistoryReader, StoredRow } from './tables.js';

/**
 * Roll-up: minutes that are old enough become the hours of a day's row, hours become the days of a row of 64 days, and their
 * rows go. It is done in steps, each of which is a transaction:
 *
 * ```
 *  minutes of the oldest day, 32 slots of it   +  the hours of that day    ──►  the hours of that day
 *  hours of the oldest day, 512 rows of it     +  the days of its block    ──►  the days of its block
 * ```
 *
 * A step takes what is the oldest and removes what it took, so the next step follows from what is stored: there is no place
 * to remember. A row that comes late, for a time that was rolled up, is taken by the next step like any other.
 *
 * Only whole days of UTC are rolled up. So minutes are kept for their retention and up to a day longer, and no hour is
 * half minutes for a reason other than lateness.
 */
export interface Retention {
  /** Hours for which minutes are kept at least. */
  readonly minuteHours: number;
  /** Days for which hours are kept at least. */
  readonly hourDays: number;
}

export const DEFAULT_RETENTION: Retention = { minuteHours: 48, hourDays: 30 };

/** What bounds the minutes of a step, each of which is a removal: 32 slots hold the lane's thread for about 1 ms. */
const SLOTS_OF_A_STEP = 32;
const MINUTES_OF_A_STEP = SLOTS_OF_A_STEP * UNITS.hour;
/** Each becomes a put and a removal, so fewer of them. */
const HOURS_OF_A_STEP = 512;

/** A step of the roll-up of a partition, to be written at this revision of it alone. */
export interface RollUp {
  readonly partition: number;
  readonly revision: number;
  /** What was taken, and goes. */
  readonly source: Resolution;
  readonly removals: readonly Uint8Array[];
  /** What was merged, in the place of what was there. */
  readonly target: Resolution;
  readonly puts: readonly StoredRow[];
}

export interface RollUpRequest {
  readonly partition: number;
  readonly retention: Retention;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Computes steps, in whichever thread. */
export interface RollUpPlanner {
  next(request: RollUpRequest): Promise<RollUp | undefined>;
}

/**
 * The next step for a partition, undefined where nothing is old enough.
 *
 * @throws TallystickError DATA_DAMAGED
 */
export function nextRollUp(reader: HistoryReader, codec: RowCodec, request: RollUpRequest): RollUp | undefined {
  const { partition, retention, now } = request;
  reader.refresh();
  // Read first: where the owner removed rows meanwhile, the step is of an old revision and is not written
  const { revision } = decodeState(partition, reader.state(partition));
  const day = (age: number) => Math.max(0, Math.floor((now - age) / MILLISECONDS.day));
  const minutes = oldestMinutes(reader, partition, day(retention.minuteHours * MILLISECONDS.hour));
  if (minutes.length > 0) {
    return { partition, revision, source: 'minute', ...merged(reader, codec, 'minute', 'hour', minutes) };
  }
  const hours = oldestHours(reader, partition, day(retention.hourDays * MILLISECONDS.day));
  if (hours.length === 0) return undefined;
  return { partition, revision, source: 'hour', ...merged(reader, codec, 'hour', 'day', hours) };
}

/** Rows of minutes of the oldest day before `end`, of the first slots that have any. */
function oldestMinutes(reader: HistoryReader, partition: number, end: number): StoredRow[] {
  const spans = (day: number) => Array.from({ length: UNITS.hour }, (_, hour) => day * UNITS.hour + hour);
  const firstOf = (from: number, to: number) =>
    reader.range('minute', spanStart(partition, from), spanStart(partition, to), 1).map(({ key }) => partsOf(key));
  const [oldest] = firstOf(0, end * UNITS.hour);
  if (!oldest) return [];
  const hours = spans(Math.floor(oldest.at / UNITS.hour));
  const slot = Math.min(...hours.flatMap((hour) => firstOf(hour, hour + 1).map((first) => first.slot)));
  const rows: StoredRow[] = [];
  for (const hour of hours) {
    const [from, to] = [spanStart(partition, hour, slot), spanStart(partition, hour, slot + SLOTS_OF_A_STEP)];
    rows.push(...reader.range('minute', from, to, MINUTES_OF_A_STEP - rows.length));
    if (rows.length === MINUTES_OF_A_STEP) break;
  }
  return rows;
}

/** Rows of hours of the oldest day before `end`. */
function oldestHours(reader: HistoryReader, partition: number, end: number): StoredRow[] {
  const [oldest] = reader.range('hour', spanStart(partition, 0), spanStart(partition, end), 1);
  if (!oldest) return [];
  const { at } = partsOf(oldest.key);
  return reader.range('hour', oldest.key, spanStart(partition, at + 1), HOURS_OF_A_STEP);
}

/** Each row becomes a unit of a row of the next resolution: an hour of minutes an hour of its day. */
function merged(
  reader: HistoryReader,
  codec: RowCodec,
  source: Resolution,
  target: Resolution,
  rows: readonly StoredRow[],
) {
  const units = UNITS[target];
  const targets = new Map<string, { readonly key: Buffer; readonly sums: (bigint | undefined)[] }>();
  for (const { key, value } of rows) {
    const parts = partsOf(key);
    const targetKey = keyOf(parts, Math.floor(parts.at / units));
    const name = targetKey.toString('latin1');
    const known = targets.get(name) ?? { key: targetKey, sums: storedSums(reader, codec, target, targetKey) };
    targets.set(name, known);
    const unit = parts.at % units;
    known.sums[unit] = sumOf([known.sums[unit], sumOf(codec.decode(source, key, value))]);
  }
  const puts = [...targets.values()].flatMap(({ key, sums }): StoredRow[] => {
    const value = codec.encode(target, key, sums);
    return value ? [{ key, value }] : [];
  });
  return { target, removals: rows.map(({ key }) => key), puts };
}

function storedSums(reader: HistoryReader, codec: RowCodec, resolution: Resolution, key: Uint8Array) {
  const stored = reader.get(resolution, key);
  return stored ? codec.decode(resolution, key, stored) : new Array<undefined>(UNITS[resolution]).fill(undefined);
}
