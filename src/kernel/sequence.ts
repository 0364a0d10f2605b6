import { xxh64 } from './hash';
import {
  ADD,
  ALREADY_APPLIED,
  ANSWER,
  ATOMIC,
  BAD_REQUEST,
  DELETE,
  EXPIRE,
  MAX_CURSOR,
  MEMORY_FULL,
  MERGE,
  OK,
  ONCE,
  REGISTER_ANSWER_LENGTH,
  REGISTER_BODY,
  REGISTER_CURSOR,
  REGISTER_NEXT,
  REGISTER_OLDEST,
  REGISTER_PAYLOAD,
  REGISTER_POSITION,
  REGISTER_SEQUENCE,
  REPEATED,
  SEE,
  SEQUENCE_CONFLICT,
  SEQUENCE_GAP,
  SET,
  STEPS,
  VALUES,
  WINDOW,
  WINDOW_EXCEEDED,
} from './layout';
import { PAYLOAD_BYTES } from './logged';
import { advance, canKeepCursor, checkProducer, nextSequence, producerAddress, setWindow, windowOf } from './producers';
import { readVarint64 } from './varint';
import { copyAnswer, createWindow, holds, keep, payloadOf, positionOf } from './windows';

/**
 * Exactly once: the prefix of a sequenced body is judged before anything else in it, and nothing changes here. OK means that the
 * body may be applied as the next sequence, REPEATED that its first answer is in ANSWER again.
 */
export function admit(kind: u32, flags: u32, producer: u32, incarnation: u32, start: u32, end: u32): u32 {
  if (!isSequenced(kind)) return BAD_REQUEST;
  const status = checkProducer(producer, incarnation);
  if (status) return status;
  const sequence = readVarint64(start);
  const p = load<u32>(REGISTER_NEXT);
  if (!p) return BAD_REQUEST;
  const unanswered = readVarint64(p);
  const cursor = load<u32>(REGISTER_NEXT);
  if (!cursor || cursor >= end || unanswered >= sequence) return BAD_REQUEST;
  const cursorLength = <u32>load<u8>(cursor);
  let body = cursor + 1 + cursorLength;
  if (cursorLength > MAX_CURSOR || body > end) return BAD_REQUEST;
  let payload: u64;
  if (kind === STEPS) {
    payload = load<u64>(body);
    body += PAYLOAD_BYTES;
    if (body > end) return BAD_REQUEST;
  } else {
    payload = xxh64(cursor, end - cursor, (kind << 8) | (flags & (ATOMIC | VALUES)));
  }
  const entry = producerAddress(producer);
  const next = nextSequence(entry);
  if (sequence < next) return repeat(windowOf(entry), sequence, payload);
  if (sequence > next) return SEQUENCE_GAP;
  if (unanswered >= WINDOW) return WINDOW_EXCEEDED;
  if (cursorLength && !canKeepCursor(entry)) return MEMORY_FULL;
  store<u64>(REGISTER_SEQUENCE, sequence);
  store<u64>(REGISTER_OLDEST, sequence - unanswered);
  store<u64>(REGISTER_PAYLOAD, payload);
  store<u32>(REGISTER_CURSOR, cursor + 1);
  store<u32>(REGISTER_CURSOR + 4, cursorLength);
  store<u32>(REGISTER_BODY, body);
  return OK;
}

function isSequenced(kind: u32): bool {
  if (kind === ADD || kind === STEPS || kind === SEE || kind === ONCE) return true;
  return kind === SET || kind === DELETE || kind === MERGE || kind === EXPIRE;
}

function repeat(window: u32, sequence: u64, payload: u64): u32 {
  store<u64>(REGISTER_POSITION, 0);
  if (!holds(window, sequence)) return ALREADY_APPLIED;
  if (payloadOf(window, sequence) !== payload) return SEQUENCE_CONFLICT;
  store<u64>(REGISTER_POSITION, positionOf(window, sequence));
  const length = copyAnswer(window, sequence, ANSWER);
  if (length < 0) return ALREADY_APPLIED;
  store<u32>(REGISTER_ANSWER_LENGTH, <u32>length);
  return REPEATED;
}

/** Consumes the admitted sequence and keeps the answer that was just written. */
export function conclude(producer: u32, position: u64, answerLength: u32): void {
  const entry = producerAddress(producer);
  const sequence = load<u64>(REGISTER_SEQUENCE);
  advance(entry, load<u32>(REGISTER_CURSOR), load<u32>(REGISTER_CURSOR + 4));
  let window = windowOf(entry);
  if (!window) window = createWindow(sequence);
  if (!window) return; // memory is full: a repeat will be told ALREADY_APPLIED
  const oldest = load<u64>(REGISTER_OLDEST);
  setWindow(entry, keep(window, sequence, oldest, load<u64>(REGISTER_PAYLOAD), position, ANSWER, answerLength));
}
