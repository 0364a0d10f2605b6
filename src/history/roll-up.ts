import { MILLISECONDS, type Resolution } from '../series/bucket.js';
import { type CounterKey, rowMilliseconds, UNITS } from './bucket.js';
import { droppedBefore, droppedRow } from './dropped.js';
import { after, keyOf, partsOf, spanStart } from './key.js';
import { decodeState } from './partition-state.js';
import type { RowCodec } from './row.js';
import type { HistoryReader, StoredRow } from './tables.js';

/**
 * Roll-up: minutes that are old enough become the hours of a day's row, hours become the days of a row of 64 days, and their
 * rows go. Days that are old enough are dropped, a block at a time, where they are not kept for ever. It is done in steps, each of which is a
 * transaction:
 *
 * ```
 *  minutes of the oldest day, 128 slots of it  +  the hours of that day    ──►  the hours of that day
 *  hours of the oldest day, 512 rows of it     +  the days of its block    ──►  the days of its block
 *  the oldest 512 rows of days                                             ──►  up to where they were dropped (dropped.ts)
 * ```
 *
 * A step takes what is the oldest and removes what it took, so the next step follows from what is stored: there is no place
 * to remember. A row that comes late, for a time that was rolled up, is taken by the next step like any other.
 *
 * Where classes keep minutes, hours or days for different times, that is done of the days that are old enough for all of them. Of the days behind those
 * the owner, which alone knows the classes, looks at some counters of a day after the other (`lookAt`), and asks for a step of those that are due.
 *
 * Only whole days of UTC are rolled up, and that takes most of a day. So minutes are kept for their retention and up to two days longer, and no hour is
 * half minutes for a reason other than lateness. Days are dropped when the last one of their block is old enough, up to 64 days later than the first.
 */
export interface Retention {
  /** Hours for which minutes are kept at least. */
  readonly minuteHours: number;
  /** Days for which hours are kept at least. */
  readonly hourDays: number;
  /** Days for which days are kept at least; infinite: for ever. */
  readonly dayDays: number;
}

export const DEFAULT_RETENTION: Retention = {
  minuteHours: 48,
  hourDays: 30,
  dayDays: Number.POSITIVE_INFINITY,
};

/**
 * What bounds the minutes of a step, each of which is a removal: 128 slots hold the lane's thread for 1.4 ms, and up to 4 where cores are short. Some 105 rows of an
 * hour lie on a page, and a step writes the page on which it ends anew, for each hour of its day: so it writes 75 pages where 32 slots write 64.
 */
const SLOTS_OF_A_STEP = 128;
const MINUTES_OF_A_STEP = SLOTS_OF_A_STEP * UNITS.hour;
/** Each becomes a put and a removal, so fewer of them. */
const HOURS_OF_A_STEP = 512;
const DAYS_OF_A_STEP = HOURS_OF_A_STEP;
const SLOTS_LOOKED_AT = { minute: SLOTS_OF_A_STEP, hour: HOURS_OF_A_STEP, day: DAYS_OF_A_STEP } as const;
const ROWS_LOOKED_AT = 1_024;

/** Steps that take what becomes due with a day, at most, of a partition with so many slots: a day's minutes and a day's hours. */
export const stepsOfADay = (slots: number): number =>
  Math.ceil(slots / SLOTS_OF_A_STEP) + Math.ceil(slots / HOURS_OF_A_STEP);

const TARGETS = { minute: 'hour', hour: 'day' } as const;
/** Spans of rows: hours that hold minutes, the day itself that holds hours, the block that holds days. */
const SPANS_OF_A_DAY = { minute: UNITS.hour, hour: 1, day: 1 } as const;

/** A step of the roll-up of a partition, to be written at this revision of it alone. */
export interface RollUp {
  readonly partition: number;
  readonly revision: number;
  readonly source: Resolution;
  /** Since 1970, of UTC: the oldest day of what was taken; where days are the source, their block. */
  readonly day: number;
  /** What was taken, and goes. */
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
  /** Only these, however old they are. */
  readonly some?: SomeCounters;
}

type Counter = Omit<CounterKey, 'partition'>;

