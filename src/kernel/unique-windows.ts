import { giveSized, hasSizedRoom, sizedBytes, takeSized } from './blocks';
import { knownSince, markUntracked, thresholdOf, uniqueDaysOf } from './classes';
import { minuteOf, nowMinute } from './event-time';
import { H_TIME } from './layout';
import { classOfTrack, countWindowBytes, hasWindowRoom } from './tracks';
import { bytesOfSet, dropUniques, growthOfSet, NO_MEMORY, seeItem } from './uniques';

/**
 * What a counter has seen in the last hours and days: a set (uniques.ts) for each hour of the last day, and for each day of UTC of as many as its class
 * keeps, exact up to the class's threshold. They are numbered from 1970, and listed in a block of the counter's sets (sets.ts):
 *
 *   0                 4                8           12          16
 *   | u32 first hour, | u32 first day, | u32 bytes | u32 count | bucket …
 *
 *   bucket   0              4                12
 *            | u32 number,  | the set        |      of a day, the number has DAY
 *
 * From the first hour, and the first day, on nothing is missing: buckets before it were dropped, or an item was lost, for want of memory, or of room among
 * all windows (`windowMemory`). A new bucket comes last.
 */
const FIRST_HOUR: u32 = 0;
const FIRST_DAY: u32 = 4;
const ROOM: u32 = 8;
const COUNT: u32 = 12;
const HEAD_BYTES: u32 = 16;
const BUCKET_BYTES: u32 = 12;
const SET: u32 = 4;
const DAY: u32 = 1 << 31;

const MINUTES_OF_HOUR: u32 = 60;
const MINUTES_OF_DAY: u32 = 1440;
/** Hours that are kept, and the most days. */
export const WINDOW_HOURS: u32 = 24;
export const MOST_WINDOW_DAYS: u32 = 90;

function bucketAt(block: u32, index: u32): u32 {
  return block + HEAD_BYTES + index * BUCKET_BYTES;
}

/** The bucket with a number; 0 where there is none. The newest come last. */
function find(block: u32, number: u32): u32 {
  for (let bucket = bucketAt(block, load<u32>(block + COUNT)); bucket > block + HEAD_BYTES; ) {
    bucket -= BUCKET_BYTES;
    if (load<u32>(bucket) === number) return bucket;
  }
  return 0;
}

/** An item was seen now: it goes to this hour and this day of what hangs on `word`, or they are not known. */
export function seeInWindows(word: u32, track: u32, hash: u64): void {
  const minute = nowMinute();
  const known = classOfTrack(track);
  if (!load<u32>(word) && !open(word, known)) {
    markUntracked(known, minute);
    return;
  }
  const hour = minute / MINUTES_OF_HOUR;
  const day = minute / MINUTES_OF_DAY;
  if (!seeInBucket(word, track, hour, hash)) raise(load<u32>(word) + FIRST_HOUR, hour + 1);
  if (!seeInBucket(word, track, DAY | day, hash)) raise(load<u32>(word) + FIRST_DAY, day + 1);
}

function raise(place: u32, first: u32): void {
  store<u32>(place, max<u32>(load<u32>(place), first));
}

function open(word: u32, known: u32): bool {
  const bytes = sizedBytes(HEAD_BYTES + 2 * BUCKET_BYTES);
  if (!hasWindowRoom(bytes) || !hasSizedRoom(bytes)) return false;
  const block = takeSized(bytes);
  countWindowBytes(bytes);
  const since = knownSince(known);
  store<u32>(block + FIRST_HOUR, (since + MINUTES_OF_HOUR - 1) / MINUTES_OF_HOUR);
  store<u32>(block + FIRST_DAY, (since + MINUTES_OF_DAY - 1) / MINUTES_OF_DAY);
  store<u32>(block + ROOM, bytes);
  store<u32>(word, block);
  return true;
}

/** Whether there was room for the item in a bucket. */
function seeInBucket(word: u32, track: u32, number: u32, hash: u64): bool {
  let bucket = find(load<u32>(word), number);
  if (!bucket) bucket = addBucket(word, track, number);
  if (!bucket) return false;
  const set = bucket + SET;
  if (!hasWindowRoom(growthOfSet(set))) return false;
  const before = bytesOfSet(set);
  const outcome = seeItem(set, hash, thresholdOf(classOfTrack(track)));
  countWindowBytes(<i64>bytesOfSet(set) - <i64>before);
  return !(outcome & NO_MEMORY);
}

/** Adds an empty bucket, behind those that are not too old; 0 without memory. */
function addBucket(word: u32, track: u32, number: u32): u32 {
  dropOld(load<u32>(word), track);
  const block = load<u32>(word);
  const count = load<u32>(block + COUNT);
  const used = HEAD_BYTES + count * BUCKET_BYTES;
  const room = load<u32>(block + ROOM);
  let fresh = block;
  if (used + BUCKET_BYTES > room) {
    const bytes = sizedBytes(used + 2 * BUCKET_BYTES);
    if (bytes > 12288 || !hasWindowRoom(bytes - room) || !hasSizedRoom(bytes)) return 0;
    fresh = takeSized(bytes);
    memory.copy(fresh, block, used);
    giveSized(block, room);
    countWindowBytes(bytes - room);
    store<u32>(fresh + ROOM, bytes);
    store<u32>(word, fresh);
  }
  store<u32>(fresh + COUNT, count + 1);
  store<u32>(fresh + used, number);
  return fresh + used;
}

