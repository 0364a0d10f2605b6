import {
  BAD_REQUEST,
  CLASS_TABLES,
  H_CLASS_TABLE,
  H_CLASSES,
  H_DAY_END,
  H_SLOTS,
  H_TIME,
  H_TO_CLASSIFY,
  MAX_CLASSES,
  MAX_TIME,
  OK,
  OVERLOADED,
  REGISTER_STRICT,
} from './layout';
import { isUtf8 } from './names';
import { MOST_ONCE } from './once-items';
import { MOST_WINDOW_DAYS } from './unique-windows';

/**
 * The classes: what is kept of the counters whose names match a pattern. The first that matches counts; number 0 is the default, which keeps
 * totals only and has no entry. A table is as CLASSIFY brought it, but for the two minutes:
 *
 *   0           4             6             8         16              24                28          32              36
 *   | u32 keeps | u16 pattern | u16 days of | i64 ttl,| i64 lateness, | u32 threshold   | u32 since | u32 untracked | …
 *   |           | bytes       | uniques     | ms; 0 = | ms; -1 = any  | of exact uniques|           |               |
 *   |           |             |             | none    |               |                 |           |               |
 *   36                     40                              48              56            64          128
 *   | u32 most items that  | i64 for how long an item is   | i64 day begin | i64 day end | pattern …  |
 *   | are counted once     | not counted again, ms         |               |             |            |
 *
 * The day is the present one of a class with ROLLOVER, in milliseconds since 1970. DAYS brings it: 0 until then.
 *
 * `since` is the first minute of which the class knows everything: the one behind the change that brought it, 0 where there were no names
 * then. A class keeps it through a change that leaves it and all classes before it as they were. `untracked` is the last minute of which
 * a counter without a window may have had one: there was no memory for it, or it was dropped; 0 = none.
 *
 * There are two tables, so that a change can go over the names in steps: until it has come to a name, that one's class is in the old table.
 * A class is known by its number, and 128 in the second table; the default is 0 in both.
 */
export const CLASS_BYTES: u32 = 128;
const TABLE_BYTES: u32 = 64 * CLASS_BYTES;
const KEEPS: u32 = 0;
const PATTERN_LENGTH: u32 = 4;
const UNIQUE_DAYS: u32 = 6;
const LIFE: u32 = 8;
const LATENESS: u32 = 16;
const THRESHOLD: u32 = 24;
const SINCE: u32 = 28;
const UNTRACKED: u32 = 32;
/** What is as it was given, behind the two minutes. */
const BEHIND_MINUTES: u32 = 36;
const MOST_ITEMS: u32 = 36;
const WITHIN: u32 = 40;
const DAY_BEGIN: u32 = 48;
const DAY_END: u32 = 56;
const PATTERN: u32 = 64;

/** Bits of `keeps` */
export const WINDOWS: u32 = 1; // minutes of the last hour
export const DAYS: u32 = 2; // and hours of the last day
export const HISTORY: u32 = 4;
export const UNIQUES: u32 = 8;
/** What comes too late is counted in the total alone instead of refused. */
export const LATE_IN_TOTAL: u32 = 16;
/** And seconds of the last minute. */
export const SECONDS: u32 = 32;
/** And what counters were decreased by, beside what they changed by. */
export const GROSS: u32 = 64;
/** Unique items by hour and by day. */
export const UNIQUE_WINDOWS: u32 = 128;
/** For clients: what they may send on is answered from memory. */
const RELAXED: u32 = 256;
/** What changes a counter is answered when it is flushed, whatever was asked for. */
const STRICT: u32 = 512;
/** Items that are counted once. */
export const ONCE: u32 = 1024;
/** A counter begins at 0 with every day. */
export const ROLLOVER: u32 = 2048;
const ALL: u32 = 127 | UNIQUE_WINDOWS | RELAXED | STRICT | ONCE | ROLLOVER;

const STAR: u32 = 0x2a;
const TABLE_SHIFT: u32 = 7;
const NUMBER_MASK: u32 = 127;

function entryOf(known: u32): u32 {
  return CLASS_TABLES + (known >> TABLE_SHIFT) * TABLE_BYTES + (known & NUMBER_MASK) * CLASS_BYTES;
}

/** The number of a class among those that CLASSIFY brought, from 1; 0 for the default. */
export function numberOf(known: u32): u32 {
  return known & NUMBER_MASK;
}

/** What a class keeps: bits. */
export function keepsOf(known: u32): u32 {
  return load<u32>(entryOf(known) + KEEPS);
}

/** Lets the host know of a change to a counter of a strict class. */
export function noteStrict(known: u32): void {
  if (keepsOf(known) & STRICT) store<u32>(REGISTER_STRICT, 1);
}

/** How old the time of an increment may be, in milliseconds; -1 where it may have any age. */
export function latenessOf(known: u32): i64 {
  return load<i64>(entryOf(known) + LATENESS);
}

/** How long after a change a counter that has no time yet expires, in milliseconds; 0 where none does. */
export function lifeOf(known: u32): i64 {
  return load<i64>(entryOf(known) + LIFE);
}

