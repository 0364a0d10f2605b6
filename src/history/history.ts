import type { AppendOutcome } from '../log/log.js';
import { MILLISECONDS, RESOLUTIONS, type Resolution } from '../series/bucket.js';
import {
  BucketSums,
  type CounterKey,
  type Fineness,
  type HistoryItem,
  type HistoryPlace,
  isAfter,
  type Kept,
  placeOf,
  rowMilliseconds,
  type Sums,
  sumOf,
  UNITS,
} from './bucket.js';
import { droppedBefore } from './dropped.js';
import { after, isOf, keyOf, minuteKeyOf, partsOf, spanStart } from './key.js';
import { decodeState, encodeState, type PartitionState } from './partition-state.js';
import type { RollUp } from './roll-up.js';
import { RowCodec } from './row.js';
import type { Change, HistoryReader, HistoryStats, HistoryTables, Put, Removal, StoredRow } from './tables.js';

const FLUSHED: AppendOutcome = { kind: 'flushed' };
const MAX_AT = 0xffff_ffff;
/** Rows that are looked at from a place on: most often the counter's own, and the one that says where to go on. */
const LOOKED_AT = 2;
/** Rows that are removed in one transaction. */
const REMOVED_AT_A_TIME = 1_024;

/**
 * The history of the partitions of a lane: the minutes of closed hours as the kernel emits them, in time rolled up to hours
 * and days (roll-up.ts).
 *
 * Exactly once: the kernel emits the same items at the same sequences again when its log is replayed, and a partition has a
 * place, changed in the transaction that puts the rows. An item at or before it is in already.
 *
 * ```
 *  log flushed up to s   commit(partition, s, items up to s)   a checkpoint at or after s
 * ```
 *
 * Only what the log has flushed is committed. Recovery may begin at a checkpoint only if the items that were emitted before it are
 * in. So no place is ever beyond the end of the log: one that is says that the log has lost what it had flushed, and new items
 * would be taken for old ones.
 *
 * Changes are made one after the other, in the order of the calls.
 */
export class History {
  readonly #tables: HistoryTables;
  readonly #codec = new RowCodec();
  #last: Promise<unknown> = Promise.resolve();

  constructor(tables: HistoryTables) {
    this.#tables = tables;
  }

  /** Up to where what the partition emitted is in. */
  place(partition: number): HistoryPlace {
    const { watermark, items } = this.#currentState(partition);
    return { watermark, items };
  }

  /** The first instant of which everything is known of the counters of a partition, in milliseconds since 1970. */
  since(partition: number): number {
    return this.#currentState(partition).since;
  }

  /** The same of one counter, whose days may have been dropped. @throws TallystickError DATA_DAMAGED */
  sinceOf(counter: CounterKey): number {
    const since = this.since(counter.partition);
    return Math.max(since, droppedBefore(this.#tables, this.#codec, counter) * MILLISECONDS.day);
  }

  /** Begins the history of a partition that was not emitted to here: of what came before nothing is known. */
  begin(partition: number, watermark: number, since: number): Promise<AppendOutcome> {
    return this.#inTurn(() => this.#change(partition, { watermark, items: 0, revision: 0, since }, [], []));
  }

  /** Puts rows of another history of the partition as they are, into one that is not begun (`begin`). */
  adopt(partition: number, rows: readonly Put[]): Promise<AppendOutcome> {
    return this.#inTurn(() => {
      const state = this.#currentState(partition);
      return this.#change(partition, { ...state, revision: state.revision + 1 }, rows, []);
    });
  }

