import { TallystickError } from '../errors.js';
import type { StatsAnswer, StatsRequest } from '../protocol/control.js';
import type { Seen } from '../protocol/uniques.js';
import { type BatchResult, type CallOptions, type FailedOperation, NO_OPTIONS, type ToValue } from './call.js';
import type { Counter } from './counter.js';
import type { Counters } from './counters.js';
import { type Expiry, readExpiries, type ToldExpiry } from './expiry.js';
import {
  type Following,
  type FollowRates,
  type FollowUniques,
  type FollowWindows,
  following,
  followsReadings,
  type UniquesReading,
} from './following.js';
import {
  HistoryReader,
  type PastValue,
  type RangeOptions,
  type RangeReading,
  type Series,
  type SeriesOptions,
} from './history.js';
import type { Instant } from './instant.js';
import { type ListedCounter, type ListedPage, Lister, type ListOptions, type ListPageOptions } from './lister.js';
import type { Position } from './position.js';
import { Reader, type Reading, type ReadOptions } from './reader.js';
import type { Statistics } from './sender.js';
import type { Session } from './session.js';
import type { CountedOnce, Item, OnceOptions, SeeOptions } from './sightings.js';
import { type SubscribeOptions, Subscription } from './subscription.js';
import { type Uniques, type UniquesOptions, UniquesReader } from './uniques.js';
import { type WindowOptions, type WindowReading, Windows } from './windows.js';
import type {
  BatchOperation,
  BatchOptions,
  BatchToOptions,
  Deleted,
  DeleteOptions,
  IncrementOptions,
  SetOptions,
} from './write-options.js';
import { type BatchAnswer, Writer } from './writer.js';

/** Options that ask for what failed and no values. */
type WithoutValues<O> = O & { readonly values: false };
type WithValues<O> = O & { readonly values?: true };

/**
 * A connection to a server. Calls batch themselves, survive lost connections and crashes of the server, and
 * happen once. All errors are TallystickErrors; `outcome` says what became of the operation.
 */
export class Client<V extends bigint | number = bigint> implements AsyncDisposable {
  readonly #session: Session;
  readonly #writer: Writer<V>;
  readonly #reader: Reader<V>;
  readonly #lister: Lister<V>;
  readonly #uniques: UniquesReader;
  readonly #windows: Windows<V>;
  readonly #history: HistoryReader<V>;
  readonly #toValue: ToValue<V>;
  readonly #timeout: number;
  #closing: Promise<void> | undefined;

  /** Use `connect` (connect.ts). */
  constructor(session: Session, toValue: ToValue<V>, timeout: number) {
    this.#session = session;
    this.#toValue = toValue;
    this.#timeout = timeout;
    this.#writer = new Writer(session, toValue, timeout);
    this.#reader = new Reader(session, toValue, timeout);
    this.#lister = new Lister(session, toValue, timeout);
    this.#uniques = new UniquesReader(session, timeout);
    this.#windows = new Windows(session, toValue, timeout);
    this.#history = new HistoryReader(session, toValue, timeout);
  }

  /** How many partitions the server has. */
  get partitions(): number {
    return this.#session.partitions;
  }

  /** For each partition the cursor of the producer's last batch that had one, as of the moment of connecting. */
  get cursors(): ReadonlyMap<number, Uint8Array> {
    return this.#session.cursors;
  }

  get statistics(): Readonly<Statistics> {
    return this.#session.statistics;
  }

  /** The partition of a name. Throws NAME_INVALID. */
  partitionOf(name: string): number {
    return this.#writer.partitionOf(name);
  }

  /**
   * Adds to a counter, 1 unless given, and answers its new value. Of a name whose class is relaxed, what is called before a batch goes out is sent as one
   * sum unless `options` say more than how long to wait; each call is told the value at its place.
   */
  increment(name: string, delta: bigint | number = 1, options: IncrementOptions = NO_OPTIONS): Promise<V> {
    return this.#writer.increment(name, delta, options);
  }

  /** Subtracts from a counter, 1 unless given, and answers its new value. */
  decrement(name: string, delta: bigint | number = 1, options: IncrementOptions = NO_OPTIONS): Promise<V> {
    return this.#writer.increment(name, -delta, options);
  }