/** Where the present day of a class with ROLLOVER begins, in milliseconds since 1970. */
export function dayBegin(known: u32): i64 {
  return load<i64>(entryOf(known) + DAY_BEGIN);
}

/** Where it ends. */
export function dayEnd(known: u32): i64 {
  return load<i64>(entryOf(known) + DAY_END);
}

/** How many different items are counted exactly. */
export function thresholdOf(known: u32): u32 {
  return load<u32>(entryOf(known) + THRESHOLD);
}

/** For how many days unique items are known by day. */
export function uniqueDaysOf(known: u32): u32 {
  return load<u16>(entryOf(known) + UNIQUE_DAYS);
}

/** How many items that are counted once a counter has at a time. */
export function mostItemsOf(known: u32): u32 {
  return load<u32>(entryOf(known) + MOST_ITEMS);
}

/** For how long an item that was counted is not counted again, in milliseconds. */
export function withinOf(known: u32): i64 {
  return load<i64>(entryOf(known) + WITHIN);
}

/** The first minute of which the history of a counter of the class knows everything. */
export function historySince(known: u32): u32 {
  return load<u32>(entryOf(known) + SINCE);
}

/** The first minute of which a counter of the class without a window is known to have had nothing. */
export function knownSince(known: u32): u32 {
  const entry = entryOf(known);
  const untracked = load<u32>(entry + UNTRACKED);
  return max<u32>(load<u32>(entry + SINCE), untracked ? untracked + 1 : 0);
}

/** A counter of the class may have had something in a minute that no window has. */
export function markUntracked(known: u32, minute: u32): void {
  const place = entryOf(known) + UNTRACKED;
  store<u32>(place, max<u32>(load<u32>(place), minute));
}

/** The class of a name, in the present table. */
export function classOf(name: u32, length: u32): u32 {
  const classes = load<u32>(H_CLASSES);
  const table = load<u32>(H_CLASS_TABLE) << TABLE_SHIFT;
  for (let number: u32 = 1; number <= classes; number++) {
    const entry = entryOf(table | number);
    if (matchesPattern(entry + PATTERN, load<u16>(entry + PATTERN_LENGTH), name, length)) return table | number;
  }
  return 0;
}

/** Whether a name matches a pattern, in which a star stands for any bytes, also none. */
function matchesPattern(pattern: u32, patternLength: u32, name: u32, length: u32): bool {
  const patternEnd = pattern + patternLength;
  const end = name + length;
  let p = pattern;
  let n = name;
  let afterStar: u32 = 0;
  let retry: u32 = 0;
  while (n < end) {
    if (p < patternEnd && <u32>load<u8>(p) === STAR) {
      afterStar = ++p;
      retry = n;
    } else if (p < patternEnd && load<u8>(p) === load<u8>(n)) {
      p++;
      n++;
    } else if (afterStar) {
      p = afterStar;
      n = ++retry;
    } else {
      return false;
    }
  }
  while (p < patternEnd && <u32>load<u8>(p) === STAR) p++;
  return p === patternEnd;
}

/** Whether two classes are one through a change: the same number, definition and time from which they know everything. */
export function isSameClass(one: u32, other: u32): bool {
  if ((one & NUMBER_MASK) !== (other & NUMBER_MASK)) return false;
  return one === other || hasSameEntry(entryOf(one), entryOf(other), load<u32>(entryOf(one) + SINCE));
}

/** Whether an entry is that of another table, whose `since` is given. */
function hasSameEntry(entry: u32, old: u32, since: u32): bool {
  if (load<u32>(entry + SINCE) !== since) return false;
  const isSame =
    memory.compare(entry, old, SINCE) === 0 &&
    memory.compare(entry + BEHIND_MINUTES, old + BEHIND_MINUTES, DAY_BEGIN - BEHIND_MINUTES) === 0 &&
    memory.compare(entry + PATTERN, old + PATTERN, CLASS_BYTES - PATTERN) === 0;
  return isSame && load<u32>(old + SINCE) === since;
}

/** OK or the status that refuses the body of a CLASSIFY: whole entries, each of them usable, and no other change under way. */
export function checkClasses(start: u32, end: u32): u32 {
  const bytes = end - start;
  if (bytes % CLASS_BYTES || bytes > MAX_CLASSES * CLASS_BYTES) return BAD_REQUEST;
  for (let entry = start; entry < end; entry += CLASS_BYTES) {
    const length = <u32>load<u16>(entry + PATTERN_LENGTH);
    if (length < 1 || length > CLASS_BYTES - PATTERN) return BAD_REQUEST;
    const pattern = entry + PATTERN;
    if (!isUtf8(pattern, pattern + length) || !isZero(pattern + length, entry + CLASS_BYTES)) return BAD_REQUEST;
    if (!isZero(entry + SINCE, entry + BEHIND_MINUTES) || !isZero(entry + DAY_BEGIN, pattern)) return BAD_REQUEST;
    if (!isPossible(entry)) return BAD_REQUEST;
  }
  return load<u32>(H_TO_CLASSIFY) ? OVERLOADED : OK;
}

