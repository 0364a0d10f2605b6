import { applyAdd } from './add';
import { COUNTED_ITEMS, decodeBatch, ITEMS, KEYS, OPERATIONS, RECORD_BYTES, SLOT } from './batch';
import { classAt, existsAt, generationAt, nameAt, slotAddress, valueAt } from './cells';
import { checkClasses, checkDays, isDayOver, numberOf, setClasses, setDays } from './classes';
import { areClean, keepDirty, keepsDirty, noteDirty, sealDirty } from './dirty';
import { clearEmitted } from './emitted';
import { applyExpire, checkExpire, expireCounters, readExpiries } from './expiring';
import { isDue as isPast } from './expiry';
import { xxh64 } from './hash';
import { answerHistory, HISTORY_ANSWER_BYTES } from './history-query';
import {
  ADD,
  ANSWER,
  ATOMIC,
  BAD_REQUEST,
  BRING,
  CLASSIFY,
  CONFIGURE,
  DAYS,
  DELETE,
  DUE,
  EXPIRE,
  FIRST_PAGE,
  H_CLOCK,
  H_KEY0,
  H_KEY1,
  H_MAGIC,
  H_MAXIMUM_OPERATION_IDS,
  H_MAXIMUM_PAGES,
  H_MAXIMUM_PRODUCERS,
  H_MAXIMUM_WINDOW_BYTES,
  H_NEXT_PAGE,
  H_OPERATION_LIFE,
  H_PARTITION,
  H_PRODUCER_ENTRIES,
  H_PRODUCER_IDLE,
  H_SEQUENCE,
  H_SLOTS,
  H_TIME,
  H_VERSION,
  HEADER,
  KEEP,
  KERNEL_VERSION,
  MAGIC,
  MAX_OPERATION_IDS,
  MAX_PAGES,
  MAX_PRODUCERS,
  MERGE,
  OK,
  ONCE,
  OPEN,
  OPEN_PRODUCER,
  PAGE,
  PRODUCERS_FULL,
  RECEIVE,
  REGISTER_ANSWER_LENGTH,
  REGISTER_BODY,
  REGISTER_EFFECT,
  REGISTER_LOGGED,
  REGISTER_NEXT,
  REGISTER_OPERATIONS,
  REGISTER_STEPS,
  REGISTER_STRICT,
  REGISTER_VALUE,
  SCRATCH,
  SEE,
  SEQUENCED,
  SET,
  STEPS,
  TICK,
  UNCHANGED,
  UNKNOWN_OPCODE,
} from './layout';
import { listCounters } from './list';
import { decodeLogged, writeLogged } from './logged';
import { readMarked } from './marked';
import { growTo } from './memory';
import { applyMerge, checkMerge } from './merging';
import { copyName, learnFromNames } from './names';
import { applyOnce } from './once';
import { applyKeep, checkKeep, tellOnce } from './once-moving';
import { expireOperations } from './operations';
import {
  cursorOf,
  expireProducers,
  findProducer,
  hasProducerRoom,
  incarnationOf,
  isNamed,
  isTaken,
  nextSequence,
  openProducer,
  producerAddress,
} from './producers';
import { slotOfRecord } from './records';
import { applyDelete, applyOpen, applySet, checkDelete, checkOpen, checkSet, readValues } from './requests';
import { applySee } from './seeing';
import { admit, conclude } from './sequence';
import { sweepSets } from './sets';
import { applySteps, decodeSteps } from './steps';
import { clearTouched, isWatched } from './touched';
import { classifySlots, sweepTracks } from './tracking';
import { applyBring, checkBring, tellWindow } from './unique-windows-moving';
import { answerUniques, checkUniques } from './uniques-query';
import { settleTouched, touchBefore } from './watching';
import { answerWindow, beginWindow, checkWindowKeys } from './window-query';

export { areClean, growTo, keepDirty, keepsDirty, readMarked, sealDirty };

/**
 * The kernel of a partition: pure, synchronous, deterministic. Bodies come in at RECEIVE, answers go out at ANSWER. The same
 * bodies in the same order, with the same milliseconds, give the same bytes from HEADER on; replay is this same function.
 */

/** Longest step of the clock that counts as time passing; a longer or a backward one is a clock that was set. */
const LONGEST_STEP: i64 = 3600000;
const PRODUCER_ID_BYTES: u32 = 16;
const CONFIGURATION_BYTES: u32 = 64;
/** A tick forgets so many expired operation ids. */
const TICK_OPERATIONS: u32 = 4096;

