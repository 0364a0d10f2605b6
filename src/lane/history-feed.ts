import type { Clock, Timer } from '../clock.js';
import { asTallystickError, TallystickError } from '../errors.js';
import {
  type CounterKey,
  type HistoryItem,
  type HistoryPlace,
  type HistoryRow,
  isAfter,
  placeOf,
} from '../history/bucket.js';
import type { History } from '../history/history.js';
import type { AppendOutcome } from '../log/log.js';
import { countEmitted, decodeEmitted, withoutEmitted } from '../partition/emitted.js';
import type { Partition } from '../partition/partition.js';
import type { StatsMap } from '../protocol/control.js';

/** Of a commit, whose rows hold the lane's thread for about a millisecond. */
const ITEMS_OF_A_COMMIT = 128;
/** As many items is a counter that is gone: its rows are looked for in every hour and day that is kept. */
const ITEMS_OF_ONE_GONE = 64;
/** How long fewer items wait for others, which costs nobody anything: until they are in they are read from here. */
const GATHER_MILLISECONDS = 1_000;
const FULL_RETRY_MILLISECONDS = 500;
/** A commit that is not answered after this long will not be answered. */
const UNANSWERED_MILLISECONDS = 10_000;
/** The lane takes no more when so much waits. The hour's end brings a row for each counter. */
const MOST_BYTES = 67_108_864;

export interface HistoryFeedParts {
  readonly history: History;
  readonly partitions: Iterable<number>;
  readonly clock: Clock;
  /** The storage of the history broke: the process must stop. */
  readonly onFailed: (error: TallystickError) => void;
}

/** What one body of a partition had for the history, and is not in. */
interface Pending {
  /** Counts what was taken from all partitions. */
  readonly order: number;
  readonly asOf: number;
  /** The number of the first item among those of the body. */
  readonly index: number;
  readonly items: number;
  /** The bytes of src/partition/emitted.ts, a copy. */
  readonly bytes: Uint8Array;
}

/** What the feed needs of the lane that it feeds from. */
interface Downstream {
  readonly commit: { flushedSequence(partition: number): number };
  /** Something came in. */
  readonly onCommitted: () => void;
}

/**
 * Brings what the partitions of a lane emit to their history. It is taken when a body was applied, also in replay, and committed when the log has
 * flushed that body, in order:
 *
 * ```
 *  applied ── take ──►  pending  ── the log is flushed ──►  a commit of at most 128 items  ──►  the history
 * ```
 *
 * What if the process dies? What is not in is emitted again when the log is replayed, which is why a checkpoint waits (`isIn`) for what was
 * emitted before it.
 */
export class HistoryFeed {
  readonly #parts: HistoryFeedParts;
  /** Up to where the history of each partition is in. */
  readonly #places = new Map<number, HistoryPlace>();
  readonly #pending = new Map<number, Pending[]>();
  #bytes = 0;
  #items = 0;
  #downstream: Downstream | undefined;
  /** All that is flushed is to be committed, however little it is. */
  #due = false;
  #committing: Promise<void> | undefined;
  #timer: Timer | undefined;
  #retry: Timer | undefined;
  #obstacle: TallystickError | undefined;
  #roomCallbacks: (() => void)[] = [];
  #stopped = false;
  #taken = 0;
  #committed = 0;

  /** @throws TallystickError DATA_DAMAGED, DIRECTORY_INVALID */
  constructor(parts: HistoryFeedParts) {
    this.#parts = parts;
    for (const partition of parts.partitions) {
      this.#places.set(partition, parts.history.place(partition));
      this.#pending.set(partition, []);
    }
  }

