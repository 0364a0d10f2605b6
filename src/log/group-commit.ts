import type { Timer, TurnClock } from '../clock.js';
import { TallystickError } from '../errors.js';
import { CommitDelay } from './commit-delay.js';
import { Chain, Group } from './group.js';
import { type Histogram, histogram, microseconds, recordMilliseconds } from './histogram.js';
import type { AppendOutcome, HeadMark, Log, LogPlace, LogShape, SealedGroup } from './log.js';
import { OwnThread } from './own-thread.js';
import type { AuditItem, EntryHeader } from './record.js';

/** A group that the storage has not answered after this long will not be answered. */
const UNANSWERED_MILLISECONDS = 10_000;
const FULL_RETRY_MILLISECONDS = 500;

/** Is told once, synchronously: either that what it waits for is on the device, or that nobody can say. */
export interface FlushWaiter {
  flushed(): void;
  /** STORAGE_FULL: the entry stays in memory and is written when there is room. STORAGE_FAILED: the process stops. */
  unknown(error: TallystickError): void;
}

export interface GroupCommitOptions {
  readonly log: Log;
  readonly mark: HeadMark;
  readonly clock: TurnClock;
  readonly shape: LogShape;
  /** Where the replay of `log` ended. */
  readonly start: LogPlace;
  /** Whether some lane has failed: then nobody is told `flushed` any more. Read before every waiter. */
  readonly isPoisoned: () => boolean;
  /** Called once, before any waiter is told: the process must stop. */
  readonly onFailed: (error: TallystickError) => void;
  /** Called after each group, when its waiters have been told, with the milliseconds that it took. */
  readonly onFlushed?: (milliseconds: number) => void;
  /** Is told of appends within the call: while one takes long, this thread can't say so itself. */
  readonly watch?: AppendWatch;
  readonly groupBytes?: number;
}

/** Sees from another thread whether an append within the call ends. */
export interface AppendWatch {
  began(): void;
  ended(): void;
}

/** Hears of each group when no entry can be added any more, and when it is flushed and its waiters have been told. */
export interface GroupObserver {
  sealed(): void;
  flushed?(): void;
}

export interface GroupCommitStats {
  readonly groups: number;
  /** Groups that were held for those who had just been answered. */
  readonly delayed: number;
  /** Groups that were appended within the call, by the lane's own thread. */
  readonly within: number;
  readonly records: number;
  readonly entries: number;
  readonly bytes: number;
  /** Microseconds from the start of a group's append to its answer. */
  readonly latency: Histogram;
  /** Bytes of each group. */
  readonly groupSizes: Histogram;
  /** Entries that are not flushed: of the group that collects, and of the one that the storage has. */
  readonly openEntries: number;
  readonly flightEntries: number;
  /** Bytes of the records of the group that collects, as far as they are begun. */
  readonly openBytes: number;
  /** Who waits for a flush. */
  readonly waiters: number;
  /** Memory that both groups have. */
  readonly memoryBytes: number;
}

/** The group that the storage has, or that waits for room. */
interface Flight {
  readonly group: Group;
  readonly sealed: SealedGroup;
  /** Of its records. */
  readonly bytes: number;
  waiters: FlushWaiter[];
  started: number;
  timer: Timer;
}

/**
 * Group commit of one lane, self-clocked: while one group is in flight the next one collects, so that throughput
 * rises with load and the latency at low load is that of one flush (P. Helland et al., "Group Commit Timers and High
 * Volume Transaction Systems", 1987, with the timer replaced by the flush itself). After a flush the group that collects may be
 * held for a moment (commit-delay.ts).
 *
 * ```
 *             append            flushed: mark, waiters
 *  running ------------> running
 *     |  \__ not-written __> full: waiters are told; the same bytes again every 500 ms __ flushed __> running
 *     \____ unknown, no answer for 10 s, mark not writable, poisoned __> failed, for good
 * ```
 */
export class GroupCommit {
  readonly #options: GroupCommitOptions;
  /** By partition, the last sequence. */
  readonly #appended: (number | undefined)[] = [];
  readonly #flushed: (number | undefined)[] = [];
  readonly #latency = microseconds();
  readonly #groupSizes = histogram(1_073_741_824);
  #flushedPlace: LogPlace;
  #open: Group;
  #spare: Group | undefined;
  #openWaiters: FlushWaiter[] = [];
  #flight: Flight | undefined;
  #scheduled = false;
  readonly #delay: CommitDelay;
  readonly #ownThread = new OwnThread();
  /** Of the open group while it is held for more. */
  #delayTimer: Timer | undefined;
  readonly #observers: GroupObserver[] = [];
  #full: TallystickError | undefined;
  #blocked = false;
  #blockedBy: TallystickError | undefined;
  #failure: TallystickError | undefined;
  #roomCallbacks: (() => void)[] = [];
  #drains: { resolve: () => void; reject: (error: TallystickError) => void }[] = [];
  #groups = 0;
  #delayed = 0;
  #within = 0;
  #records = 0;
  #entries = 0;
  #bytes = 0;

