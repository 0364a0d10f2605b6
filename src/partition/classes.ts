import { TallystickError } from '../errors.js';
import { encodeUtf8 } from '../protocol/bytes.js';
import type { Accuracy } from '../protocol/control.js';

/** What is kept of counters besides their totals, by their names. The kernel's side is src/kernel/classes.ts. */

/** A rule: of the classes that a directory has, a counter is of the first whose pattern matches its name. */
export interface CounterClass {
  /** A name, in which each star stands for any characters, also none. At most 64 bytes of UTF-8. */
  readonly pattern: string;
  /** How long a window may be: minutes are kept for an hour, hours for a day. Absent: no windows. */
  readonly windows?: '1h' | '1d';
  /** Whether a window of up to a minute is known to a second. Windows of an hour come with it. */
  readonly seconds?: boolean;
  /** Whether windows also know what increased a counter and what decreased it. Windows of an hour come with it. */
  readonly gross?: boolean;
  /** Whether closed hours go to the history, and for how long it keeps what. Windows of an hour come with it. */
  readonly history?: boolean | ClassRetention;
  /** Whether unique items are counted: how many of them exactly, at most MOST_EXACT_UNIQUES. */
  readonly uniques?: number;
  /** For how many days unique items are also counted by day, and for a day by hour: at most MOST_UNIQUE_DAYS. `uniques` goes with it. */
  readonly uniquesWindows?: number;
  /**
   * Whether an increment can bring an item that counts once: for how long, in milliseconds. Then `onceItems` goes with it: how many items a counter
   * has at a time, at most MOST_ONCE_ITEMS.
   */
  readonly once?: number;
  readonly onceItems?: number;
  /** How long after its first change a counter ends, in milliseconds. Absent: it does not, unless an EXPIRE or an increment says so. */
  readonly ttl?: number;
  /** A counter begins at 0 with every day, of this zone: by default of UTC. The days that are over stay in its history. */
  readonly rollover?: 'daily';
  readonly zone?: string;
  /** How old the time of an increment may be, in milliseconds; by default an hour. */
  readonly lateness?: number | 'any';
  /**
   * `strict`: a change is answered when it is flushed, whatever was asked for, and clients sum none up. `relaxed`: clients ask to be answered from
   * memory unless they are told otherwise. By default, `exact`, as they ask.
   */
  readonly accuracy?: Accuracy;
  /** What becomes of an increment that is older: it is refused, or counted in the total alone. */
  readonly late?: 'refuse' | 'total';
}

/** For how many milliseconds a history keeps minutes, hours, and days, at least; absent: as the server does. */
export interface ClassRetention {
  readonly minutes?: number;
  readonly hours?: number;
  readonly days?: number;
}

export const MAX_CLASSES = 63;
export const MAX_PATTERN_BYTES = 64;
export const MOST_EXACT_UNIQUES = 10_000_000;
export const MOST_UNIQUE_DAYS = 90;
export const MOST_ONCE_ITEMS = 1_000_000;
/** Unless a class says otherwise. */
export const ONCE_ITEMS = 100_000;
const CLASS_BYTES = 128;
const PATTERN = 64;
const Keep = {
  WINDOWS: 1,
  DAYS: 2,
  HISTORY: 4,
  UNIQUES: 8,
  LATE_IN_TOTAL: 16,
  SECONDS: 32,
  GROSS: 64,
  UNIQUE_WINDOWS: 128,
  RELAXED: 256,
  STRICT: 512,
  ONCE: 1024,
  ROLLOVER: 2048,
} as const;
const HOUR = 3_600_000;
const ANY = -1n;
const DAY_BYTES = 17;

/** Where the kernel writes into its table what no rule says: from when on a class knows everything, and its present day. */
const MINUTES = { start: 28, end: 36 };
const DAY = { start: 48, end: 64 };

/** The body of a CLASSIFY. @throws TallystickError INVALID_ARGUMENT */
export function encodeClasses(classes: readonly CounterClass[]): Uint8Array {
  if (classes.length > MAX_CLASSES) {
    throw new TallystickError('INVALID_ARGUMENT', `There are at most ${MAX_CLASSES} classes, not ${classes.length}.`);
  }
  const body = new Uint8Array(classes.length * CLASS_BYTES);
  for (const [index, rule] of classes.entries()) {
    encodeClass(body.subarray(index * CLASS_BYTES, (index + 1) * CLASS_BYTES), rule);
  }
  return body;
}