function isPossible(entry: u32): bool {
  const keeps = load<u32>(entry + KEEPS);
  if (keeps & ~ALL) return false;
  if (keeps & (DAYS | HISTORY | SECONDS | GROSS) && !(keeps & WINDOWS)) return false;
  const days = <u32>load<u16>(entry + UNIQUE_DAYS);
  if (keeps & UNIQUE_WINDOWS ? !(keeps & UNIQUES) || days < 1 || days > MOST_WINDOW_DAYS : days !== 0) return false;
  if (!(keeps & ONCE)) {
    if (!isZero(entry + MOST_ITEMS, entry + DAY_BEGIN)) return false;
  } else {
    const most = load<u32>(entry + MOST_ITEMS);
    const within = load<i64>(entry + WITHIN);
    if (most < 1 || most > MOST_ONCE || within < 1 || within > MAX_TIME) return false;
  }
  const life = load<i64>(entry + LIFE);
  if (life && keeps & ROLLOVER) return false;
  return life >= 0 && life <= MAX_TIME && load<i64>(entry + LATENESS) >= -1;
}

function isZero(start: u32, end: u32): bool {
  for (let p = start; p < end; p++) if (load<u8>(p)) return false;
  return true;
}

/** Puts the classes of a checked CLASSIFY in force for names to come. Those that are there are still to be classified anew. */
export function setClasses(start: u32, end: u32): void {
  const count = (end - start) / CLASS_BYTES;
  const classes = load<u32>(H_CLASSES);
  const old = load<u32>(H_CLASS_TABLE) << TABLE_SHIFT;
  const table = old ^ (1 << TABLE_SHIFT);
  const slots = load<u32>(H_SLOTS);
  const now = slots ? <u32>(load<i64>(H_TIME) / 60000) + 1 : 0;
  memory.fill(entryOf(table), 0, TABLE_BYTES);
  let isSame = true;
  for (let number: u32 = 1; number <= count; number++) {
    const entry = entryOf(table | number);
    const before = entryOf(old | number);
    memory.copy(entry, start + (number - 1) * CLASS_BYTES, CLASS_BYTES);
    store<u32>(entry + SINCE, load<u32>(before + SINCE));
    isSame = isSame && number <= classes && hasSameEntry(entry, before, load<u32>(before + SINCE));
    if (isSame) {
      store<u32>(entry + UNTRACKED, load<u32>(before + UNTRACKED));
      store<i64>(entry + DAY_BEGIN, load<i64>(before + DAY_BEGIN));
      store<i64>(entry + DAY_END, load<i64>(before + DAY_END));
    } else {
      store<u32>(entry + SINCE, now);
    }
  }
  store<u32>(H_CLASSES, count);
  store<u32>(H_CLASS_TABLE, table >> TABLE_SHIFT);
  store<u32>(H_TO_CLASSIFY, slots);
  findDayEnd();
}

/** Bytes of what DAYS says of a class: `u8 number | i64 begin | i64 end`. */
const DAY_BYTES: u32 = 17;

/** OK or the status that refuses the body of a DAYS: the present days of classes that have any. */
export function checkDays(start: u32, end: u32): u32 {
  if ((end - start) % DAY_BYTES) return BAD_REQUEST;
  const table = load<u32>(H_CLASS_TABLE) << TABLE_SHIFT;
  for (let p = start; p < end; p += DAY_BYTES) {
    const number = <u32>load<u8>(p);
    if (!number || number > load<u32>(H_CLASSES) || !(keepsOf(table | number) & ROLLOVER)) return BAD_REQUEST;
    const begin = load<i64>(p + 1);
    if (begin < 0 || load<i64>(p + 9) <= begin || load<i64>(p + 9) > MAX_TIME) return BAD_REQUEST;
  }
  return OK;
}

/** Sets the days of a checked DAYS. */
export function setDays(start: u32, end: u32): void {
  const table = load<u32>(H_CLASS_TABLE) << TABLE_SHIFT;
  for (let p = start; p < end; p += DAY_BYTES) {
    const entry = entryOf(table | <u32>load<u8>(p));
    store<i64>(entry + DAY_BEGIN, load<i64>(p + 1));
    store<i64>(entry + DAY_END, load<i64>(p + 9));
  }
  findDayEnd();
}

/** Whether the present day of a class is over, or not known. */
export function isDayOver(milliseconds: i64): bool {
  const end = load<i64>(H_DAY_END);
  return end !== 0 && end <= milliseconds;
}

/** Whether the present days of all classes that have any are known. */
export function areDaysKnown(): bool {
  return load<i64>(H_DAY_END) !== 1;
}

function findDayEnd(): void {
  const classes = load<u32>(H_CLASSES);
  const table = load<u32>(H_CLASS_TABLE) << TABLE_SHIFT;
  let first: i64 = 0;
  for (let number: u32 = 1; number <= classes; number++) {
    if (!(keepsOf(table | number) & ROLLOVER)) continue;
    const end = max<i64>(dayEnd(table | number), 1);
    first = first ? min<i64>(first, end) : end;
  }
  store<i64>(H_DAY_END, first);
}