/**
 * Applies a body: OK (applied, to be logged, its position is the new sequence), DUE (a counter is past its time: ticks come first), UNCHANGED or REPEATED (an answer, nothing to log), or the status
 * that refuses it, in which case nothing has changed. The length of the answer is in REGISTER_ANSWER_LENGTH.
 */
export function apply(kind: u32, flags: u32, producer: u32, incarnation: u32, milliseconds: f64, length: u32): u32 {
  const end = RECEIVE + length;
  let body = RECEIVE;
  store<u32>(REGISTER_ANSWER_LENGTH, 0);
  store<i64>(REGISTER_EFFECT, 0);
  clearTouched();
  store<u32>(REGISTER_OPERATIONS, 0);
  store<u32>(REGISTER_STEPS, 0);
  store<u32>(REGISTER_STRICT, 0);
  store<u32>(REGISTER_LOGGED, 0);
  clearEmitted();
  if (kind !== TICK && kind !== DAYS && isDue(milliseconds)) return DUE;
  const sequenced = (flags & SEQUENCED) !== 0;
  if (sequenced) {
    const status = admit(kind, flags, producer, incarnation, body, end);
    if (status) return status;
    body = load<u32>(REGISTER_BODY);
  }
  const what = kind === STEPS ? ADD : kind;
  const status = check(kind, flags, body, end);
  if (status === UNCHANGED) store<u32>(REGISTER_ANSWER_LENGTH, applyOpen(load<u32>(REGISTER_NEXT)));
  if (status) return status;

  // From here on nothing can be refused as a whole.
  if (kind === ADD) writeLogged(body, end, sequenced);
  const watched = isWatched();
  if (watched) touchBefore(what);
  pass(<i64>milliseconds);
  const position = load<u64>(H_SEQUENCE) + 1;
  store<u64>(H_SEQUENCE, position);
  const answerLength = change(what, flags);
  learnFromNames();
  store<u32>(REGISTER_ANSWER_LENGTH, answerLength);
  if (watched) settleTouched();
  if (keepsDirty()) noteDirty(what);
  if (sequenced) conclude(producer, position, answerLength);
  return OK;
}

/**
 * Only says what `apply` would say of the sequence of a body at RECEIVE: OK if it has none or is the next, and would be applied. For a
 * server that may not apply anything now but owes answers to repeats.
 */
export function judge(kind: u32, flags: u32, producer: u32, incarnation: u32, length: u32): u32 {
  store<u32>(REGISTER_ANSWER_LENGTH, 0);
  return flags & SEQUENCED ? admit(kind, flags, producer, incarnation, RECEIVE, RECEIVE + length) : OK;
}

function check(kind: u32, flags: u32, body: u32, end: u32): u32 {
  if (kind === CONFIGURE) return checkConfiguration(body, end);
  if (!isConfigured()) return BAD_REQUEST;
  if (kind === CLASSIFY) {
    store<u32>(REGISTER_NEXT, end - body);
    return checkClasses(body, end);
  }
  if (kind === DAYS) {
    store<u32>(REGISTER_NEXT, end - body);
    return checkDays(body, end);
  }
  if (kind === ADD) return checkAdd(flags, body, end);
  if (kind === STEPS) return decodeLogged(body, end, (flags & ATOMIC) !== 0);
  if (kind === SEE) return checkItems(flags, body, end, ITEMS);
  if (kind === ONCE) return checkItems(flags, body, end, COUNTED_ITEMS);
  if (kind === MERGE) return checkMerge(body, end);
  if (kind === EXPIRE) return checkExpire(body, end);
  if (kind === SET) return checkSet(body, end);
  if (kind === DELETE) return checkDelete(body, end);
  if (kind === OPEN) return checkOpen(body, end);
  if (kind === TICK) return body === end ? OK : BAD_REQUEST;
  if (kind === KEEP) return checkKeep(body, end);
  if (kind === BRING) return checkBring(body, end);
  if (kind !== OPEN_PRODUCER) return UNKNOWN_OPCODE;
  if (end - body !== PRODUCER_ID_BYTES + 1) return BAD_REQUEST;
  return findProducer(body) || hasProducerRoom() ? OK : PRODUCERS_FULL;
}