  /** Removes all rows of counters. */
  forget(partition: number, counters: readonly Omit<CounterKey, 'partition'>[]): Promise<AppendOutcome> {
    return this.#inTurn(() =>
      this.#remove(
        partition,
        counters.flatMap((counter) => this.#rowsOf({ partition, ...counter })),
      ),
    );
  }

  /**
   * Takes the items after the place of the partition, which becomes `to`. Nothing happens where that is reached already.
   *
   * @param items all that the partition emitted after its place, up to `to`
   */
  commit(partition: number, to: HistoryPlace, items: readonly HistoryItem[]): Promise<AppendOutcome> {
    const later = items.find((item) => isAfter(placeOf(item), to));
    if (later) throw new RangeError(`An item of sequence ${later.asOf} in a commit up to ${to.watermark}.`);
    return this.#inTurn(async () => {
      const state = this.#currentState(partition);
      if (!isAfter(to, state)) return FLUSHED;
      const fresh = items.filter((item) => isAfter(placeOf(item), state));
      const removals = this.#rowsOfForgotten(partition, fresh);
      const outcome = await this.#remove(partition, removals.splice(REMOVED_AT_A_TIME));
      if (outcome.kind !== 'flushed') return outcome;
      const { revision, since } = this.#currentState(partition);
      const next = { ...to, revision: removals.length > 0 ? revision + 1 : revision, since };
      return this.#change(partition, next, this.#putsOf(partition, fresh), removals);
    });
  }

  /**
   * What is kept of a counter in all days of UTC that `[from, to)` touches, in milliseconds since 1970. With `finest` hour its minutes are added up.
   *
   * @throws TallystickError DATA_DAMAGED
   */
  read(counter: CounterKey, from: number, to: number, finest: Fineness = 'minute'): Kept {
    this.#tables.refresh();
    const { watermark, items } = this.#stateOf(counter.partition);
    const start = Math.max(0, Math.floor(from / MILLISECONDS.day) * MILLISECONDS.day);
    const end = Math.ceil(to / MILLISECONDS.day) * MILLISECONDS.day;
    const sums = new BucketSums(finest);
    for (const resolution of RESOLUTIONS) {
      const span = rowMilliseconds(resolution);
      for (const { key, value } of rowsOf(this.#tables, counter, resolution, Math.floor(start / span), end / span)) {
        const { at } = partsOf(key);
        if (resolution === 'minute' && finest === 'hour') sums.addHour(at, this.#codec.sum(resolution, key, value));
        else sums.addRow(resolution, at, this.#codec.decode(resolution, key, value));
      }
    }
    return { watermark, items, buckets: sums.within(start, end) };
  }

  /**
   * Writes a roll-up: what was merged, and the removal of its sources, in one transaction. One that was computed before
   * another roll-up was written, or a counter forgotten, changes nothing, so a repeat changes nothing.
   */
  replace({ partition, revision, source, target, puts, removals }: RollUp): Promise<AppendOutcome> {
    return this.#inTurn(async () => {
      const state = this.#currentState(partition);
      if (state.revision !== revision) return FLUSHED;
      return this.#change(
        partition,
        { ...state, revision: revision + 1 },
        puts.map((row) => ({ resolution: target, ...row })),
        removals.map((key) => ({ resolution: source, key })),
      );
    });
  }

  stats(): HistoryStats {
    return this.#tables.stats();
  }

  /** Waits for the changes that were begun. */
  async close(): Promise<void> {
    await this.#last;
    await this.#tables.close();
  }

  /** The rows that items put: none of a counter that is gone by then; one of those of the same counter, hour and sequence. */
  #putsOf(partition: number, items: readonly HistoryItem[]): Put[] {
    const gone = new Set(items.filter(({ minutes }) => !minutes).map(counterName));
    const rows = new Map<string, { readonly key: Uint8Array; minutes: Sums }>();
    for (const item of items) {
      const counter = counterName(item);
      if (!item.minutes || gone.has(counter)) continue;
      const name = `${counter}.${item.hour}.${item.asOf}`;
      const before = rows.get(name);
      if (before) before.minutes = addedUp(before.minutes, item.minutes);
      else rows.set(name, { key: minuteKeyOf(partition, item), minutes: item.minutes });
    }
    return [...rows.values()].flatMap(({ key, minutes }): Put[] => {
      const value = this.#codec.encode('minute', key, minutes);
      return value ? [{ resolution: 'minute', key, value }] : [];
    });
  }

  #rowsOfForgotten(partition: number, items: readonly HistoryItem[]): Removal[] {
    return items.flatMap(({ slot, generation, minutes }) =>
      minutes ? [] : this.#rowsOf({ partition, slot, generation }),
    );
  }

  #rowsOf(counter: CounterKey): Removal[] {
    return RESOLUTIONS.flatMap((resolution): Removal[] =>
      [...rowsOf(this.#tables, counter, resolution, 0, MAX_AT + 1)].map(({ key }) => ({ resolution, key })),
    );
  }

  /** Removes rows that a counter no longer needs, of which there are more than the commit that is to come should take. */
  async #remove(partition: number, removals: readonly Removal[]): Promise<AppendOutcome> {
    let outcome = FLUSHED;
    for (let at = 0; at < removals.length && outcome.kind === 'flushed'; at += REMOVED_AT_A_TIME) {
      const state = this.#currentState(partition);
      const some = removals.slice(at, at + REMOVED_AT_A_TIME);
      outcome = await this.#change(partition, { ...state, revision: state.revision + 1 }, [], some);
    }
    return outcome;
  }

  #currentState(partition: number): PartitionState {
    this.#tables.refresh();
    return this.#stateOf(partition);
  }

  #stateOf(partition: number): PartitionState {
    return decodeState(partition, this.#tables.state(partition));
  }

  #change(
    partition: number,
    state: PartitionState,
    puts: Change['puts'],
    removals: Change['removals'],
  ): Promise<AppendOutcome> {
    return this.#tables.commit({ partition, state: encodeState(partition, state), puts, removals });
  }

  #inTurn(change: () => Promise<AppendOutcome>): Promise<AppendOutcome> {
    const turn = this.#last.then(change);
    // Who called gets the error; the next one only waits.
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

const counterName = ({ slot, generation }: HistoryItem): string => `${slot}.${generation}`;

function addedUp(a: Sums, b: Sums): Sums {
  return Array.from({ length: UNITS.minute }, (_, minute) => sumOf([a[minute], b[minute]]));
}

/** The rows of a counter in the spans `[from, to)` of a resolution: it jumps over the rows of all others. */
function* rowsOf(
  reader: HistoryReader,
  counter: CounterKey,
  resolution: Resolution,
  from: number,
  to: number,
): Generator<StoredRow> {
  const end = spanStart(counter.partition, Math.ceil(to));
  for (let start = keyOf(counter, from); Buffer.compare(start, end) < 0; ) {
    const looked = reader.range(resolution, start, end, LOOKED_AT);
    const own = looked.findIndex(({ key }) => !isOf(counter, partsOf(key)));
    yield* looked.slice(0, own < 0 ? LOOKED_AT : own);
    const last = looked.at(-1);
    if (!last || looked.length < LOOKED_AT) return;
    const stop = looked[own];
    start = stop ? placeAfter(counter, stop.key) : after(last.key);
  }
}

/** Where the next row of the counter may be, if that key is of another one. */
function placeAfter(counter: CounterKey, key: Uint8Array): Buffer {
  const { at } = partsOf(key);
  const sameSpan = keyOf(counter, at);
  if (Buffer.compare(sameSpan, key) > 0) return sameSpan;
  return at < MAX_AT ? keyOf(counter, at + 1) : spanStart(counter.partition + 1, 0);
}
