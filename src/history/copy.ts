import { corrupt } from '../log/replay.js';
import { RESOLUTIONS, type Resolution } from '../series/bucket.js';
import { type HistoryPlace, isAfter } from './bucket.js';
import { minutePlaceOf, partsOf, spanStart } from './key.js';
import { decodeState, type PartitionState } from './partition-state.js';
import type { RowCodec } from './row.js';
import type { HistoryReader, Put, StoredRow } from './tables.js';

/**
 * Reads the history of a partition beside its owner, who goes on writing: commits add rows of minutes, roll-ups and counters that go take
 * rows away. What is read in many looks is one state if nothing was taken away between the first and the last of them, which the revision
 * tells, and what was added since is left out, of which each row says itself at which place of the log it came.
 *
 * So few slots are read together, and once more where rows were taken away meanwhile:
 *
 * ```
 *  revision, place   rows of slots 0-127   revision: as before    ──►  slots 0-127 as of that place
 *  revision, place   rows of slots 128-255   revision: another    ──►  again; after some times half as many slots
 * ```
 *
 * Each slot is as of a place of its own, and what came after it has to be taken from the log.
 */
export interface CopiedSlots {
  /** The slots from here on, up to those of the next copy, are as of `place`, also where they have no rows. */
  readonly from: number;
  readonly place: HistoryPlace;
  /** The first instant of which everything is in, in milliseconds since 1970. */
  readonly since: number;
  /** Verified. */
  readonly rows: readonly Put[];
}

const MOST_SLOTS = 128;
/** After so many fewer slots are read together. */
const ATTEMPTS = 4;
/** What takes rows away takes a flush each time, one slot is read in less. */
const MOST_ATTEMPTS = 1_000;
const ALL = 0x7fff_ffff;

/** @throws TallystickError DATA_DAMAGED for a row that fails its checks; LOG_CORRUPT; DIRECTORY_INVALID */
export function* copyOf(reader: HistoryReader, codec: RowCodec, partition: number): Generator<CopiedSlots> {
  let slots = MOST_SLOTS;
  for (let from: number | undefined = 0; from !== undefined; ) {
    let copied: ReturnType<typeof copySlots>;
    for (let attempt = 1; ; attempt++) {
      copied = copySlots(reader, codec, partition, from, from + slots);
      if (copied) break;
      if (attempt === MOST_ATTEMPTS)
        throw corrupt(`The history of partition ${partition} changed whenever it was read.`);
      if (attempt % ATTEMPTS === 0) slots = Math.max(1, slots / 2);
    }
    yield { from, ...copied };
    from = copied.next;
    slots = Math.min(MOST_SLOTS, slots * 2);
  }
}

/** Undefined where rows were taken away meanwhile. `next`: the next slot that has rows. */
function copySlots(reader: HistoryReader, codec: RowCodec, partition: number, from: number, to: number) {
  const before = stateOf(reader, partition);
  const rows: Put[] = [];
  let next: number | undefined;
  const take = (resolution: Resolution) => (row: StoredRow) => {
    const { slot } = partsOf(row.key);
    if (slot >= to) next = Math.min(next ?? slot, slot);
    else if (resolution !== 'minute' || !isAfter(minutePlaceOf(row.key), before)) rows.push({ resolution, ...row });
  };
  for (const resolution of RESOLUTIONS) visitRows(reader, codec, resolution, { partition, from, to }, take(resolution));
  if (stateOf(reader, partition).revision !== before.revision) return undefined;
  const { watermark, items, since } = before;
  return { place: { watermark, items }, since, rows, next };
}

function stateOf(reader: HistoryReader, partition: number): PartitionState {
  reader.refresh();
  return decodeState(partition, reader.state(partition));
}

interface Slots {
  readonly partition: number;
  readonly from: number;
  readonly to: number;
}

/** Visits the rows of slots in all spans, jumping over those of others, and of each span the first row of the slots behind. */
function visitRows(
  reader: HistoryReader,
  codec: RowCodec,
  resolution: Resolution,
  { partition, from, to }: Slots,
  visit: (row: StoredRow) => void,
): void {
  const end = spanStart(partition + 1, 0);
  for (let start = spanStart(partition, 0, from); ; ) {
    const [first] = reader.range(resolution, start, end, 1);
    if (!first) return;
    codec.decode(resolution, first.key, first.value);
    const { at, slot } = partsOf(first.key);
    if (slot < from) {
      start = spanStart(partition, at, from);
    } else if (slot >= to) {
      visit(first);
      start = spanStart(partition, at + 1, from);
    } else {
      start = spanStart(partition, at, to);
      for (const row of reader.range(resolution, first.key, start, ALL)) {
        codec.decode(resolution, row.key, row.value);
        visit(row);
      }
    }
  }
}