function checkAdd(flags: u32, body: u32, end: u32): u32 {
  const isSteps = !(flags & ATOMIC) && decodeSteps(body, end);
  store<u32>(REGISTER_STEPS, isSteps ? 1 : 0);
  return isSteps ? OK : decodeBatch(body, end, OPERATIONS);
}

function checkItems(flags: u32, body: u32, end: u32, shape: u32): u32 {
  return flags & ATOMIC ? BAD_REQUEST : decodeBatch(body, end, shape);
}

function change(kind: u32, flags: u32): u32 {
  if (kind === ADD) {
    const count = load<u32>(REGISTER_NEXT);
    return load<u32>(REGISTER_STEPS) ? applySteps(count, flags) : applyAdd(count, flags);
  }
  if (kind === SEE) return applySee(load<u32>(REGISTER_NEXT), flags);
  if (kind === ONCE) return applyOnce(load<u32>(REGISTER_NEXT), flags);
  if (kind === MERGE) return applyMerge();
  if (kind === EXPIRE) return applyExpire();
  if (kind === SET) return applySet();
  if (kind === DELETE) return applyDelete();
  if (kind === OPEN) return applyOpen(load<u32>(REGISTER_NEXT));
  if (kind === OPEN_PRODUCER) return describe(openProducer(RECEIVE, load<u8>(RECEIVE + PRODUCER_ID_BYTES) !== 0));
  if (kind === CONFIGURE) configure();
  else if (kind === KEEP) return applyKeep();
  else if (kind === BRING) return applyBring();
  else if (kind === CLASSIFY) setClasses(RECEIVE, RECEIVE + load<u32>(REGISTER_NEXT));
  else if (kind === DAYS) setDays(RECEIVE, RECEIVE + load<u32>(REGISTER_NEXT));
  else tick();
  return 0;
}

/** Does a bounded part of what time alone brings. */
function tick(): void {
  expireCounters();
  expireOperations(TICK_OPERATIONS);
  expireProducers();
  sweepTracks();
  sweepSets();
  classifySlots();
}

/** Lets the kernel's clock pass. */
function pass(milliseconds: i64): void {
  const step = milliseconds - load<i64>(H_TIME);
  if (step > 0 && step <= LONGEST_STEP) store<i64>(H_CLOCK, load<i64>(H_CLOCK) + step);
  store<i64>(H_TIME, milliseconds);
}

/**
 * The configuration, as the log has it. The first body of a partition is one; later ones may change the limits.
 *
 *   0               4                8           16          24                  28                  32
 *   | u32 partition | u32 partitions | u64 key 0 | u64 key 1 | u32 maximum pages | u32 max producers |
 *   32              36      40                       48                      56                 64
 *   | u32 maximum   | u32 0 | i64 producer idle, ms  | i64 operation id life,  | i64 bytes that    |
 *   | operation ids |       |                        | ms                      | windows may take  |
 */
function checkConfiguration(body: u32, end: u32): u32 {
  if (end - body !== CONFIGURATION_BYTES || load<u32>(body, 24) > MAX_PAGES) return BAD_REQUEST;
  if (load<u32>(body, 28) > MAX_PRODUCERS || load<u32>(body, 32) > MAX_OPERATION_IDS) return BAD_REQUEST;
  if (!isConfigured()) return load<u32>(body, 4) && load<u32>(body) < load<u32>(body, 4) ? OK : BAD_REQUEST;
  const same = load<u64>(body) === load<u64>(H_PARTITION) && load<u64>(body, 8) === load<u64>(H_KEY0);
  return same && load<u64>(body, 16) === load<u64>(H_KEY1) ? OK : BAD_REQUEST;
}

function isConfigured(): bool {
  return load<u32>(H_NEXT_PAGE) !== 0;
}