  /**
   * Adds to a counter, 1 unless given, unless the item was counted under its name already within that time: a view once for each visitor and day, exactly. The
   * counter's class says for how long (`once`) and how many items it has at a time: one more is refused with ITEMS_FULL, and none is forgotten early. A
   * call that failed can be made again.
   */
  incrementOnce(name: string, item: Item, options: OnceOptions = {}): Promise<CountedOnce<V>> {
    return this.#writer.once(name, item, options);
  }

  /**
   * Many increments at once; answers a result or an error for each. `atomic` needs names of one partition
   * (INVALID_ARGUMENT), which a common `{tag}` in the names gives. With `values: false` it answers only what failed.
   */
  batch(
    operations: readonly BatchOperation[],
    options: WithoutValues<BatchOptions>,
  ): Promise<readonly FailedOperation[]>;
  batch(operations: readonly BatchOperation[], options?: WithValues<BatchOptions>): Promise<BatchResult<V>>;
  batch(operations: readonly BatchOperation[], options: BatchOptions = {}): Promise<BatchAnswer<V>> {
    return this.#writer.batch(operations, options);
  }

  /**
   * One batch to one partition, which must own all names (WRONG_PARTITION); with a cursor it is moved by the same
   * write, also without operations.
   */
  batchTo(
    partition: number,
    operations: readonly BatchOperation[],
    options: WithoutValues<BatchToOptions>,
  ): Promise<readonly FailedOperation[]>;
  batchTo(
    partition: number,
    operations: readonly BatchOperation[],
    options?: WithValues<BatchToOptions>,
  ): Promise<BatchResult<V>>;
  batchTo(
    partition: number,
    operations: readonly BatchOperation[],
    options: BatchToOptions = {},
  ): Promise<BatchAnswer<V>> {
    return this.#writer.batchTo(partition, operations, options);
  }

  /** The value of a counter; 0 where it was never written. */
  get(name: string, options: ReadOptions = NO_OPTIONS): Promise<V> {
    return this.#reader.get(name, options);
  }

  /** The value of one or more counters and what it is worth. Several are no consistent cut. */
  read(name: string, options?: ReadOptions): Promise<Reading<V>>;
  read(names: readonly string[], options?: ReadOptions): Promise<Reading<V>[]>;
  async read(names: string | readonly string[], options: ReadOptions = {}): Promise<Reading<V> | Reading<V>[]> {
    if (typeof names !== 'string') return this.#reader.read(names, options);
    const [reading] = await this.#reader.read([names], options);
    return reading as Reading<V>;
  }

  /**
   * What the last so long has changed counters by: `'10s'`, `'5m'`, `'1h'`, `'1d'`, any duration, or milliseconds. Up to a minute it is known to a
   * second where the class of a counter keeps seconds. Throws NOT_TRACKED where it keeps no such window, or does not know all of it yet.
   */
  window(name: string, length: string | number, options?: WindowOptions): Promise<WindowReading<V>>;
  window(names: readonly string[], length: string | number, options?: WindowOptions): Promise<WindowReading<V>[]>;
  async window(
    names: string | readonly string[],
    length: string | number,
    options: WindowOptions = {},
  ): Promise<WindowReading<V> | WindowReading<V>[]> {
    if (typeof names !== 'string') return this.#windows.read(names, length, options);
    const [reading] = await this.#windows.read([names], length, options);
    return reading as WindowReading<V>;
  }

  /** By how much a counter changes a second, over the last so long: a minute unless given. Throws as `window` does. */
  async rate(name: string, length: string | number = '1m', options: WindowOptions = {}): Promise<number> {
    return (await this.window(name, length, options)).rate;
  }

  /**
   * What a counter changed by in each step of a time: `series('views:/', { from: '2026-11-01', step: '1d', zone: 'Europe/Berlin' })`. The first and the
   * last step are whole. A point is exact for the time that it names, or says that it is not. Throws NOT_TRACKED where the counter's class keeps no
   * history, or does not know that time.
   */
  series(name: string, options: SeriesOptions): Promise<Series<V>> {
    return this.#history.series(name, options);
  }

