import type { AppendOutcome } from '../log/log.js';
import {
  BucketSums,
  type CounterKey,
  type HistoryRow,
  type Kept,
  MILLISECONDS,
  RESOLUTIONS,
  type Resolution,
  rowMilliseconds,
  type Sums,
  sumOf,
  UNITS,
} from './bucket.js';
import { after, isOf, keyOf, minuteKeyOf, partsOf, spanStart } from './key.js';
import { decodeState, encodeState, type PartitionState } from './partition-state.js';
import type { RollUp, RollUpPlanner, RollUpRequest } from './roll-up.js';
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
 * Exactly once: the kernel emits the same rows at the same sequences again when its log is replayed, and a partition has a
 * watermark, changed in the transaction that puts the rows. A row at or below it is in already.
 *
 * ```
 *  log flushed up to s   commit(partition, s, rows up to s)   a checkpoint at or after s
 * ```
 *
 * The rows of a sequence are of one commit, and only what the log has flushed is committed. Recovery may begin at a checkpoint
 * only if the rows that were emitted before it are in. So no watermark is ever beyond the end of the log: one that is says that
 * the log has lost what it had flushed, and new rows would be taken for old ones.
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

  /** The sequence up to which all rows of the partition are in. */
  watermark(partition: number): number {
    this.#tables.refresh();
    return this.#stateOf(partition).watermark;
  }

  /**
   * Puts the rows after the watermark, of which `asOf` becomes the new one. Nothing happens where it is reached already.
   *
   * @param rows all that the partition emitted after the watermark, up to and with the sequence `asOf`
   */
  commit(partition: number, asOf: number, rows: readonly HistoryRow[]): Promise<AppendOutcome> {
    const later = rows.find((row) => row.asOf > asOf);
    if (later) throw new RangeError(`A row of sequence ${later.asOf} in a commit up to ${asOf}.`);
    return this.#inTurn(async () => {
      const state = this.#currentState(partition);
      if (asOf <= state.watermark) return FLUSHED;
      const puts = this.#putsOf(
        partition,
        rows.filter((row) => row.asOf > state.watermark),
      );
      return this.#change(partition, { ...state, watermark: asOf }, puts, []);
    });
  }

  /**
   * What is kept of a counter in all days of UTC that `[from, to)` touches, in milliseconds since 1970.
   *
   * @throws TallystickError DATA_DAMAGED
   */
  read(counter: CounterKey, from: number, to: number): Kept {
    this.#tables.refresh();
    const { watermark } = this.#stateOf(counter.partition);
    const start = Math.max(0, Math.floor(from / MILLISECONDS.day) * MILLISECONDS.day);
    const end = Math.ceil(to / MILLISECONDS.day) * MILLISECONDS.day;
    const sums = new BucketSums();
    for (const resolution of RESOLUTIONS) {
      const span = rowMilliseconds(resolution);
      for (const { key, value } of rowsOf(this.#tables, counter, resolution, Math.floor(start / span), end / span)) {
        sums.addRow(resolution, partsOf(key).at, this.#codec.decode(resolution, key, value));
      }
    }
    return { watermark, buckets: sums.within(start, end) };
  }

  /**
   * Removes all rows of a counter, in several transactions where they are many: to be called again when it was not answered
   * `flushed`. Rows of the counter that are committed later stay.
   *
   * A counter that was deleted at a sequence is forgotten before the commit of that sequence, without its rows: where the process
   * dies between the two, replay deletes and forgets it again.
   */
  forget(counter: CounterKey): Promise<AppendOutcome> {
    return this.#inTurn(async () => {
      this.#tables.refresh();
      const removals = RESOLUTIONS.flatMap((resolution): Removal[] =>
        [...rowsOf(this.#tables, counter, resolution, 0, MAX_AT + 1)].map(({ key }) => ({ resolution, key })),
      );
      let outcome = FLUSHED;
      for (let at = 0; at < removals.length && outcome.kind === 'flushed'; at += REMOVED_AT_A_TIME) {
        const { watermark, revision } = this.#currentState(counter.partition);
        const some = removals.slice(at, at + REMOVED_AT_A_TIME);
        outcome = await this.#change(counter.partition, { watermark, revision: revision + 1 }, [], some);
      }
      return outcome;
    });
  }

  /**
   * Writes a roll-up: what was merged, and the removal of its sources, in one transaction. One that was computed before
   * another roll-up or a `forget` was written changes nothing, so a repeat changes nothing.
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

  /**
   * Takes the next step of the roll-up of a partition; undefined where nothing is old enough.
   *
   * @throws TallystickError DATA_DAMAGED
   */
  async rollUp(planner: RollUpPlanner, request: RollUpRequest): Promise<AppendOutcome | undefined> {
    const step = await planner.next(request);
    return step && this.replace(step);
  }

  stats(): HistoryStats {
    return this.#tables.stats();
  }

  /** Waits for the changes that were begun. */
  async close(): Promise<void> {
    await this.#last;
    await this.#tables.close();
  }

  /** Rows of the same counter, hour and sequence are one row. */
  #putsOf(partition: number, rows: readonly HistoryRow[]): Put[] {
    const sums = new Map<string, { readonly key: Uint8Array; minutes: Sums }>();
    for (const { slot, generation, hour, asOf, minutes } of rows) {
      const key = minuteKeyOf({ partition, slot, generation }, hour, asOf);
      const name = key.toString('latin1');
      const before = sums.get(name);
      sums.set(name, { key, minutes: before ? addedUp(before.minutes, minutes) : minutes });
    }
    return [...sums.values()].flatMap(({ key, minutes }): Put[] => {
      const value = this.#codec.encode('minute', key, minutes);
      return value ? [{ resolution: 'minute', key, value }] : [];
    });
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