function configure(): void {
  if (!isConfigured()) {
    growTo(FIRST_PAGE);
    store<u32>(H_NEXT_PAGE, FIRST_PAGE);
    store<u32>(H_MAGIC, MAGIC);
    store<u32>(H_VERSION, KERNEL_VERSION);
    store<u64>(H_PARTITION, load<u64>(RECEIVE));
    store<u64>(H_KEY0, load<u64>(RECEIVE + 8));
    store<u64>(H_KEY1, load<u64>(RECEIVE + 16));
  }
  store<u32>(H_MAXIMUM_PAGES, load<u32>(RECEIVE + 24));
  store<u32>(H_MAXIMUM_PRODUCERS, load<u32>(RECEIVE + 28));
  store<u32>(H_MAXIMUM_OPERATION_IDS, load<u32>(RECEIVE + 32));
  store<i64>(H_PRODUCER_IDLE, load<i64>(RECEIVE + 40));
  store<i64>(H_OPERATION_LIFE, load<i64>(RECEIVE + 48));
  store<i64>(H_MAXIMUM_WINDOW_BYTES, load<i64>(RECEIVE + 56));
}

/** Answers a GET body at RECEIVE; changes nothing. OK or the status that refuses it. */
export function read(length: u32): u32 {
  store<u32>(REGISTER_ANSWER_LENGTH, 0);
  const status = isConfigured() ? decodeBatch(RECEIVE, RECEIVE + length, KEYS) : BAD_REQUEST;
  if (!status) store<u32>(REGISTER_ANSWER_LENGTH, readValues(load<u32>(REGISTER_NEXT)));
  return status;
}

/** Whether a counter is past its time, as of a time in milliseconds, or the day of a class. */
export function isDue(milliseconds: f64): bool {
  return isPast(<i64>milliseconds) || isDayOver(<i64>milliseconds);
}

/** Whether the present day of a class is over, as of a time in milliseconds, or not known: DAYS is to come. */
export function needsDays(milliseconds: f64): bool {
  return isDayOver(<i64>milliseconds);
}

/** Answers an EXPIRY body at RECEIVE; changes nothing. OK or the status that refuses it. */
export function expiries(length: u32): u32 {
  store<u32>(REGISTER_ANSWER_LENGTH, 0);
  const status = isConfigured() ? decodeBatch(RECEIVE, RECEIVE + length, KEYS) : BAD_REQUEST;
  if (!status) store<u32>(REGISTER_ANSWER_LENGTH, readExpiries(load<u32>(REGISTER_NEXT)));
  return status;
}

/** Answers a WINDOW body at RECEIVE, as of a time in milliseconds; changes nothing. OK or the status that refuses it. */
export function window(length: u32, milliseconds: f64): u32 {
  store<u32>(REGISTER_ANSWER_LENGTH, 0);
  const end = RECEIVE + length;
  let status = isConfigured() ? beginWindow(RECEIVE, end, <i64>milliseconds) : BAD_REQUEST;
  if (!status) status = decodeBatch(load<u32>(REGISTER_NEXT), end, KEYS);
  if (!status) status = checkWindowKeys(load<u32>(REGISTER_NEXT));
  if (!status) store<u32>(REGISTER_ANSWER_LENGTH, answerWindow(load<u32>(REGISTER_NEXT)));
  return status;
}

/** Answers a body of one key at RECEIVE with what its history is read with; changes nothing. OK or the status that refuses it. */
export function history(length: u32): u32 {
  store<u32>(REGISTER_ANSWER_LENGTH, 0);
  let status = isConfigured() ? decodeBatch(RECEIVE, RECEIVE + length, KEYS) : BAD_REQUEST;
  if (!status) status = answerHistory(load<u32>(REGISTER_NEXT));
  if (!status) store<u32>(REGISTER_ANSWER_LENGTH, HISTORY_ANSWER_BYTES);
  return status;
}

/** Answers a UNIQUES body at RECEIVE, as of a time in milliseconds; changes nothing. OK or the status that refuses it. */
export function uniques(length: u32, milliseconds: f64): u32 {
  store<u32>(REGISTER_ANSWER_LENGTH, 0);
  const status = isConfigured() ? checkUniques(RECEIVE, RECEIVE + length, <i64>milliseconds) : BAD_REQUEST;
  if (!status) {
    const answerLength = answerUniques(load<u8>(RECEIVE), load<u32>(REGISTER_NEXT));
    store<u32>(REGISTER_ANSWER_LENGTH, answerLength);
  }
  return status;
}

/** Answers a LIST body at RECEIVE; changes nothing. OK or the status that refuses it. */
export function list(length: u32): u32 {
  store<u32>(REGISTER_ANSWER_LENGTH, 0);
  return isConfigured() ? listCounters(RECEIVE, RECEIVE + length) : BAD_REQUEST;
}

