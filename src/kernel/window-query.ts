import { classOfRecord, KEY_LENGTH, RECORD_BYTES, SLOT } from './batch';
import { overflows, slotAddress, trackAt } from './cells';
import { DAYS, keepsOf, knownSince, SECONDS, WINDOWS } from './classes';
import { ANSWER, BAD_REQUEST, ID_UNKNOWN, MAX_TIME, NOT_TRACKED, OK, OVERFLOW, REGISTER_NEXT, SCRATCH } from './layout';
import { hourSum, hoursSince, minuteSum, minutesSince } from './rings';
import { secondSum, secondsSince } from './seconds';
import { formOf, SPARSE } from './tracks';
import { readVarint64, writeVarint, writeZigzag } from './varint';

/**
 * WINDOW: what the last so many milliseconds have changed counters by, as far as their windows know. It is told in whole buckets: seconds up to a
 * minute where the class keeps them, else minutes up to an hour, and hours up to a day.
 *
 *                  from                                now
 *   sliding:        | oldest |  …  buckets of the sum  |     the window begins within the oldest, whose sum is told apart
 *   aligned:        |  …  buckets of the sum           |     it begins with a bucket, and the sum is exact
 */
const SLIDING: u32 = 0;
const ALIGNED: u32 = 1;
const SECOND: i64 = 1000;
const MINUTE: i64 = 60000;
const HOUR: i64 = 3600000;
const DAY: i64 = 86400000;

/** How a bucket is told: protocol.md. */
const IN_SECONDS: u32 = 0;
const IN_MINUTES: u32 = 1;
const IN_HOURS: u32 = 2;

// The window at hand, in the registers behind those of a SET
const NOW: u32 = 112; // i64
const LENGTH: u32 = 120; // i64: milliseconds
const MODE: u32 = 128; // u32
const OLDEST_SUM: u32 = 136; // i64

/** Reads `mode | milliseconds` from the start of a body: OK or BAD_REQUEST. Where it goes on is in REGISTER_NEXT. */
export function beginWindow(start: u32, end: u32, time: i64): u32 {
  const mode = <u32>load<u8>(start);
  const length = readVarint64(start + 1);
  const p = load<u32>(REGISTER_NEXT);
  if (!p || p > end || mode > ALIGNED || length < 1 || length > <u64>MAX_TIME) return BAD_REQUEST;
  store<i64>(NOW, min<i64>(max<i64>(time, 0), MAX_TIME));
  store<i64>(LENGTH, <i64>length);
  store<u32>(MODE, mode);
  return OK;
}

/** Answers the decoded keys of a WINDOW; the length of the answer. */
export function answerWindow(count: u32): u32 {
  let p = writeVarint(ANSWER, <u64>load<i64>(NOW));
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
  const known = classOfRecord(record, slot);
  const track = slot ? trackAt(slotAddress(slot - 1)) : 0;
  const bucket = bucketOf(keepsOf(known));
  const status = bucket ? sumUp(known, track && formOf(track) >= SPARSE ? track : 0, bucket, record) : NOT_TRACKED;
  store<u8>(p++, <u8>status);
  if (status) return p;
  store<u8>(p++, <u8>(bucket === SECOND ? IN_SECONDS : bucket === MINUTE ? IN_MINUTES : IN_HOURS));
  return writeZigzag(writeZigzag(p, load<i64>(record)), load<i64>(OLDEST_SUM));
}

/** The buckets in which a class that keeps this has the window at hand; 0 where it has no such window. */
function bucketOf(keeps: u32): i64 {
  const length = load<i64>(LENGTH);
  if (!(keeps & WINDOWS)) return 0;
  if (length <= MINUTE && keeps & SECONDS) return SECOND;
  if (length <= HOUR) return MINUTE;
  return length <= DAY && keeps & DAYS ? HOUR : 0;
}

/** Sums the window at hand up: OK, with the sum in the record and the oldest bucket's beside it; NOT_TRACKED or OVERFLOW. */
function sumUp(known: u32, track: u32, bucket: i64, record: u32): u32 {
  const isSliding = load<u32>(MODE) === SLIDING;
  const now = load<i64>(NOW);
  const length = load<i64>(LENGTH);
  const last = now / bucket;
  const first = isSliding ? max<i64>(now - length, 0) / bucket : max<i64>(last + 1 - (length + bucket - 1) / bucket, 0);
  store<i64>(OLDEST_SUM, 0);
  store<i64>(record, 0);
  if (!track) return first * bucket < <i64>knownSince(known) * MINUTE ? NOT_TRACKED : OK;
  if (first < sinceOf(track, bucket)) return NOT_TRACKED;
  let next = first;
  if (isSliding) store<i64>(OLDEST_SUM, sumOf(track, bucket, next++));
  let sum: i64 = 0;
  for (; next <= last; next++) {
    const part = sumOf(track, bucket, next);
    if (overflows(sum, part)) return OVERFLOW;
    sum += part;
  }
  store<i64>(record, sum);
  return OK;
}

/** The first bucket from which on all are known. */
function sinceOf(track: u32, bucket: i64): i64 {
  if (bucket === SECOND) return secondsSince(track);
  return bucket === MINUTE ? minutesSince(track) : hoursSince(track);
}

function sumOf(track: u32, bucket: i64, number: i64): i64 {
  if (bucket === SECOND) return secondSum(track, number);
  return bucket === MINUTE ? minuteSum(track, <u32>number) : hourSum(track, <u32>number);
}
