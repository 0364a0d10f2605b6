import { H_FREE_WINDOW, PAGE, WINDOW } from './layout';
import { allocatePages, freePage, giveBlock, hasPage, takeBlock } from './memory';

/**
 * The window of a producer: for each sequence that its client may still repeat, the hash of its payload, the position at which it
 * was applied and, within a byte budget, its answer. It begins as a block of 4 KiB and becomes a page of 64 KiB when that is too small.
 *
 *   0               4                8              16              24               28
 *   | u32 capacity  | u32 ring bytes | u64 first    | u64 first kept | u32 ring start | u32 ring used | entries | ring
 *
 *   entry, 24 B:  | u64 payload hash | u64 position | u32 offset | u32 length |
 *
 * `first` is the oldest sequence in the window, `first kept` the oldest whose answer is still in the ring. The entry of a sequence is
 * number sequence mod capacity. An answer goes round the ring's end where it has to.
 */
const SMALL_BYTES: u32 = 4096;
const SMALL_CAPACITY: u32 = 64;
const HEAD: u32 = 32;
const CAPACITY: u32 = 0;
const RING_BYTES: u32 = 4;
const FIRST: u32 = 8;
const FIRST_KEPT: u32 = 16;
const RING_START: u32 = 24;
const RING_USED: u32 = 28;

const ENTRY_BYTES: u32 = 24;
const POSITION: u32 = 8;
const OFFSET: u32 = 16;
const LENGTH: u32 = 20;
/** The length of an answer that was too long to keep. */
const NOT_KEPT: u32 = 0xffffffff;

function create(block: u32, bytes: u32, capacity: u32, first: u64): u32 {
  store<u32>(block + CAPACITY, capacity);
  store<u32>(block + RING_BYTES, bytes - HEAD - capacity * ENTRY_BYTES);
  store<u64>(block + FIRST, first);
  store<u64>(block + FIRST_KEPT, first);
  return block;
}

/** A small window whose first sequence will be `first`; 0 where memory is full. */
export function createWindow(first: u64): u32 {
  if (!load<u32>(H_FREE_WINDOW) && !hasPage()) return 0;
  const block = takeBlock(H_FREE_WINDOW, SMALL_BYTES);
  return block ? create(block, SMALL_BYTES, SMALL_CAPACITY, first) : 0;
}

/** Gives the memory of a window back; how many bytes it had. */
export function dropWindow(window: u32): u32 {
  if (!window) return 0;
  if (load<u32>(window + CAPACITY) === SMALL_CAPACITY) {
    memory.fill(window, 0, SMALL_BYTES);
    giveBlock(H_FREE_WINDOW, window);
    return SMALL_BYTES;
  }
  memory.fill(window, 0, PAGE);
  freePage(window);
  return PAGE;
}

export function holds(window: u32, sequence: u64): bool {
  return window !== 0 && sequence >= load<u64>(window + FIRST);
}

function entryOf(window: u32, sequence: u64): u32 {
  return window + HEAD + <u32>(sequence % load<u32>(window + CAPACITY)) * ENTRY_BYTES;
}

export function payloadOf(window: u32, sequence: u64): u64 {
  return load<u64>(entryOf(window, sequence));
}

export function positionOf(window: u32, sequence: u64): u64 {
  return load<u64>(entryOf(window, sequence) + POSITION);
}

/** Copies the kept answer of a sequence out; its length, or -1 if it is not kept. */
export function copyAnswer(window: u32, sequence: u64, to: u32): i32 {
  const entry = entryOf(window, sequence);
  const length = load<u32>(entry + LENGTH);
  if (sequence < load<u64>(window + FIRST_KEPT) || length === NOT_KEPT) return -1;
  const ring = load<u32>(window + RING_BYTES);
  const offset = load<u32>(entry + OFFSET);
  const base = window + HEAD + load<u32>(window + CAPACITY) * ENTRY_BYTES;
  const head = min<u32>(length, ring - offset);
  memory.copy(to, base + offset, head);
  memory.copy(to + head, base, length - head);
  return <i32>length;
}

