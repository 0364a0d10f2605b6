import { classOfRecord, KEY_LENGTH, RECORD_BYTES, SLOT } from './batch';
import { overflows, slotAddress, trackAt } from './cells';
import { DAYS, keepsOf, knownSince, WINDOWS } from './classes';
import { ANSWER, BAD_REQUEST, ID_UNKNOWN, MAX_TIME, NOT_TRACKED, OK, OVERFLOW, REGISTER_NEXT, SCRATCH } from './layout';
import { hourSum, hoursSince, MINUTES_OF_HOUR, minuteSum, minutesSince } from './rings';
import { formOf, SPARSE } from './tracks';
import { readVarint64, writeVarint, writeZigzag } from './varint';

/**
 * WINDOW: what the last so many milliseconds have changed counters by, as far as their windows know. It is told in whole buckets, minutes up to
 * an hour and hours up to a day:
 *
 *                  from                                now
 *   sliding:        | oldest |  …  buckets of the sum  |     the window begins within the oldest, whose sum is told apart
 *   aligned:        |  …  buckets of the sum           |     it begins with a bucket, and the sum is exact
 */
const SLIDING: u32 = 0;
const ALIGNED: u32 = 1;
const MINUTE: i64 = 60000;
const HOUR: i64 = 3600000;
const DAY: i64 = 86400000;

// The window at hand, in the registers behind those of a SET
const FIRST: u32 = 112; // u32: number of its oldest bucket
const LAST: u32 = 116; // u32: of the one that is now
const BUCKET: u32 = 120; // i64: milliseconds of a bucket
const MODE: u32 = 128; // u32
const OLDEST_SUM: u32 = 136; // i64

/** Reads `mode | milliseconds` from the start of a body: OK or BAD_REQUEST. Where it goes on is in REGISTER_NEXT. */
export function beginWindow(start: u32, end: u32, time: i64): u32 {
  const mode = <u32>load<u8>(start);
  const duration = readVarint64(start + 1);
  const p = load<u32>(REGISTER_NEXT);
  if (!p || p > end || mode > ALIGNED || duration < 1 || duration > <u64>MAX_TIME) return BAD_REQUEST;
  const now = min<i64>(max<i64>(time, 0), MAX_TIME);
  const bucket = <i64>duration <= HOUR ? MINUTE : <i64>duration <= DAY ? HOUR : 0;
  store<i64>(BUCKET, bucket);
  store<u32>(MODE, mode);
  if (!bucket) return OK;
  const last = <u32>(now / bucket);
  const first =
    mode === SLIDING
      ? max<i64>(now - <i64>duration, 0) / bucket
      : <i64>last + 1 - (<i64>duration + bucket - 1) / bucket;
  store<u32>(LAST, last);
  store<u32>(FIRST, <u32>max<i64>(first, 0));
  return OK;
}

/** Answers the decoded keys of a WINDOW; the length of the answer. */
export function answerWindow(count: u32, time: i64): u32 {
  const bucket = load<i64>(BUCKET);
  let p = writeVarint(ANSWER, <u64>max<i64>(time, 0));
  p = writeVarint(p, <u64>(bucket * <i64>load<u32>(FIRST)));
  p = writeVarint(p, <u64>bucket);
  p = writeVarint(p, count);
  const end = SCRATCH + count * RECORD_BYTES;
  for (let record = SCRATCH; record < end; record += RECORD_BYTES) p = answerKey(p, record);
  return p - ANSWER;
}

function answerKey(p: u32, record: u32): u32 {
  const slot = load<u32>(record + SLOT);
  if (!slot && !load<u32>(record + KEY_LENGTH)) {
    store<u8>(p, <u8>ID_UNKNOWN);
    return p + 1;
  }
  const cell = slot ? slotAddress(slot - 1) : 0;
  const known = classOfRecord(record, slot);
  const track = slot ? trackAt(cell) : 0;
  const status = sumUp(known, track && formOf(track) >= SPARSE ? track : 0, record);
  store<u8>(p++, <u8>status);
  if (status) return p;
  return writeZigzag(writeZigzag(p, load<i64>(record)), load<i64>(OLDEST_SUM));
}

/** Sums the window at hand up: OK, with the sum in the record and the oldest bucket's beside it; NOT_TRACKED or OVERFLOW. */
function sumUp(known: u32, track: u32, record: u32): u32 {
  const keeps = keepsOf(known);
  const isHours = load<i64>(BUCKET) === HOUR;
  if (!load<i64>(BUCKET) || !(keeps & (isHours ? DAYS : WINDOWS))) return NOT_TRACKED;
  const first = load<u32>(FIRST);
  const last = load<u32>(LAST);
  const firstMinute = isHours ? first * MINUTES_OF_HOUR : first;
  store<i64>(OLDEST_SUM, 0);
  store<i64>(record, 0);
  if (!track) return firstMinute < knownSince(known) ? NOT_TRACKED : OK;
  const since = isHours ? hoursSince(track) : minutesSince(track);
  if (first < since) return NOT_TRACKED;
  let bucket = first;
  if (load<u32>(MODE) === SLIDING) {
    store<i64>(OLDEST_SUM, isHours ? hourSum(track, bucket) : minuteSum(track, bucket));
    bucket++;
  }
  let sum: i64 = 0;
  for (; bucket <= last; bucket++) {
    const part = isHours ? hourSum(track, bucket) : minuteSum(track, bucket);
    if (overflows(sum, part)) return OVERFLOW;
    sum += part;
  }
  store<i64>(record, sum);
  return OK;
}