  /** What a counter changed by in a time, as one point. Throws as `series` does. */
  range(name: string, options: RangeOptions): Promise<RangeReading<V>> {
    return this.#history.range(name, options);
  }

  /**
   * The value that a counter had: all that was counted before an instant, by the times that increments brought. Throws as `series` does.
   */
  valueAt(name: string, time: Instant, options: ReadOptions = {}): Promise<PastValue<V>> {
    return this.#history.valueAt(name, time, options);
  }

  /**
   * Says that an item was seen under a name, or several were: which were new. A name counts each of its items once (`uniques`); its class must keep
   * uniques, else NOT_TRACKED. Seeing an item again changes nothing, so a call that failed can be made again.
   */
  see(name: string, item: Item, options?: SeeOptions): Promise<Seen>;
  see(name: string, items: readonly Item[], options?: SeeOptions): Promise<Seen[]>;
  async see(name: string, items: Item | readonly Item[], options: SeeOptions = {}): Promise<Seen | Seen[]> {
    if (typeof items !== 'string' && !(items instanceof Uint8Array)) return this.#writer.see(name, items, options);
    const [seen] = await this.#writer.see(name, [items], options);
    return seen as Seen;
  }

  /**
   * How many different items were seen under a name, under each of several, or with `union` under any of them: exactly, or by an estimate that
   * says so; with `window` in its last hours or days. Several are no consistent cut. NOT_TRACKED where the class of a name keeps no uniques.
   */
  uniques(name: string, options?: UniquesOptions): Promise<Uniques>;
  uniques(names: readonly string[], options: UniquesOptions & { readonly union: true }): Promise<Uniques>;
  uniques(names: readonly string[], options?: UniquesOptions & { readonly union?: false }): Promise<Uniques[]>;
  async uniques(
    names: string | readonly string[],
    options: UniquesOptions & { readonly union?: boolean } = {},
  ): Promise<Uniques | Uniques[]> {
    if (typeof names === 'string') return this.#uniques.union([names], options);
    return options.union ? this.#uniques.union(names, options) : this.#uniques.each(names, options);
  }

  /**
   * Brings all items of some names under another one, as if it had seen them, and answers how many different ones it has then. The names stay as they
   * are; what they see meanwhile may be missed. Merging again changes nothing. Of more than 16,384 items of a partition only their sketch comes over, so that
   * the number is an estimate. MEMORY_FULL where some may be missing.
   */
  async merge(
    name: string,
    names: readonly string[],
    options: CallOptions = {},
  ): Promise<{ readonly count: number; readonly exact: boolean }> {
    let merged: { count: number; exact: boolean } | undefined;
    for (const items of await this.#uniques.items(names, options)) {
      merged = await this.#writer.merge(name, items, options);
    }
    return merged ?? this.#uniques.union([name], options);
  }

  /** Sets a counter and answers the value before. Durable, and written to the audit log with its reason. */
  set(name: string, value: bigint | number, options: SetOptions): Promise<{ readonly previous: V }> {
    return this.#writer.set(name, value, options);
  }

  /**
   * Deletes a counter and answers the value that it had. Durable, and written to the audit log with its reason. What is
   * added to the name later makes a new counter, which begins at 0.
   */
  delete(name: string, options: DeleteOptions): Promise<Deleted<V>> {
    return this.#writer.delete(name, options);
  }

  /**
   * Says when a counter ends by itself, and answers when it does now. At its end it is as if it were deleted: its name begins at 0 again. By a time
   * that is past it ends at once. Durable.
   */
  expire(name: string, expiry: Expiry, options: CallOptions = {}): Promise<ToldExpiry> {
    return this.#writer.expire(name, expiry, options);
  }