/** Drops the buckets that no window asks for any more: how many. */
function dropOld(block: u32, track: u32): u32 {
  const minute = minuteOf(load<i64>(H_TIME));
  const hour = minute / MINUTES_OF_HOUR;
  const day = minute / MINUTES_OF_DAY;
  const days = uniqueDaysOf(classOfTrack(track));
  const count = load<u32>(block + COUNT);
  let kept: u32 = 0;
  for (let index: u32 = 0; index < count; index++) {
    const bucket = bucketAt(block, index);
    const number = load<u32>(bucket);
    const isDay = (number & DAY) !== 0;
    const isOld = isDay ? (number & ~DAY) + days <= day : number + WINDOW_HOURS <= hour;
    if (isOld) {
      dropBucket(bucket);
      if (isDay) raise(block + FIRST_DAY, (number & ~DAY) + 1);
      else raise(block + FIRST_HOUR, number + 1);
      continue;
    }
    if (kept !== index) memory.copy(bucketAt(block, kept), bucket, BUCKET_BYTES);
    kept++;
  }
  memory.fill(bucketAt(block, kept), 0, (count - kept) * BUCKET_BYTES);
  store<u32>(block + COUNT, kept);
  return count - kept;
}

function dropBucket(bucket: u32): void {
  countWindowBytes(-(<i64>bytesOfSet(bucket + SET)));
  dropUniques(bucket + SET);
}

/** Lets time go over what hangs on `word`: how many buckets it dropped. With the last one all of it goes, and what is not known of it is of the class then. */
export function sweepWindows(word: u32, track: u32): u32 {
  const block = load<u32>(word);
  if (!block) return 0;
  const dropped = dropOld(block, track);
  if (load<u32>(block + COUNT)) return dropped;
  const first = max<u32>(
    load<u32>(block + FIRST_HOUR) * MINUTES_OF_HOUR,
    load<u32>(block + FIRST_DAY) * MINUTES_OF_DAY,
  );
  const known = classOfTrack(track);
  if (first > knownSince(known)) markUntracked(known, first - 1);
  dropWindows(word);
  return dropped;
}

/** Gives all memory back of what hangs on `word`. */
export function dropWindows(word: u32): void {
  const block = load<u32>(word);
  if (!block) return;
  for (let index: u32 = 0, count = load<u32>(block + COUNT); index < count; index++) dropBucket(bucketAt(block, index));
  countWindowBytes(-(<i64>load<u32>(block + ROOM)));
  giveSized(block, load<u32>(block + ROOM));
  store<u64>(word, 0);
}

/** Whether a window of so many hours, or days, that ends with the one of a minute is known; `word` is 0 where a counter of the class has none. */
export function knowsWindow(word: u32, known: u32, isDays: bool, length: u32, minute: u32): bool {
  if (length < 1 || length > (isDays ? uniqueDaysOf(known) : WINDOW_HOURS)) return false;
  const unit = isDays ? MINUTES_OF_DAY : MINUTES_OF_HOUR;
  const last = minute / unit;
  const first = last + 1 - min<u32>(length, last + 1);
  const block = word ? load<u32>(word) : 0;
  if (!block) return first * unit >= knownSince(known);
  return first >= load<u32>(block + (isDays ? FIRST_DAY : FIRST_HOUR));
}

/** Lists the sets of such a window from `to` on, their addresses: where they end. */
export function listWindow(word: u32, isDays: bool, length: u32, minute: u32, to: u32): u32 {
  const block = load<u32>(word);
  if (!block) return to;
  const last = minute / (isDays ? MINUTES_OF_DAY : MINUTES_OF_HOUR);
  const first = last + 1 - min<u32>(length, last + 1);
  let p = to;
  for (let index: u32 = 0, count = load<u32>(block + COUNT); index < count; index++) {
    const number = load<u32>(bucketAt(block, index));
    if (((number & DAY) !== 0) !== isDays || (number & ~DAY) < first || (number & ~DAY) > last) continue;
    store<u32>(p, bucketAt(block, index) + SET);
    p += 4;
  }
  return p;
}

/** A bucket by its index among those that hang on `word`; 0 behind the last. */
export function windowAt(word: u32, index: u32): u32 {
  const block = load<u32>(word);
  return block && index < load<u32>(block + COUNT) ? bucketAt(block, index) : 0;
}

export function numberOfWindow(bucket: u32): u32 {
  return load<u32>(bucket);
}

export function setOfWindow(bucket: u32): u32 {
  return bucket + SET;
}

export function firstHourOf(word: u32): u32 {
  return load<u32>(load<u32>(word) + FIRST_HOUR);
}

export function firstDayOf(word: u32): u32 {
  return load<u32>(load<u32>(word) + FIRST_DAY);
}

/** The set of the bucket with a number, which comes from elsewhere, where everything is known from these on; 0 without memory. */
export function bringWindow(word: u32, track: u32, number: u32, firstHour: u32, firstDay: u32): u32 {
  const isFresh = !load<u32>(word);
  if (isFresh && !open(word, classOfTrack(track))) return 0;
  if (isFresh) {
    store<u32>(load<u32>(word) + FIRST_HOUR, firstHour);
    store<u32>(load<u32>(word) + FIRST_DAY, firstDay);
  }
  const known = find(load<u32>(word), number);
  const bucket = known ? known : addBucket(word, track, number);
  return bucket ? bucket + SET : 0;
}