/** Counters that have rows in a day, or block of days, all of whose slots are less than SLOTS_LOOKED_AT behind `slot`. */
export interface SomeCounters {
  readonly source: Resolution;
  /** Since 1970, of UTC; where days are the source, their block. */
  readonly day: number;
  readonly slot: number;
  readonly counters: readonly Counter[];
}

export interface LookRequest {
  readonly partition: number;
  readonly source: Resolution;
  /** Where to begin, and the day before which to end. */
  readonly day: number;
  readonly slot: number;
  readonly end: number;
}

/** What a look found, and the slot of the same day at which the next one begins. */
export interface Look extends SomeCounters {
  readonly next: number;
}

/** Computes steps, in whichever thread. */
export interface RollUpPlanner {
  next(request: RollUpRequest): Promise<RollUp | undefined>;
  look(request: LookRequest): Promise<Look | undefined>;
}

/** The day before which everything is old enough; where days are the source, their block. */
export function dueBefore({ minuteHours, hourDays, dayDays }: Retention, source: Resolution, now: number): number {
  const ages = {
    minute: minuteHours * MILLISECONDS.hour,
    hour: hourDays * MILLISECONDS.day,
    day: dayDays * MILLISECONDS.day,
  };
  const length = source === 'day' ? rowMilliseconds('day') : MILLISECONDS.day;
  return Math.max(0, Math.floor((now - ages[source]) / length));
}

/**
 * The next step for a partition, undefined where nothing is old enough.
 *
 * @throws TallystickError DATA_DAMAGED
 */
export function nextRollUp(reader: HistoryReader, codec: RowCodec, request: RollUpRequest): RollUp | undefined {
  const { partition, retention, now, some } = request;
  reader.refresh();
  // Read first: where the owner removed rows meanwhile, the step is of an old revision and is not written
  const { revision } = decodeState(partition, reader.state(partition));
  const step = (source: Resolution, rows: readonly StoredRow[]): RollUp | undefined => {
    const [oldest] = rows;
    if (!oldest) return undefined;
    const day = Math.floor(partsOf(oldest.key).at / SPANS_OF_A_DAY[source]);
    const taken = { partition, revision, source, day, removals: rows.map(({ key }) => key) };
    if (source === 'day') return { ...taken, target: 'day', puts: dropped(reader, codec, rows) };
    return { ...taken, target: TARGETS[source], puts: merged(reader, codec, source, TARGETS[source], rows) };
  };
  if (some) return step(some.source, rowsOfSome(reader, partition, some));
  return (
    step('minute', oldestMinutes(reader, partition, dueBefore(retention, 'minute', now))) ??
    step('hour', oldestHours(reader, partition, dueBefore(retention, 'hour', now))) ??
    step('day', oldestDays(reader, partition, dueBefore(retention, 'day', now)))
  );
}

/**
 * The first counters that have rows in a day, from a place on; undefined where none has.
 *
 * @throws TallystickError DATA_DAMAGED
 */
export function lookAt(reader: HistoryReader, request: LookRequest): Look | undefined {
  const { partition, source, end } = request;
  reader.refresh();
  let { day, slot } = request;
  while (day < end) {
    const first = firstSlot(reader, partition, source, day, slot);
    if (first !== undefined) {
      const counters = new Map<string, Counter>();
      for (const { key } of rowsOfSlots(reader, partition, source, day, first)) {
        const { slot, generation } = partsOf(key);
        counters.set(`${slot}.${generation}`, { slot, generation });
      }
      return { source, day, slot: first, counters: [...counters.values()], next: first + SLOTS_LOOKED_AT[source] };
    }
    const spans = SPANS_OF_A_DAY[source];
    const [behind] = reader.range(
      source,
      spanStart(partition, (day + 1) * spans),
      spanStart(partition, end * spans),
      1,
    );
    if (!behind) return undefined;
    [day, slot] = [Math.floor(partsOf(behind.key).at / spans), 0];
  }
  return undefined;
}

const spansOf = (source: Resolution, day: number): readonly number[] => {
  const spans = SPANS_OF_A_DAY[source];
  return Array.from({ length: spans }, (_, span) => day * spans + span);
};