  /**
   * Begins to commit, when all entries of the log have been taken.
   *
   * @throws TallystickError LOG_CORRUPT where a history is ahead of its log, which so has lost what it had flushed
   */
  start(partitions: ReadonlyMap<number, Partition>, downstream: Downstream): void {
    for (const [number, { sequence }] of partitions) {
      const place = this.#placeOf(number);
      if (!isAfter(place, { watermark: sequence, items: 0 })) continue;
      const detail = `The log of partition ${number} ends at ${sequence}, its history is of ${place.watermark}.`;
      throw new TallystickError('LOG_CORRUPT', detail);
    }
    this.#downstream = downstream;
    this.#schedule();
  }

  /** Takes what the body emitted that a partition applied last. */
  take(number: number, partition: Partition): void {
    if (!partition.hasEmitted) return;
    const asOf = partition.sequence;
    const place = this.#placeOf(number);
    if (asOf <= place.watermark) return; // in replay
    const index = asOf === place.watermark + 1 ? place.items : 0;
    const rest = withoutEmitted(partition.emitted, index);
    const items = countEmitted(rest);
    if (items === 0) return;
    this.#pendingOf(number).push({ order: this.#taken++, asOf, index, items, bytes: rest.slice() });
    this.#bytes += rest.length;
    this.#items += items;
    this.#schedule();
  }

  /** To be called when the log has been flushed. */
  flushed(): void {
    if (this.#due || this.#items >= ITEMS_OF_A_COMMIT) this.#proceed();
  }

  /** Whether all is in that a partition emitted up to a sequence, which is flushed; else it makes haste. */
  isIn(partition: number, sequence: number): boolean {
    const [oldest] = this.#pendingOf(partition);
    if (!oldest || oldest.asOf > sequence) return true;
    this.#due = true;
    this.#proceed();
    return false;
  }

  /** What waits of a counter, which its history lacks. */
  rowsOf({ partition, slot, generation }: CounterKey): HistoryRow[] {
    return this.#pendingOf(partition).flatMap((pending) =>
      [...itemsOf(pending)].filter(
        (item): item is HistoryRow =>
          item.minutes !== undefined && item.slot === slot && item.generation === generation,
      ),
    );
  }

  /** Why nothing more should be emitted: STORAGE_FULL. */
  get obstacle(): TallystickError | undefined {
    return this.#obstacle;
  }

  /** Whether so much waits that nothing more should be emitted for a while. */
  get isFull(): boolean {
    return this.#bytes >= MOST_BYTES;
  }

  /** Bytes that wait to be committed. */
  get pendingBytes(): number {
    return this.#bytes;
  }

  /** Calls back once when it is no longer full, or has an obstacle. */
  whenRoom(callback: () => void): void {
    this.#roomCallbacks.push(callback);
  }

  /** For STATS. */
  describe(): StatsMap {
    const { usedBytes, fileBytes, rows } = this.#parts.history.stats();
    return {
      pendingItems: this.#items,
      pendingBytes: this.#bytes,
      committed: this.#committed,
      usedBytes,
      fileBytes,
      rows: { ...rows },
    };
  }

