import { sipHash } from './hash';
import { bucketOf, insert, itemAt, matches, overflowOf, remove } from './index';
import {
  H_CLOCK,
  H_EXPIRY_HAND,
  H_FREE_CURSOR,
  H_FREE_PRODUCER,
  H_INCARNATION,
  H_LIVE_PRODUCERS,
  H_MAXIMUM_PRODUCERS,
  H_PRODUCER_ENTRIES,
  H_PRODUCER_IDLE,
  MAX_CURSOR,
  OK,
  PRODUCER_DIRECTORY,
  PRODUCER_FENCED,
  PRODUCER_INDEX,
  PRODUCER_UNKNOWN,
} from './layout';
import { allocatePages, giveBlock, hasPage, hasRoom, takeBlock } from './memory';
import { dropWindow } from './windows';

/**
 * The producers: 64 bytes each, 1,024 in a segment of one page.
 *
 *   0     16            24              32              36           40           44          46        48            52       64
 *   | id  | u64 next    | i64 last used | u32           | u32        | u32        | u16 flags | u16 0   | u32 first   | 12 B 0 |
 *   |     | sequence    | clock, ms     | incarnation   | window     | cursor     |           |         | incarnation |        |
 *
 * Incarnations are numbered through the whole partition, so that a slot that serves another producer later never meets an old
 * one: a session older than the slot's first incarnation is one of a producer that is gone. `window` holds the kept answers (windows.ts) and is 0 while idle; `cursor` is a block of a length byte and up to 64 bytes.
 * Offset 40 links the free slots.
 */
const ENTRY_BYTES: u32 = 64;
const SEGMENT_SHIFT: u32 = 10;
const SEGMENT_MASK: u32 = 1023;
const ID_BYTES: u32 = 16;
const NEXT_SEQUENCE: u32 = 16;
const LAST_USED: u32 = 24;
const INCARNATION: u32 = 32;
const WINDOW_ADDRESS: u32 = 36;
const CURSOR: u32 = 40;
const FLAGS: u32 = 44;
const FIRST_INCARNATION: u32 = 48;
const TAKEN: u16 = 1;
const NAMED: u16 = 2;

const CURSOR_BLOCK: u32 = 4 + MAX_CURSOR + 4;

/**
 * A tick looks at so many producers for expiry, going round, which takes a quarter of an hour of ticks for 65,536; it stops early
 * where it has given so many bytes of windows back, since they have to be zeroed.
 */
const EXPIRE_STEP: u32 = 4096;
const EXPIRE_BYTES: u32 = 16777216;
/** Answers are kept for a producer that has been idle for so long; a retry later is told ALREADY_APPLIED. */
const KEEP_ANSWERS: i64 = 3600000;

export function producerAddress(producer: u32): u32 {
  return load<u32>(PRODUCER_DIRECTORY + ((producer >> SEGMENT_SHIFT) << 2)) + (producer & SEGMENT_MASK) * ENTRY_BYTES;
}

export function producerHash(producer: u32): u64 {
  return sipHash(producerAddress(producer), ID_BYTES);
}

/** The producer with an id plus one, or 0. */
export function findProducer(id: u32): u32 {
  const hash = sipHash(id, ID_BYTES);
  for (let bucket = bucketOf(PRODUCER_INDEX, hash); bucket; bucket = overflowOf(bucket)) {
    for (let bits = matches(bucket, hash); bits; bits &= bits - 1) {
      const item = itemAt(bucket, ctz<u32>(bits));
      if (!item) continue;
      const entry = producerAddress(item - 1);
      if (load<u64>(entry) === load<u64>(id) && load<u64>(entry, 8) === load<u64>(id, 8)) return item;
    }
  }
  return 0;
}

/** Whether a new producer can be taken. */
export function hasProducerRoom(): bool {
  return (
    hasRoom() && (load<u32>(H_FREE_PRODUCER) !== 0 || load<u32>(H_PRODUCER_ENTRIES) < load<u32>(H_MAXIMUM_PRODUCERS))
  );
}

/**
 * Gives a producer a new incarnation, which fences the older ones and starts the sequences at 1; takes the producer if it is new. The cursor
 * stays. The caller has asked hasProducerRoom() for a new one. Gives the producer's number.
 */
export function openProducer(id: u32, named: bool): u32 {
  const found = findProducer(id);
  const producer = found ? found - 1 : takeProducer(id, named);
  const entry = producerAddress(producer);
  const incarnation = load<u32>(H_INCARNATION) + 1;
  store<u32>(H_INCARNATION, incarnation);
  if (!found) store<u32>(entry + FIRST_INCARNATION, incarnation);
  store<u32>(entry + INCARNATION, incarnation);
  store<u64>(entry + NEXT_SEQUENCE, 1);
  store<i64>(entry + LAST_USED, load<i64>(H_CLOCK));
  releaseWindow(entry);
  return producer;
}