/**
 * Keeps a batch that was just applied as `sequence`; what is older than `oldest` is forgotten. Gives the window, which may be another
 * than before.
 */
export function keep(
  window: u32,
  sequence: u64,
  oldest: u64,
  payload: u64,
  position: u64,
  answer: u32,
  length: u32,
): u32 {
  forgetBefore(window, oldest);
  if (load<u32>(window + CAPACITY) === SMALL_CAPACITY && !fits(window, sequence, length))
    window = enlarge(window, sequence);
  if (sequence - load<u64>(window + FIRST) >= <u64>load<u32>(window + CAPACITY)) {
    // A small window that could not grow: its oldest entry makes room, and a repeat of it is told ALREADY_APPLIED.
    forgetBefore(window, sequence - load<u32>(window + CAPACITY) + 1);
  }
  const entry = entryOf(window, sequence);
  store<u64>(entry, payload);
  store<u64>(entry + POSITION, position);
  store<u32>(entry + OFFSET, 0);
  store<u32>(entry + LENGTH, NOT_KEPT);
  if (length <= load<u32>(window + RING_BYTES)) keepAnswer(window, sequence, answer, length);
  return window;
}

function fits(window: u32, sequence: u64, length: u32): bool {
  if (sequence - load<u64>(window + FIRST) >= <u64>load<u32>(window + CAPACITY)) return false;
  return load<u32>(window + RING_USED) + length <= load<u32>(window + RING_BYTES);
}

function forgetBefore(window: u32, oldest: u64): void {
  if (oldest <= load<u64>(window + FIRST)) return;
  while (load<u64>(window + FIRST_KEPT) < oldest) dropOldestAnswer(window);
  store<u64>(window + FIRST, oldest);
}

function dropOldestAnswer(window: u32): void {
  const sequence = load<u64>(window + FIRST_KEPT);
  const length = load<u32>(entryOf(window, sequence) + LENGTH);
  store<u64>(window + FIRST_KEPT, sequence + 1);
  if (length === NOT_KEPT) return;
  const ring = load<u32>(window + RING_BYTES);
  store<u32>(window + RING_START, (load<u32>(window + RING_START) + length) % ring);
  store<u32>(window + RING_USED, load<u32>(window + RING_USED) - length);
}

function keepAnswer(window: u32, sequence: u64, answer: u32, length: u32): void {
  const ring = load<u32>(window + RING_BYTES);
  while (load<u32>(window + RING_USED) + length > ring) dropOldestAnswer(window);
  const offset = (load<u32>(window + RING_START) + load<u32>(window + RING_USED)) % ring;
  const base = window + HEAD + load<u32>(window + CAPACITY) * ENTRY_BYTES;
  const head = min<u32>(length, ring - offset);
  memory.copy(base + offset, answer, head);
  memory.copy(base, answer + head, length - head);
  const entry = entryOf(window, sequence);
  store<u32>(entry + OFFSET, offset);
  store<u32>(entry + LENGTH, length);
  store<u32>(window + RING_USED, load<u32>(window + RING_USED) + length);
}

/** Moves a small window into a page of its own; stays where it is if memory is full. */
function enlarge(window: u32, next: u64): u32 {
  if (!hasPage()) return window;
  const page = allocatePages(1);
  if (!page) return window;
  const first = load<u64>(window + FIRST);
  create(page, PAGE, WINDOW, first);
  store<u64>(page + FIRST_KEPT, load<u64>(window + FIRST_KEPT));
  for (let sequence = first; sequence < next; sequence++) {
    const from = entryOf(window, sequence);
    const to = entryOf(page, sequence);
    memory.copy(to, from, ENTRY_BYTES);
    const base = page + HEAD + WINDOW * ENTRY_BYTES;
    const used = load<u32>(page + RING_USED);
    const length = copyAnswer(window, sequence, base + used);
    if (length < 0) continue;
    store<u32>(to + OFFSET, used);
    store<u32>(page + RING_USED, used + <u32>length);
  }
  dropWindow(window);
  return page;
}