  constructor(options: GroupCommitOptions) {
    this.#options = options;
    this.#delay = new CommitDelay(options.clock);
    this.#flushedPlace = options.start;
    const chain = new Chain(options.shape, options.start);
    this.#open = new Group(chain, options.groupBytes);
    this.#spare = new Group(chain, options.groupBytes);
    for (const partition of options.shape.partitions) {
      const sequence = options.start.heads.get(partition)?.sequence ?? 0;
      this.#appended[partition] = sequence;
      this.#flushed[partition] = sequence;
    }
  }

  /** False while the disk is full and after a failure: the lane then refuses writes before it applies them. */
  get writable(): boolean {
    return this.obstacle === undefined;
  }

  /** Why `writable` is false: STORAGE_FULL or STORAGE_FAILED. */
  get obstacle(): TallystickError | undefined {
    return this.#unflushable ?? this.#blockedBy;
  }

  /** Why what was appended is not flushed for a while, or never. */
  get #unflushable(): TallystickError | undefined {
    return this.#failure ?? this.#full;
  }

  /** Whether an entry with a body of that many bytes has room in the open group, and is wanted there. */
  canAppend(partition: number, bodyBytes: number): boolean {
    return !this.#failure && !this.#blocked && this.#open.fits(partition, bodyBytes);
  }

  /**
   * Wants no more entries until `unblock`; what was appended is flushed all the same. With an obstacle it is not `writable`
   * either, so that requests are refused instead of waiting.
   */
  block(obstacle?: TallystickError): void {
    this.#blocked = true;
    this.#blockedBy = obstacle;
    if (obstacle) this.#callBackForRoom();
  }

  unblock(): void {
    this.#blocked = false;
    this.#blockedBy = undefined;
    this.#callBackForRoom();
  }

  /**
   * Calls back once when an empty group has been opened, or the disk has become full and there will be none for a while;
   * never after a failure. For the lane that could not append, and asks again.
   */
  whenRoom(callback: () => void): void {
    if (this.#open.entries === 0 && this.writable && !this.#blocked) this.#options.clock.endOfTurn(callback);
    else {
      this.#roomCallbacks.push(callback);
      this.#schedule(); // a group that is held is so for nobody who finds no room in it
    }
  }

  /**
   * Copies an entry into the open group, whose commit starts at the end of the turn if none is in flight.
   *
   * @returns the entry's sequence in its partition
   * @throws TallystickError OVERLOADED if it does not fit, STORAGE_FAILED after a failure.
   */
  append(partition: number, header: EntryHeader, body: Uint8Array, tail?: Uint8Array): number {
    if (this.#failure) throw this.#failure;
    const sequence = this.appendedSequence(partition) + 1;
    this.#open.append(partition, sequence, header, body, tail);
    this.#appended[partition] = sequence;
    this.#delay.came();
    this.#schedule();
    return sequence;
  }

  /**
   * Adds an audit item to the group of the entry that was appended last. The item's bytes belong to the log from now
   * on.
   */
  addAudit(item: AuditItem): void {
    this.#open.addAudit(item);
  }

  appendedSequence(partition: number): number {
    return sequenceOf(this.#appended, partition);
  }

  flushedSequence(partition: number): number {
    return sequenceOf(this.#flushed, partition);
  }

  /** The end of the last flushed group. */
  get flushedPlace(): LogPlace {
    return this.#flushedPlace;
  }

  /**
   * Tells the waiter when the entry of that sequence, which must have been appended, is flushed: at once if it is.
   * The waiters of a group are told in the order in which they came.
   */
  waitFlushed(partition: number, sequence: number, waiter: FlushWaiter): void {
    if (sequence > this.appendedSequence(partition)) {
      throw new TallystickError('INVALID_ARGUMENT', `Sequence ${sequence} of partition ${partition} is not appended.`);
    }
    if (sequence <= this.flushedSequence(partition)) this.#tell(waiter);
    else if (sequence <= (this.#flight?.sealed.heads.get(partition)?.sequence ?? 0)) this.#wait(waiter, this.#flight);
    else this.#wait(waiter, undefined);
  }

  /** Tells the observer of all groups from now on. */
  observe(observer: GroupObserver): void {
    this.#observers.push(observer);
  }

  /** Tells the waiter when everything that has been appended is flushed. */
  waitAll(waiter: FlushWaiter): void {
    if (this.#open.entries > 0) this.#wait(waiter, undefined);
    else if (this.#flight) this.#wait(waiter, this.#flight);
    else this.#tell(waiter);
  }

  /**
   * Resolves when everything that has been appended is flushed, however long the disk is full.
   *
   * @throws TallystickError STORAGE_FAILED
   */
  drain(): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (!this.#flight && this.#open.entries === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#drains.push({ resolve, reject });
    });
  }

  /** Gives the memory of the groups back where nothing is in them; they take it again with the next entry. */
  releaseMemory(): void {
    if (this.#flight || this.#open.entries > 0) return;
    this.#open.releaseMemory();
    this.#spare?.releaseMemory();
  }

  stats(): GroupCommitStats {
    return {
      groups: this.#groups,
      delayed: this.#delayed,
      within: this.#within,
      records: this.#records,
      entries: this.#entries,
      bytes: this.#bytes,
      latency: this.#latency,
      groupSizes: this.#groupSizes,
      openEntries: this.#open.entries,
      flightEntries: this.#flight?.sealed.entries ?? 0,
      openBytes: this.#open.usedBytes,
      waiters: this.#openWaiters.length + (this.#flight?.waiters.length ?? 0),
      memoryBytes: [this.#open, this.#spare, this.#flight?.group].reduce(
        (sum, group) => sum + (group?.memoryBytes ?? 0),
        0,
      ),
    };
  }

  #wait(waiter: FlushWaiter, flight: Flight | undefined): void {
    const obstacle = this.#unflushable;
    if (obstacle) waiter.unknown(obstacle);
    else if (flight) flight.waiters.push(waiter);
    else this.#openWaiters.push(waiter);
  }

  /** Tells a waiter that what it waits for is flushed, unless the process is about to stop. */
  #tell(waiter: FlushWaiter): void {
    if (!this.#failure && this.#options.isPoisoned()) this.#fail(failed('Another lane has failed.'));
    if (this.#failure) waiter.unknown(this.#failure);
    else waiter.flushed();
  }

  #schedule(): void {
    if (this.#scheduled || this.#flight || this.#open.entries === 0) return;
    this.#scheduled = true;
    this.#options.clock.endOfTurn(() => this.#endTurn());
  }

  #endTurn(): void {
    this.#scheduled = false;
    if (this.#flight || this.#failure || this.#open.entries === 0) return;
    const left = this.#roomCallbacks.length > 0 ? 0 : this.#delay.left();
    if (left === 0) this.#start();
    else this.#hold(left);
  }

  #hold(milliseconds: number): void {
    if (!this.#delayTimer) {
      this.#delayed++;
      this.#delayTimer = this.#options.clock.setTimer(milliseconds, () => this.#start());
    }
    if (this.#delay.isReturning) this.#schedule();
  }

  #start(): void {
    this.#delayTimer?.cancel();
    this.#delayTimer = undefined;
    const next = this.#spare;
    if (this.#failure || !next || this.#open.entries === 0) return;
    const group = this.#open;
    const sealed = group.seal();
    const flight: Flight = {
      group,
      sealed,
      bytes: sealed.end.bytes - this.#flushedPlace.bytes,
      waiters: this.#openWaiters,
      started: 0,
      timer: NO_TIMER,
    };
    this.#flight = flight;
    this.#open = next;
    this.#spare = undefined;
    this.#openWaiters = [];
    for (const observer of this.#observers) observer.sealed();
    this.#send(flight);
    this.#callBackForRoom();
  }

  #send(flight: Flight): void {
    const { sealed, bytes, waiters } = flight;
    // Where somebody does not wait for the flush, it is not to be waited for in this thread
    const isAwaited = waiters.length >= sealed.entries;
    if (isAwaited && this.#ownThread.takes(bytes)) {
      this.#options.clock.afterTurn(() => this.#sendNow(flight));
    } else this.#sendAway(flight);
  }

  /** In this thread, where the log can do that. */
  #sendNow(flight: Flight): void {
    if (this.#failure) return;
    const { clock, log, watch } = this.#options;
    flight.started = clock.monotonicMilliseconds();
    try {
      watch?.began();
      const outcome = log.appendNow(flight.sealed);
      watch?.ended();
      if (!outcome) return this.#sendAway(flight);
      this.#within++;
      this.#settle(flight, outcome);
    } catch (error) {
      this.#fail(failed(THREW, error));
    }
  }

  #sendAway(flight: Flight): void {
    const { clock, log } = this.#options;
    flight.started = clock.monotonicMilliseconds();
    flight.timer = clock.setTimer(UNANSWERED_MILLISECONDS, () => {
      this.#fail(failed(`Group ${flight.sealed.group} was not answered for ${UNANSWERED_MILLISECONDS / 1_000} s.`));
    });
    log
      .append(flight.sealed)
      .then((outcome) => this.#settle(flight, outcome))
      .catch((error: unknown) => this.#fail(failed(THREW, error)));
  }

  #settle(flight: Flight, outcome: AppendOutcome): void {
    flight.timer.cancel();
    if (this.#failure) return;
    if (outcome.kind === 'flushed') this.#complete(flight);
    else if (outcome.kind === 'not-written') this.#retryLater(flight, outcome.error);
    else this.#fail(outcome.error);
  }

  #complete({ group, sealed, bytes, started, waiters }: Flight): void {
    const { clock, mark } = this.#options;
    const now = clock.monotonicMilliseconds();
    const milliseconds = now - started;
    recordMilliseconds(this.#latency, milliseconds);
    this.#ownThread.flushed(bytes, milliseconds);
    try {
      mark.write(sealed);
    } catch (error) {
      this.#fail(failed('The head mark could not be written.', error));
      return;
    }
    this.#count(sealed, bytes);
    this.#flushedPlace = sealed.end;
    for (const [partition, { sequence }] of sealed.heads) this.#flushed[partition] = sequence;
    group.reset();
    this.#spare = group;
    this.#flight = undefined;
    this.#full = undefined;
    this.#delay.flushed(now, milliseconds, waiters.length);
    for (const waiter of waiters) this.#tell(waiter);
    // After the waiters, so that at the end of this turn their answers go out before the next group is sealed.
    this.#scheduled = true;
    clock.endOfTurn(() => {
      this.#delay.answered();
      this.#endTurn();
    });
    if (!this.#failure) for (const observer of this.#observers) observer.flushed?.();
    if (!this.#failure) this.#options.onFlushed?.(milliseconds);
    if (this.#open.entries > 0 || this.#failure) return;
    for (const { resolve } of this.#drains.splice(0)) resolve();
    this.#callBackForRoom();
  }

  /** There is no room: says so once to all who wait, and tries the same bytes again until there is. */
  #retryLater(flight: Flight, error: TallystickError): void {
    const { clock } = this.#options;
    const waiters = flight.waiters.concat(this.#openWaiters);
    const isNew = this.#full === undefined;
    flight.waiters = [];
    this.#openWaiters = [];
    this.#full = new TallystickError('STORAGE_FULL', undefined, { outcome: 'unknown', cause: error });
    flight.timer = clock.setTimer(FULL_RETRY_MILLISECONDS, () => this.#send(flight));
    for (const waiter of waiters) waiter.unknown(this.#full);
    if (isNew) this.#callBackForRoom();
  }

  #fail(error: TallystickError): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#flight?.timer.cancel();
    this.#delayTimer?.cancel();
    const waiters = (this.#flight?.waiters ?? []).concat(this.#openWaiters);
    this.#openWaiters = [];
    this.#roomCallbacks = [];
    this.#options.onFailed(error);
    for (const waiter of waiters) waiter.unknown(error);
    for (const { reject } of this.#drains.splice(0)) reject(error);
  }

  #callBackForRoom(): void {
    for (const callback of this.#roomCallbacks.splice(0)) callback();
  }

  #count({ records, entries }: SealedGroup, bytes: number): void {
    this.#groups++;
    this.#records += records.length;
    this.#entries += entries;
    this.#bytes += bytes;
    this.#groupSizes.recordValue(bytes);
  }
}

const THREW = 'The log or a waiter threw.';
const NO_TIMER: Timer = { cancel: () => {} };

function sequenceOf(sequences: readonly (number | undefined)[], partition: number): number {
  const sequence = sequences[partition];
  if (sequence === undefined) {
    throw new TallystickError('INVALID_ARGUMENT', `Partition ${partition} is not one of this lane.`);
  }
  return sequence;
}

function failed(detail: string, cause?: unknown): TallystickError {
  return new TallystickError('STORAGE_FAILED', detail, { cause });
}