/** Describes the producer whose 16-byte id is at RECEIVE: the length of the description, 0 if it is unknown. */
export function lookUpProducer(): u32 {
  const found = findProducer(RECEIVE);
  return found ? describe(found - 1) : 0;
}

/**
 *   0              4                 8                   16                 20
 *   | u32 producer | u32 incarnation | u64 next sequence | u32 cursor bytes | cursor … |
 */
function describe(producer: u32): u32 {
  const entry = producerAddress(producer);
  const cursor = cursorOf(entry);
  const cursorLength = cursor ? load<u32>(cursor) : 0;
  store<u32>(ANSWER, producer);
  store<u32>(ANSWER + 4, incarnationOf(entry));
  store<u64>(ANSWER + 8, nextSequence(entry));
  store<u32>(ANSWER + 16, cursorLength);
  memory.copy(ANSWER + 20, cursor + 4, cursorLength);
  return 20 + cursorLength;
}

/** The slot + 1 of an operation of the ADD, SEE or ONCE that was applied last; 0 where it has no counter. `index` is below REGISTER_OPERATIONS. */
export function slotOfOperation(index: u32): u32 {
  return slotOfRecord(index);
}

/** The slot + 1 of a key of the GET that was answered last; 0 where it has no counter. */
export function slotOfKey(index: u32): u32 {
  return load<u32>(SCRATCH + index * RECORD_BYTES + SLOT);
}

/** Whether a slot has a counter that exists; its value goes to REGISTER_VALUE. */
export function lookAt(slot: u32): u32 {
  const exists = slot < load<u32>(H_SLOTS) && existsAt(slotAddress(slot));
  store<i64>(REGISTER_VALUE, exists ? valueAt(slotAddress(slot)) : 0);
  return exists ? 1 : 0;
}

/** Writes items that a slot's counter has counted once to ANSWER (once-moving.ts): how many, and the next place in REGISTER_NEXT. */
export function onceItems(slot: u32, from: u32): u32 {
  return isConfigured() ? tellOnce(slot, from) : 0;
}

/** Writes what a slot's counter has seen in one of its hours and days to ANSWER (unique-windows-moving.ts): bytes; 0 behind the last. */
export function uniqueWindow(slot: u32, index: u32): u32 {
  return isConfigured() ? tellWindow(slot, index) : 0;
}

/** The number of the class of the counter that has a slot in a generation of it, from 1; 0 for the default, and where there is none. */
export function classOf(slot: u32, generation: u32): u32 {
  const cell = slot < load<u32>(H_SLOTS) ? slotAddress(slot) : 0;
  return cell && nameAt(cell) && generationAt(cell) === generation ? numberOf(classAt(cell)) : 0;
}

/** Copies the name in a slot to ANSWER: its length, 0 where there is none. */
export function nameOfSlot(slot: u32): u32 {
  const name = slot < load<u32>(H_SLOTS) ? nameAt(slotAddress(slot)) : 0;
  if (!name) return 0;
  return copyName(name, ANSWER);
}

/** Describes the producer with a number, its id and whether it is named before that; 0 where the number is free, -1 behind the last. */
export function producerAt(producer: u32): i32 {
  if (producer >= load<u32>(H_PRODUCER_ENTRIES)) return -1;
  if (!isTaken(producer)) return 0;
  const length = describe(producer);
  memory.copy(ANSWER + PRODUCER_ID_BYTES + 1, ANSWER, length);
  memory.copy(ANSWER, producerAddress(producer), PRODUCER_ID_BYTES);
  store<u8>(ANSWER + PRODUCER_ID_BYTES, isNamed(producer) ? 1 : 0);
  return <i32>(PRODUCER_ID_BYTES + 1 + length);
}

/** Bytes of the persistent state, from HEADER; 0 before the first configuration. */
export function stateBytes(): u32 {
  return isConfigured() ? load<u32>(H_NEXT_PAGE) * PAGE - HEADER : 0;
}

/** XXH64 of the persistent state: equal hashes at equal sequences mean equal memories. */
export function stateHash(): u64 {
  return xxh64(HEADER, stateBytes(), 0);
}

/** XXH64 of `count` pages of the persistent state from `first` on; page 0 is the header's. The host keeps both within the state. */
export function hashPages(first: u32, count: u32): u64 {
  return xxh64(HEADER + first * PAGE, count * PAGE, 0);
}