  /** Commits no more. Resolves when what it was committing is in. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#retry?.cancel();
    await this.#committing;
  }

  #schedule(): void {
    if (this.#timer || this.#stopped || !this.#downstream || this.#items === 0) return;
    this.#timer = this.#parts.clock.setTimer(GATHER_MILLISECONDS, () => {
      this.#timer = undefined;
      this.#due = true;
      this.#proceed();
    });
  }

  #proceed(): void {
    if (this.#committing || this.#retry || this.#stopped || !this.#downstream) return;
    const next = this.#nextPartition(this.#downstream);
    if (next === undefined) {
      this.#due = false;
      this.#schedule();
      return;
    }
    this.#committing = this.#commit(next, this.#downstream).catch((error: unknown) => this.#fail(error));
  }

  /** The partition whose oldest item waits longest of those that are flushed. */
  #nextPartition({ commit }: Downstream): number | undefined {
    let next: number | undefined;
    let first = Number.POSITIVE_INFINITY;
    for (const [number, [oldest]] of this.#pending) {
      if (!oldest || oldest.asOf > commit.flushedSequence(number) || oldest.order > first) continue;
      next = number;
      first = oldest.order;
    }
    return next;
  }

  async #commit(number: number, downstream: Downstream): Promise<void> {
    const { items, to } = this.#batch(number, downstream.commit.flushedSequence(number));
    const deadline = this.#parts.clock.setTimer(UNANSWERED_MILLISECONDS, () => {
      this.#fail(new TallystickError('STORAGE_FAILED', 'The history was not answered.'));
    });
    const outcome = await this.#parts.history.commit(number, to, items);
    deadline.cancel();
    this.#committing = undefined;
    if (this.#stopped) return;
    if (outcome.kind === 'flushed') this.#settled(number, to, items.length);
    else this.#refused(outcome);
  }

  /** The items of a partition to be committed next, and the place that they come to. */
  #batch(number: number, flushed: number): { readonly items: readonly HistoryItem[]; readonly to: HistoryPlace } {
    const items: HistoryItem[] = [];
    let to = this.#placeOf(number);
    let room = ITEMS_OF_A_COMMIT;
    for (const pending of this.#pendingOf(number)) {
      if (pending.asOf > flushed || room <= 0) break;
      for (const item of itemsOf(pending)) {
        items.push(item);
        to = placeOf(item);
        room -= item.minutes ? 1 : ITEMS_OF_ONE_GONE;
        if (room <= 0) break;
      }
      if (to.items === pending.index + pending.items) to = { watermark: pending.asOf, items: 0 };
    }
    return { items, to };
  }

  #settled(number: number, to: HistoryPlace, items: number): void {
    this.#places.set(number, to);
    this.#committed += items;
    this.#drop(this.#pendingOf(number), items);
    this.#obstacle = undefined;
    if (!this.isFull) this.#callBackForRoom();
    this.#downstream?.onCommitted();
    if (this.#due || this.#items >= ITEMS_OF_A_COMMIT) this.#proceed();
    else this.#schedule();
  }

  /** Drops the first items of what waits. */
  #drop(pending: Pending[], items: number): void {
    this.#items -= items;
    let left = items;
    for (let [oldest] = pending; oldest && left > 0; [oldest] = pending) {
      const dropped = Math.min(left, oldest.items);
      left -= dropped;
      const bytes = withoutEmitted(oldest.bytes, dropped);
      this.#bytes -= oldest.bytes.length - bytes.length;
      if (dropped === oldest.items) pending.shift();
      else pending[0] = { ...oldest, index: oldest.index + dropped, items: oldest.items - dropped, bytes };
    }
  }

  #refused(outcome: Exclude<AppendOutcome, { kind: 'flushed' }>): void {
    if (outcome.kind === 'unknown') {
      this.#fail(outcome.error);
      return;
    }
    this.#obstacle = new TallystickError('STORAGE_FULL', 'There is no room for the history.', { outcome: 'refused' });
    this.#callBackForRoom();
    this.#retry = this.#parts.clock.setTimer(FULL_RETRY_MILLISECONDS, () => {
      this.#retry = undefined;
      this.#due = true;
      this.#proceed();
    });
  }

  #fail(error: unknown): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#parts.onFailed(asTallystickError(error));
  }

  #callBackForRoom(): void {
    for (const callback of this.#roomCallbacks.splice(0)) callback();
  }

  #pendingOf(partition: number): Pending[] {
    return this.#pending.get(partition) ?? [];
  }

  #placeOf(partition: number): HistoryPlace {
    return this.#places.get(partition) ?? { watermark: 0, items: 0 };
  }
}

function* itemsOf({ asOf, index: first, bytes }: Pending): Generator<HistoryItem> {
  let index = first;
  for (const { slot, generation, hour, minutes } of decodeEmitted(bytes)) {
    const place = { slot, generation, asOf, index: index++ };
    yield minutes ? { ...place, hour, minutes } : place;
  }
}