function encodeClass(bytes: Uint8Array, rule: CounterClass): void {
  const pattern = encodeUtf8(rule.pattern);
  if (pattern.length < 1 || pattern.length > MAX_PATTERN_BYTES) {
    throw new TallystickError('INVALID_ARGUMENT', `A pattern has 1 to ${MAX_PATTERN_BYTES} bytes: ${rule.pattern}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  view.setUint32(0, keepsOf(rule), true);
  view.setUint16(4, pattern.length, true);
  view.setUint16(6, rule.uniquesWindows ?? 0, true);
  view.setBigInt64(8, BigInt(rule.ttl ?? 0), true);
  view.setBigInt64(16, rule.lateness === 'any' ? ANY : BigInt(rule.lateness ?? HOUR), true);
  view.setUint32(24, rule.uniques ?? 0, true);
  if (rule.once !== undefined) {
    view.setUint32(36, rule.onceItems ?? ONCE_ITEMS, true);
    view.setBigInt64(40, BigInt(rule.once), true);
  }
  bytes.set(pattern, PATTERN);
}

function keepsOf(rule: CounterClass): number {
  const { windows, seconds, gross, history, uniques, uniquesWindows, late, once, rollover, accuracy } = rule;
  return (
    (windows || seconds || gross || history ? Keep.WINDOWS : 0) |
    (windows === '1d' ? Keep.DAYS : 0) |
    (seconds ? Keep.SECONDS : 0) |
    (gross ? Keep.GROSS : 0) |
    (history ? Keep.HISTORY : 0) |
    (uniques === undefined ? 0 : Keep.UNIQUES) |
    (late === 'total' ? Keep.LATE_IN_TOTAL : 0) |
    (uniquesWindows === undefined ? 0 : Keep.UNIQUE_WINDOWS) |
    (accuracy === 'relaxed' ? Keep.RELAXED : accuracy === 'strict' ? Keep.STRICT : 0) |
    (once === undefined ? 0 : Keep.ONCE) |
    (rollover ? Keep.ROLLOVER : 0)
  );
}

/** Whether a table of the kernel has just the classes of a CLASSIFY's body. */
export function hasClasses(table: Uint8Array, body: Uint8Array): boolean {
  if (table.length !== body.length) return false;
  return table.every((byte, index) => byte === body[index] || isOfKernel(index % CLASS_BYTES));
}

/** Whether any class of a table of the kernel keeps uniques. */
export function keepsUniques(table: Uint8Array): boolean {
  return keepsAny(table, Keep.UNIQUES);
}

/** Whether any class of a table of the kernel has items that count once. */
export function keepsOnce(table: Uint8Array): boolean {
  return keepsAny(table, Keep.ONCE);
}

function keepsAny(table: Uint8Array, bit: number): boolean {
  const view = new DataView(table.buffer, table.byteOffset, table.length);
  for (let entry = 0; entry < table.length; entry += CLASS_BYTES) if (view.getUint32(entry, true) & bit) return true;
  return false;
}

/** A table of the kernel as the body of a CLASSIFY. */
export function asRules(table: Uint8Array): Uint8Array {
  return table.map((byte, index) => (isOfKernel(index % CLASS_BYTES) ? 0 : byte));
}

function isOfKernel(offset: number): boolean {
  return [MINUTES, DAY].some(({ start, end }) => offset >= start && offset < end);
}

/** A day in which a class counts: instants in milliseconds since 1970. */
export interface ClassDay {
  /** Of the class, from 1. */
  readonly number: number;
  readonly begin: number;
  readonly end: number;
}

/** The body of a DAYS: `number u8 | begin i64 | end i64` for each. */
export function encodeDays(days: readonly ClassDay[]): Uint8Array {
  const body = new Uint8Array(days.length * DAY_BYTES);
  const view = new DataView(body.buffer);
  for (const [index, { number, begin, end }] of days.entries()) {
    view.setUint8(index * DAY_BYTES, number);
    view.setBigInt64(index * DAY_BYTES + 1, BigInt(begin), true);
    view.setBigInt64(index * DAY_BYTES + 9, BigInt(end), true);
  }
  return body;
}

/** The present days of the classes of a table of the kernel that have any: 0 and 0 where it was not told yet. */
export function daysOf(table: Uint8Array): ClassDay[] {
  const view = new DataView(table.buffer, table.byteOffset, table.length);
  return Array.from({ length: table.length / CLASS_BYTES }, (_, index) => index * CLASS_BYTES)
    .filter((entry) => view.getUint32(entry, true) & Keep.ROLLOVER)
    .map((entry) => ({
      number: entry / CLASS_BYTES + 1,
      begin: Number(view.getBigInt64(entry + DAY.start, true)),
      end: Number(view.getBigInt64(entry + DAY.start + 8, true)),
    }));
}