function takeProducer(id: u32, named: bool): u32 {
  let producer: u32;
  const free = load<u32>(H_FREE_PRODUCER);
  if (free) {
    producer = free - 1;
    store<u32>(H_FREE_PRODUCER, load<u32>(producerAddress(producer) + CURSOR));
    store<u32>(producerAddress(producer) + CURSOR, 0);
  } else {
    producer = load<u32>(H_PRODUCER_ENTRIES);
    if ((producer & SEGMENT_MASK) === 0) {
      const page = allocatePages(1);
      if (!page) unreachable();
      store<u32>(PRODUCER_DIRECTORY + ((producer >> SEGMENT_SHIFT) << 2), page);
    }
    store<u32>(H_PRODUCER_ENTRIES, producer + 1);
  }
  const entry = producerAddress(producer);
  memory.copy(entry, id, ID_BYTES);
  store<u16>(entry + FLAGS, TAKEN | (named ? NAMED : 0));
  store<u32>(H_LIVE_PRODUCERS, load<u32>(H_LIVE_PRODUCERS) + 1);
  insert(PRODUCER_INDEX, sipHash(id, ID_BYTES), producer);
  return producer;
}

/** Whether a session may write as this producer: OK, PRODUCER_FENCED or PRODUCER_UNKNOWN. */
export function checkProducer(producer: u32, incarnation: u32): u32 {
  if (producer >= load<u32>(H_PRODUCER_ENTRIES)) return PRODUCER_UNKNOWN;
  const entry = producerAddress(producer);
  if (!(load<u16>(entry + FLAGS) & TAKEN)) return PRODUCER_UNKNOWN;
  if (load<u32>(entry + INCARNATION) === incarnation) return OK;
  return incarnation < load<u32>(entry + FIRST_INCARNATION) ? PRODUCER_UNKNOWN : PRODUCER_FENCED;
}

/** Whether a number that was given is that of a producer now. */
export function isTaken(producer: u32): bool {
  return (load<u16>(producerAddress(producer) + FLAGS) & TAKEN) !== 0;
}

export function isNamed(producer: u32): bool {
  return (load<u16>(producerAddress(producer) + FLAGS) & NAMED) !== 0;
}

export function nextSequence(entry: u32): u64 {
  return load<u64>(entry + NEXT_SEQUENCE);
}

export function incarnationOf(entry: u32): u32 {
  return load<u32>(entry + INCARNATION);
}

export function windowOf(entry: u32): u32 {
  return load<u32>(entry + WINDOW_ADDRESS);
}

export function setWindow(entry: u32, window: u32): void {
  store<u32>(entry + WINDOW_ADDRESS, window);
}

/** Consumes the next sequence, and keeps the cursor that came with it. */
export function advance(entry: u32, cursor: u32, cursorLength: u32): void {
  store<u64>(entry + NEXT_SEQUENCE, nextSequence(entry) + 1);
  store<i64>(entry + LAST_USED, load<i64>(H_CLOCK));
  if (!cursorLength) return;
  let block = load<u32>(entry + CURSOR);
  if (!block) {
    block = takeBlock(H_FREE_CURSOR, CURSOR_BLOCK);
    if (!block) unreachable(); // canKeepCursor() was asked first
    store<u32>(entry + CURSOR, block);
  }
  memory.fill(block, 0, CURSOR_BLOCK);
  store<u32>(block, cursorLength);
  memory.copy(block + 4, cursor, cursorLength);
}

/** Whether the cursor of this producer has a place or can get one. */
export function canKeepCursor(entry: u32): bool {
  return load<u32>(entry + CURSOR) !== 0 || load<u32>(H_FREE_CURSOR) !== 0 || hasPage();
}

/** The block of the cursor (u32 length, bytes), or 0. */
export function cursorOf(entry: u32): u32 {
  return load<u32>(entry + CURSOR);
}

/** Goes round a part of the table: idle anonymous producers go, and the kept answers of idle producers go. */
export function expireProducers(): void {
  const producers = load<u32>(H_PRODUCER_ENTRIES);
  const steps = min<u32>(producers, EXPIRE_STEP);
  const clock = load<i64>(H_CLOCK);
  let hand = load<u32>(H_EXPIRY_HAND);
  let released: u32 = 0;
  for (let i: u32 = 0; i < steps && released < EXPIRE_BYTES; i++) {
    hand = hand + 1 < producers ? hand + 1 : 0;
    const entry = producerAddress(hand);
    const flags = load<u16>(entry + FLAGS);
    if (!(flags & TAKEN)) continue;
    const idle = clock - load<i64>(entry + LAST_USED);
    if (idle >= KEEP_ANSWERS) released += releaseWindow(entry);
    if (!(flags & NAMED) && idle >= load<i64>(H_PRODUCER_IDLE)) freeProducer(hand);
  }
  store<u32>(H_EXPIRY_HAND, hand);
}

function freeProducer(producer: u32): void {
  const entry = producerAddress(producer);
  remove(PRODUCER_INDEX, producerHash(producer), producer);
  releaseWindow(entry);
  const cursor = load<u32>(entry + CURSOR);
  if (cursor) {
    memory.fill(cursor, 0, CURSOR_BLOCK);
    giveBlock(H_FREE_CURSOR, cursor);
  }
  memory.fill(entry, 0, ENTRY_BYTES);
  store<u32>(entry + CURSOR, load<u32>(H_FREE_PRODUCER));
  store<u32>(H_FREE_PRODUCER, producer + 1);
  store<u32>(H_LIVE_PRODUCERS, load<u32>(H_LIVE_PRODUCERS) - 1);
}

/** Forgets the kept answers of a producer; how many bytes they had. */
function releaseWindow(entry: u32): u32 {
  const bytes = dropWindow(load<u32>(entry + WINDOW_ADDRESS));
  store<u32>(entry + WINDOW_ADDRESS, 0);
  return bytes;
}