  /** When a counter, or each of several, ends by itself. Several are no consistent cut. */
  expiry(name: string, options?: ReadOptions): Promise<ToldExpiry>;
  expiry(names: readonly string[], options?: ReadOptions): Promise<ToldExpiry[]>;
  async expiry(names: string | readonly string[], options: ReadOptions = {}): Promise<ToldExpiry | ToldExpiry[]> {
    const asked = typeof names === 'string' ? [names] : names;
    const told = await readExpiries(this.#session, asked, options, this.#timeout);
    return typeof names === 'string' ? (told[0] as ToldExpiry) : told;
  }

  /**
   * The counters whose names begin with a prefix, all unless given, in no order. One that exists as long as the listing
   * lasts comes once; one that is created or deleted meanwhile may come or not. What is shown is flushed unless
   * `read` is `latest`. Throws NAME_INVALID for a prefix that is no text or too long, EPOCH_MISMATCH where the data
   * directory was replaced meanwhile.
   */
  list(prefix = '', options: ListOptions = {}): AsyncIterableIterator<ListedCounter<V>> {
    return this.#lister.list(prefix, options);
  }

  /**
   * The windows, rates or numbers of unique items of names, asked for at each interval: first all, then those whose number has changed, by what was written or
   * by the time that passed: `for await (const { name, value } of client.subscribe({ names, window: '5m' }))`. What is not tracked ends it (NOT_TRACKED).
   */
  subscribe(options: FollowWindows | FollowRates): Following<WindowReading<V>>;
  subscribe(options: FollowUniques): Following<UniquesReading>;
  /**
   * The values of counters and then what becomes of them, as events: `for await (const event of client.subscribe({ prefix: 'views:' }))`, or
   * `client.subscribe({ names }).run({ onChange, onReset })`. What it tells is flushed; lost connections and restarts of the server leave no gap
   * that is not told (`reset`). Throws INVALID_ARGUMENT, NAME_INVALID, CLOSED.
   */
  subscribe(options: SubscribeOptions): Subscription<V>;
  subscribe(
    options: SubscribeOptions | FollowWindows | FollowRates | FollowUniques,
  ): Subscription<V> | Following<WindowReading<V>> | Following<UniquesReading> {
    if (followsReadings(options))
      return following({ session: this.#session, windows: this.#windows, uniques: this.#uniques }, options);
    return new Subscription(this.#session, this.#toValue, (name) => this.partitionOf(name), options);
  }

  /**
   * A part of such a listing, and where the next one begins: for those who cannot hold a listing open. Throws as `list` does, INVALID_ARGUMENT for a
   * cursor that is none.
   */
  listPage(prefix = '', options: ListPageOptions = {}): Promise<ListedPage<V>> {
    return this.#lister.page(prefix, options);
  }

  /** The handle of a counter that is added to without waiting. Throws NAME_INVALID, CLOSED. */
  counter(name: string): Counter {
    return this.#writer.counter(name);
  }

  /**
   * Counters that are added to by their index without waiting: the way to add to very many. Throws NAME_INVALID, CLOSED.
   */
  counters(names: readonly string[]): Counters {
    return this.#writer.counters(names);
  }

  /**
   * Resolves when everything called before is durable, with a position that shows it. Rejects with a FlushError that
   * lists the increments of `add` that failed since the last flush, with TIMEOUT where some are still on their way.
   */
  flush(options: CallOptions = {}): Promise<Position> {
    return this.#writer.flush(options);
  }

  /** Resolves when `add` may go on. */
  drain(options: CallOptions = {}): Promise<void> {
    return this.#writer.drain(options);
  }

  /** How far all partitions are flushed, once everything that the server has applied is. */
  sync(options: CallOptions = {}): Promise<Position> {
    return this.#reader.sync(options);
  }

  /** What each lane of the server tells about itself; with `stateHash` also a hash of the memory of each partition. */
  stats(options: CallOptions & StatsRequest = {}): Promise<StatsAnswer[]> {
    return this.#reader.stats(options);
  }

  /** Flushes, within the timeout, and disconnects in any case. Rejects as `flush` does. Later calls reject CLOSED. */
  close(options: CallOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(options: CallOptions): Promise<void> {
    const session = this.#session;
    let flushError: TallystickError | undefined;
    if (!session.isClosed) {
      await this.#writer.finalFlush(options).catch((error: TallystickError) => {
        flushError = error;
      });
      session.end(new TallystickError('CLOSED', undefined, { outcome: 'unknown' }));
    }
    const error = session.failures.take(flushError ?? session.closedBy) ?? flushError;
    if (error) throw error;
  }
}
