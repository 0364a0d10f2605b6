import { classOfRecord, KEY_LENGTH, RECORD_BYTES, SLOT } from './batch';
import { overflows, slotAddress, trackAt } from './cells';
import { DAYS, GROSS, keepsOf, knownSince, SECONDS, WINDOWS } from './classes';
import {
  ANSWER,
  BAD_REQUEST,
  ID_UNKNOWN,
  MAX_TIME,
  NOT_TRACKED,
  OK,
  OVERFLOW,
  REGISTER_NEXT,
  SCRATCH,
  TOO_MANY_OPERATIONS,
} from './layout';
import { hourSum, hoursSince, minuteSum, minutesSince } from './rings';
import { secondSum, secondsSince } from './seconds';
import { decreasesOf, formOf, SPARSE } from './tracks';
import { readVarint64, writeVarint, writeZigzag } from './varint';

/**
 * WINDOW: what the last so many milliseconds have changed counters by, as far as their windows know. It is told in whole buckets: seconds up to a
 * minute where the class keeps them, else minutes up to an hour, and hours up to a day.
 *
 *                  from                                now
 *   sliding:        | oldest |  …  buckets of the sum  |     the window begins within the oldest, whose sum is told apart
 *   aligned:        |  …  buckets of the sum           |     it begins with a bucket, and the sum is exact
 */
/** Bits of the mode. */
const ALIGNED: u32 = 1;
const WITH_DECREASES: u32 = 2;
const SECOND: i64 = 1000;
const MINUTE: i64 = 60000;
const HOUR: i64 = 3600000;
const DAY: i64 = 86400000;

/** How a bucket is told: protocol.md. */
const IN_SECONDS: u32 = 0;
const IN_MINUTES: u32 = 1;
const IN_HOURS: u32 = 2;
const HAS_DECREASES: u32 = 4;
/** With decreases an answer may be as long for each as fits so many times. */
const MOST_WITH_DECREASES: u32 = 5000;

// The window at hand, in the registers behind those of a SET
const NOW: u32 = 112; // i64
const LENGTH: u32 = 120; // i64: milliseconds
const MODE: u32 = 128; // u32
const SUM: u32 = 232; // i64
const OLDEST_SUM: u32 = 240; // i64

/** Reads `mode | milliseconds` from the start of a body: OK or BAD_REQUEST. Where it goes on is in REGISTER_NEXT. */
export function beginWindow(start: u32, end: u32, time: i64): u32 {
  const mode = <u32>load<u8>(start);
  const length = readVarint64(start + 1);
  const p = load<u32>(REGISTER_NEXT);
  if (!p || p > end || mode > (ALIGNED | WITH_DECREASES) || length < 1 || length > <u64>MAX_TIME) return BAD_REQUEST;
  store<i64>(NOW, min<i64>(max<i64>(time, 0), MAX_TIME));
  store<i64>(LENGTH, <i64>length);
  store<u32>(MODE, mode);
  return OK;
}

/** OK, or why so many keys are not answered. */
export function checkWindowKeys(count: u32): u32 {
  return load<u32>(MODE) & WITH_DECREASES && count > MOST_WITH_DECREASES ? TOO_MANY_OPERATIONS : OK;
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
  const hung = slot ? trackAt(slotAddress(slot - 1)) : 0;
  const track = hung && formOf(hung) >= SPARSE ? hung : 0;
  const decreases = track ? decreasesOf(track) : 0;
  const withDecreases = (load<u32>(MODE) & WITH_DECREASES) !== 0;
  const bucket = bucketOf(keepsOf(known));
  if (!isKnown(known, track, withDecreases ? decreases : 0, bucket)) {
    store<u8>(p, <u8>NOT_TRACKED);
    return p + 1;
  }
  const unit = bucket === SECOND ? IN_SECONDS : bucket === MINUTE ? IN_MINUTES : IN_HOURS;
  store<u8>(p, <u8>OK);
  store<u8>(p + 1, <u8>(unit | (withDecreases ? HAS_DECREASES : 0)));
  let next = sumUp(track, bucket) ? writeSums(p + 2) : 0;
  if (next && withDecreases) next = sumUp(decreases, bucket) ? writeSums(next) : 0;
  if (next) return next;
  store<u8>(p, <u8>OVERFLOW);
  return p + 1;
}

function writeSums(p: u32): u32 {
  return writeZigzag(writeZigzag(p, load<i64>(SUM)), load<i64>(OLDEST_SUM));
}

/** The buckets in which a class that keeps this has the window at hand; 0 where it has no such window. */
function bucketOf(keeps: u32): i64 {
  const length = load<i64>(LENGTH);
  if (!(keeps & WINDOWS) || (load<u32>(MODE) & WITH_DECREASES && !(keeps & GROSS))) return 0;
  if (length <= MINUTE && keeps & SECONDS) return SECOND;
  if (length <= HOUR) return MINUTE;
  return length <= DAY && keeps & DAYS ? HOUR : 0;
}

/** The number of the oldest bucket of the window at hand. */
function firstBucket(bucket: i64): i64 {
  const now = load<i64>(NOW);
  const length = load<i64>(LENGTH);
  const first =
    load<u32>(MODE) & ALIGNED ? now / bucket + 1 - (length + bucket - 1) / bucket : max<i64>(now - length, 0) / bucket;
  return max<i64>(first, 0);
}

/** Whether all of the window at hand is known, of a track and of its decreases, of which either may be 0. */
function isKnown(known: u32, track: u32, decreases: u32, bucket: i64): bool {
  if (!bucket) return false;
  const first = firstBucket(bucket);
  if (!track) return first * bucket >= <i64>knownSince(known) * MINUTE;
  return first >= sinceOf(track, bucket) && (!decreases || first >= sinceOf(decreases, bucket));
}

/** Sums the window at hand up, which is known: whether that has 64 bits. The oldest bucket's is beside it. A track that is 0 had nothing. */
function sumUp(track: u32, bucket: i64): bool {
  store<i64>(SUM, 0);
  store<i64>(OLDEST_SUM, 0);
  if (!track) return true;
  const last = load<i64>(NOW) / bucket;
  let next = firstBucket(bucket);
  if (!(load<u32>(MODE) & ALIGNED)) store<i64>(OLDEST_SUM, sumOf(track, bucket, next++));
  let sum: i64 = 0;
  for (; next <= last; next++) {
    const part = sumOf(track, bucket, next);
    if (overflows(sum, part)) return false;
    sum += part;
  }
  store<i64>(SUM, sum);
  return true;
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