/** The first slot from one on that has a row in a day. */
function firstSlot(
  reader: HistoryReader,
  partition: number,
  source: Resolution,
  day: number,
  slot: number,
): number | undefined {
  const slots = spansOf(source, day).flatMap((span) =>
    reader
      .range(source, spanStart(partition, span, slot), spanStart(partition, span + 1), 1)
      .map(({ key }) => partsOf(key).slot),
  );
  return slots.length > 0 ? Math.min(...slots) : undefined;
}

function* rowsOfSlots(
  reader: HistoryReader,
  partition: number,
  source: Resolution,
  day: number,
  slot: number,
): Generator<StoredRow> {
  for (const span of spansOf(source, day)) {
    const end = spanStart(partition, span, slot + SLOTS_LOOKED_AT[source]);
    for (let start = spanStart(partition, span, slot); ; ) {
      const rows = reader.range(source, start, end, ROWS_LOOKED_AT);
      yield* rows;
      const last = rows.at(-1);
      if (!last || rows.length < ROWS_LOOKED_AT) break;
      start = after(last.key);
    }
  }
}

/** As many rows of some counters as a step may have. */
function rowsOfSome(reader: HistoryReader, partition: number, some: SomeCounters): StoredRow[] {
  const { source, day, slot, counters } = some;
  const wanted = new Set(counters.map((counter) => `${counter.slot}.${counter.generation}`));
  const most = source === 'minute' ? MINUTES_OF_A_STEP : HOURS_OF_A_STEP;
  const rows: StoredRow[] = [];
  for (const row of rowsOfSlots(reader, partition, source, day, slot)) {
    const { slot, generation } = partsOf(row.key);
    if (wanted.has(`${slot}.${generation}`)) rows.push(row);
    if (rows.length === most) break;
  }
  return rows;
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

/** Rows of days of the oldest blocks before `end`. */
function oldestDays(reader: HistoryReader, partition: number, end: number): StoredRow[] {
  return reader.range('day', spanStart(partition, 0), spanStart(partition, end), DAYS_OF_A_STEP);
}

/** What is to be known of days that go. What comes late for a block before others that went leaves that as it is. */
function dropped(reader: HistoryReader, codec: RowCodec, rows: readonly StoredRow[]): StoredRow[] {
  const counters = new Map<string, { readonly counter: CounterKey; before: number }>();
  for (const { key } of rows) {
    const { at, ...counter } = partsOf(key);
    const name = `${counter.slot}.${counter.generation}`;
    const known = counters.get(name) ?? { counter, before: droppedBefore(reader, codec, counter) };
    counters.set(name, known);
    known.before = Math.max(known.before, (at + 1) * UNITS.day);
  }
  return [...counters.values()].flatMap(({ counter, before }) => droppedRow(codec, counter, before));
}

/** Each row becomes a unit of a row of the next resolution: an hour of minutes an hour of its day. */
function merged(
  reader: HistoryReader,
  codec: RowCodec,
  source: Resolution,
  target: Resolution,
  rows: readonly StoredRow[],
): StoredRow[] {
  const units = UNITS[target];
  const targets = new Map<string, { readonly key: Buffer; readonly sums: (bigint | undefined)[] }>();
  for (const { key, value } of rows) {
    const parts = partsOf(key);
    const targetKey = keyOf(parts, Math.floor(parts.at / units));
    const name = targetKey.toString('latin1');
    const known = targets.get(name) ?? { key: targetKey, sums: storedSums(reader, codec, target, targetKey) };
    targets.set(name, known);
    const unit = parts.at % units;
    known.sums[unit] = (known.sums[unit] ?? 0n) + codec.sum(source, key, value);
  }
  return [...targets.values()].flatMap(({ key, sums }): StoredRow[] => {
    const value = codec.encode(target, key, sums);
    return value ? [{ key, value }] : [];
  });
}

function storedSums(reader: HistoryReader, codec: RowCodec, resolution: Resolution, key: Uint8Array) {
  const stored = reader.get(resolution, key);
  return stored ? codec.decode(resolution, key, stored) : new Array<undefined>(UNITS[resolution]).fill(undefined);
}
