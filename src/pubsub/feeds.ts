import type { Clock, Timer } from '../clock.js';
import { type ErrorCode, TallystickError } from '../errors.js';
import type { Partition } from '../partition/partition.js';
import { ByteWriter } from '../protocol/bytes.js';
import type { FrameView } from '../protocol/frame.js';
import { Flag, Opcode } from '../protocol/opcode.js';
import { decodeTail, encodeTailAnswer, type TailRequest } from '../protocol/tail.js';
import { bySource, canTake, type Entry, isNew } from './entry.js';
import { type Feed, FRAME_BYTES } from './feed.js';
import { MOST_GATHERED } from './gathered.js';
import type { Hindsight } from './hindsight.js';
import { NameFeed } from './name-feed.js';
import { PartitionFeeds } from './partition-feeds.js';
import { PrefixFeed } from './prefix-feed.js';
import { Pulses } from './pulses.js';
import type { Subscriber } from './subscriber.js';
import { Turns } from './turns.js';

/** What is sent in one turn to those who are told little, and to the others: so many frames, of so many bytes. The requests of writers come between. */
const FRAMES_OF_A_TURN = 64;
const BYTES_OF_A_TURN = 2 * FRAME_BYTES;
/** When a turn for the others has taken so long, what is left of it comes in the next one. */
const MOST_MILLISECONDS = 1;
/** What is done for readers whose snapshots begin, and that have said nothing yet, counts so many times: there may be very many, and some may never read. */
const TIMES_OF_NEW = 3;
/** About what a name takes when it is told first. */
const FIRST_BYTES = 8;
/** A lane counts as written to for so long after each write. */
const WRITTEN_MILLISECONDS = 100;
/** Below so many names that wait, and below those of a step, the next step of a snapshot is made. */
const STEP_BELOW = 128;
/** After this long it is looked again whether a client has taken what it was sent. */
const CLOGGED_MILLISECONDS = 20;
/** After a reader has taken nothing for so long nothing more is kept for it, until it does. */
const PATIENCE_MILLISECONDS = 1_000;
/** A feed whose reader has taken nothing for so long ends. */
const STALLED_MILLISECONDS = 30_000;
/** How often it is looked whether either has passed. */
const STALLED_LOOK_MILLISECONDS = 250;
/** A feed is told at least this often how far its partition has come, so that it can be resumed from there. */
const BEAT_MILLISECONDS = 5_000;
/** What nobody follows any more is kept for so long, for who comes back. */
const LINGER_MILLISECONDS = 60_000;

const MOST_FEEDS_OF_A_CLIENT = 1_024;
/**
 * Feeds of names that have the same interval are told at so many different times within it; those of a prefix gather their changes together. For each time all that
 * has changed is copied: with 16 of them that took more of a lane than all that was told.
 */
const PHASES = 8;
/** Of all feeds of a lane: names that are followed, and names below prefixes that wait to be told. */
const MOST_NAMES = 1_048_576;
const MOST_PENDING = 524_288;

export interface FeedsParts {
  readonly partitions: ReadonlyMap<number, Partition>;
  readonly commit: {
    flushedSequence(partition: number): number;
    observe(observer: { sealed(): void; flushed(): void }): void;
  };
  readonly clock: Clock;
  /** The life of the directory in which positions are valid. */
  readonly epoch: number;
  readonly isPoisoned: () => boolean;
  /** Knows what was before the memory of feeds begins. */
  readonly hindsight: Hindsight;
  /** Ends the counters of a partition that are past their time, before a feed begins. Throws why that cannot be. */
  readonly settle: (partition: number) => void;
}

/** TAIL: the feeds of a lane, and when each is sent what. What they are sent, and that it is flushed, is the matter of PartitionFeeds. */
export class Feeds {
  readonly #parts: FeedsParts;
  readonly #sources = new Map<number, PartitionFeeds>();
  /** Those of which something is followed, or was a while ago. */
  readonly #watched = new Set<PartitionFeeds>();
  readonly #entries = new Map<Feed, Entry>();
  readonly #clients = new Map<unknown, Map<number, Entry>>();
  /** Whoever is to be sent a frame, in the order of their turns. */
  readonly #due = new Set<Entry>();
  /** Of those whoever was sent a whole frame the last time: they wait for the others. */
  readonly #dueLater = new Set<Entry>();
  readonly #namePulses: Pulses<Entry>;
  readonly #prefixPulses: Pulses<Entry>;
  readonly #clogged = new Set<Entry>();
  /** Those that could not be sent more when they were looked at last. */
  readonly #stalled = new Set<Entry>();
  readonly #writers = { items: new ByteWriter(32_768), body: new ByteWriter(32_768) };
  /** Those who are told little are told at once, and what is left of their share is for the others, and for snapshots. */
  readonly #little: Turns;
  readonly #much: Turns;
  /** Which part of a turn for the others comes next. */
  #next = 0;
  /** When anything was written last, in monotonic milliseconds. */
  #written = Number.NEGATIVE_INFINITY;
  #cloggedTimer: Timer | undefined;
  #stalledTimer: Timer | undefined;
  #beat: Timer | undefined;
  #names = 0;
  #pending = 0;
  #frames = 0;
  #cutOff = 0;

  constructor(parts: FeedsParts) {
    this.#parts = parts;
    const isHeld = () => parts.clock.monotonicMilliseconds() - this.#written < WRITTEN_MILLISECONDS;
    this.#little = new Turns(parts.clock, isHeld, () => this.#serveLittle());
    this.#much = new Turns(parts.clock, isHeld, () => this.#serveMuch());
    this.#namePulses = new Pulses(parts.clock, PHASES, (entries) => this.#turnOfNames(entries));
    this.#prefixPulses = new Pulses(parts.clock, 1, (entries, interval) => this.#turnOfPrefixes(entries, interval));
    for (const [number, partition] of parts.partitions) {
      const source: PartitionFeeds = new PartitionFeeds({
        partition,
        flushed: () => parts.commit.flushedSequence(number),
        onNews: (feed, now) => this.#news(feed, now),
        look: (wanted, answer) => parts.hindsight.look({ partition: number, ...wanted }, answer),
      });
      this.#sources.set(number, source);
    }
    parts.commit.observe({
      sealed: () => this.#eachWatched((source) => source.sealed()),
      flushed: () => this.#eachWatched((source) => source.publish()),
    });
  }

  /** For STATS. */
  describe(): { readonly feeds: number; readonly pending: number; readonly frames: number; readonly cutOff: number } {
    let pending = 0;
    for (const { feed } of this.#entries.values()) pending += feed.countWaiting();
    return { feeds: this.#entries.size, pending, frames: this.#frames, cutOff: this.#cutOff };
  }

  /** Handles a TAIL; its body is valid during the call only. @throws TallystickError what refuses it */
  request(from: Subscriber, frame: FrameView): void {
    const request = decodeTail(frame.body, frame.flags);
    if (request.kind === 'names' || request.kind === 'prefix') {
      this.#begin(from, frame, request);
      return;
    }
    const entry = this.#clients.get(from.identity)?.get(request.feed);
    if (entry && request.kind === 'end') this.#conclude(entry);
    else if (entry && request.kind === 'more') this.#grant(entry, request.taken);
    this.#answerNothing(from, frame.partition, frame.requestId);
  }

  /** To be called when a partition has applied a body and its answer was taken. */
  take(number: number): void {
    if (this.#watched.size === 0) return;
    this.#written = this.#parts.clock.monotonicMilliseconds();
    const source = this.#sources.get(number) as PartitionFeeds;
    if (source.isWatched) source.take();
  }

  /** A client is gone, and its feeds with it. */
  closed(identity: unknown): void {
    for (const entry of this.#clients.get(identity)?.values() ?? []) this.#forget(entry);
  }

  /** Ends all feeds. */
  close(): void {
    for (const entry of this.#entries.values()) this.#end(entry, 'SHUTTING_DOWN');
    this.#namePulses.close();
    this.#prefixPulses.close();
    this.#cloggedTimer?.cancel();
    this.#stalledTimer?.cancel();
    this.#little.cancel();
    this.#much.cancel();
    this.#beat?.cancel();
  }

  #begin(from: Subscriber, frame: FrameView, request: Extract<TailRequest, { interval: number }>): void {
    this.#parts.settle(frame.partition);
    const source = this.#sources.get(frame.partition) as PartitionFeeds;
    const ofClient = this.#clients.get(from.identity) ?? new Map<number, Entry>();
    if (ofClient.has(frame.requestId)) throw new TallystickError('BAD_REQUEST', 'The request id is that of a feed.');
    const names = request.kind === 'names' ? request.names : [];
    const counted = Math.max(1, names.length);
    const isFull = ofClient.size >= MOST_FEEDS_OF_A_CLIENT || this.#names + counted > MOST_NAMES;
    if (isFull || (request.kind === 'prefix' && source.hasTooMany(request.prefix))) {
      throw new TallystickError('OVERLOADED', 'Too much is followed.');
    }
    const { interval, credit, after } = request;
    const options = { subscriber: from, requestId: frame.requestId, interval, credit };
    const feed = request.kind === 'names' ? new NameFeed(options) : new PrefixFeed(options, request.prefix);
    const sent = this.#parts.clock.monotonicMilliseconds();
    // what it is told first: no more is known of a prefix than that it may be much
    const bytes = request.kind === 'names' ? FIRST_BYTES * names.length : FRAME_BYTES;
    const told = { pending: 0, sent, bytes, isParked: false, patience: PATIENCE_MILLISECONDS };
    const entry: Entry = { feed, number: frame.partition, source, names: counted, ...told };
    this.#names += counted;
    this.#entries.set(feed, entry);
    this.#clients.set(from.identity, ofClient);
    ofClient.set(frame.requestId, entry);
    if (interval > 0) this.#pulsesOf(feed).join(interval, entry);
    this.#watched.add(source);
    try {
      const place = after?.epoch === this.#parts.epoch ? after.sequence : undefined;
      if (feed instanceof NameFeed) source.addNames(feed, names, place);
      else source.addPrefix(feed, place);
    } catch (error) {
      this.#forget(entry);
      throw error;
    }
    this.#beat ??= this.#scheduleBeat();
    this.#much.schedule();
  }

  #grant(entry: Entry, taken: number): void {
    entry.feed.takenTo(taken);
    this.#makeDue(entry);
  }

  #news(feed: Feed, now: boolean): void {
    const entry = this.#entries.get(feed);
    if (!entry) return;
    this.#count(entry);
    if (feed instanceof PrefixFeed && feed.isFull) this.#cut(entry);
    else if (this.#pending > MOST_PENDING) this.#cut(this.#slowest());
    if (!this.#entries.has(feed)) return;
    const isEarly = feed instanceof PrefixFeed && feed.pending >= MOST_GATHERED;
    // in the midst of a snapshot they come with its next step
    if (now || (feed.isComplete && (feed.options.interval === 0 || isEarly))) {
      feed.open();
      this.#makeDue(entry);
    }
  }

  #cut(entry: Entry): void {
    this.#cutOff++;
    this.#end(entry, 'TOO_SLOW');
  }

  /** Whoever has the most waiting, of those that can be sent nothing now where there are any. */
  #slowest(): Entry {
    const all = [...this.#entries.values()].filter(({ pending }) => pending > 0);
    const full = all.filter((entry) => !canTake(entry));
    return (full.length > 0 ? full : all).reduce((most, each) => (each.pending > most.pending ? each : most));
  }

  /** Keeps nothing more for whoever has taken nothing for a while, and ends the feeds of those that do not take what they were sent at all. */
  #lookForStalled(): Timer {
    const { clock } = this.#parts;
    return clock.setTimer(STALLED_LOOK_MILLISECONDS, () => {
      const now = clock.monotonicMilliseconds();
      for (const entry of this.#stalled) {
        const { feed, source, sent, patience } = entry;
        if (canTake(entry)) this.#stalled.delete(entry);
        // where it does not read at all, its connection ends
        else if (feed.credit === 0 && now - sent >= STALLED_MILLISECONDS) this.#cut(entry);
        else if (feed instanceof PrefixFeed && now - sent >= patience) {
          if (entry.isParked) source.dropLost(feed);
          else entry.isParked = source.park(feed);
          this.#count(entry);
        }
      }
      this.#stalledTimer = this.#stalled.size === 0 ? undefined : this.#lookForStalled();
    });
  }

  /** Its reader takes again what it is told. */
  #unpark(entry: Entry, feed: PrefixFeed): void {
    entry.isParked = false;
    if (!entry.source.unpark(feed)) entry.patience = Math.min(2 * entry.patience, STALLED_MILLISECONDS);
    feed.open();
  }

  #makeDue(entry: Entry): void {
    if (this.#clogged.has(entry)) return;
    const isLittle = entry.bytes < FRAME_BYTES && entry.feed.isComplete;
    (isLittle ? this.#due : this.#dueLater).add(entry);
    (isLittle ? this.#little : this.#much).schedule();
  }

  #pulsesOf(feed: Feed): Pulses<Entry> {
    return feed instanceof NameFeed ? this.#namePulses : this.#prefixPulses;
  }

  /** The interval of some feeds of names is over: they are told what has changed up to now, when that is flushed. */
  #turnOfNames(entries: ReadonlySet<Entry>): void {
    for (const [source, own] of bySource(entries)) source.wave(entries, () => this.#open(own));
  }

  #turnOfPrefixes(entries: ReadonlySet<Entry>, interval: number): void {
    for (const [source, own] of bySource(entries)) {
      source.wave(entries, () => {
        source.distribute(interval);
        this.#open(own);
        this.#much.schedule();
      });
    }
  }

  #open(entries: readonly Entry[]): void {
    for (const entry of entries) {
      entry.feed.open();
      if (entry.feed.hasNews) this.#makeDue(entry);
    }
  }

  #serveLittle(): void {
    const { clock } = this.#parts;
    const from = clock.monotonicMilliseconds();
    this.#sendSome(this.#due);
    this.#much.count(from, clock.monotonicMilliseconds());
    if (this.#due.size > 0) this.#little.schedule();
  }

  /** Sends to some of whoever else is due, makes a step of a snapshot of each partition, and gives out some of what was gathered: in turns, where one of them takes long. */
  #serveMuch(): void {
    const { clock } = this.#parts;
    const from = clock.monotonicMilliseconds();
    const sources = [...this.#watched];
    let isForNew = false;
    const parts = [
      () => {
        const told = this.#sendSome(this.#dueLater);
        // what the system takes for that is a part of what it takes to tell much
        for (const { feed } of told) feed.options.subscriber.flush();
        if (told.some(isNew)) isForNew = true;
      },
      () => {
        for (const source of sources) if (source.step()?.isNew) isForNew = true;
      },
      () => sources.map((source) => source.give()),
    ];
    let now = from;
    for (let done = 0; done < parts.length && (done === 0 || now < from + MOST_MILLISECONDS); done++) {
      parts[this.#next++ % parts.length]?.();
      now = clock.monotonicMilliseconds();
    }
    if (isForNew) for (let times = 1; times < TIMES_OF_NEW; times++) this.#much.count(from, now);
    if (this.#dueLater.size > 0 || sources.some((source) => source.hasSteps || source.isGiving)) this.#much.schedule();
  }

  /** To whom it has sent. */
  #sendSome(due: Set<Entry>): Entry[] {
    const told: Entry[] = [];
    let [frames, bytes] = [0, 0];
    for (const entry of due) {
      if (frames++ === FRAMES_OF_A_TURN || bytes >= BYTES_OF_A_TURN) break;
      due.delete(entry);
      const sent = this.#send(entry);
      if (sent > 0) told.push(entry);
      bytes += sent;
    }
    return told;
  }

  /** Sends one frame, if there is anything to tell and it may be told; how many bytes it had. */
  #send(entry: Entry): number {
    const { feed, source, number } = entry;
    const { subscriber, requestId } = feed.options;
    if (!this.#entries.has(feed)) return 0;
    if (this.#parts.isPoisoned()) {
      this.#end(entry, 'STORAGE_FAILED');
      return 0;
    }
    if (entry.isParked && canTake(entry)) this.#unpark(entry, feed as PrefixFeed);
    if (entry.isParked) {
      if (feed.credit > 0) this.#waitForRoom(entry);
      return 0;
    }
    let bytes = 0;
    while (feed.hasNews && feed.credit > 0 && bytes < BYTES_OF_A_TURN && !source.holds(feed)) {
      if (subscriber.isClogged) {
        this.#waitForRoom(entry);
        break;
      }
      const frame = feed.frame(this.#writers, source.positionOf(feed));
      if (!frame) continue;
      this.#frames++;
      entry.sent = this.#parts.clock.monotonicMilliseconds();
      bytes += frame.length;
      subscriber.answer(Opcode.TAIL, Flag.MORE, number, requestId, frame);
    }
    // the rest of much is little, and is told with it
    if (bytes > 0) entry.bytes = Math.max(bytes, entry.bytes / 2);
    if (!canTake(entry)) this.#stall(entry);
    // changes are not folded for whoever may never read
    if (feed.waitsForWord && feed instanceof PrefixFeed) entry.isParked = source.park(feed);
    this.#count(entry);
    if (bytes >= BYTES_OF_A_TURN && feed.hasNews) this.#makeDue(entry);
    if (!(feed instanceof PrefixFeed) || feed.cursor === undefined) return bytes;
    if (feed.credit === 0 || feed.pending >= Math.min(STEP_BELOW, feed.stepNames)) return bytes;
    if (subscriber.isClogged) {
      this.#waitForRoom(entry);
      return bytes;
    }
    source.wantsStep(feed);
    this.#much.schedule();
    return bytes;
  }

  #stall(entry: Entry): void {
    this.#stalled.add(entry);
    this.#stalledTimer ??= this.#lookForStalled();
  }

  #waitForRoom(entry: Entry): void {
    this.#clogged.add(entry);
    this.#cloggedTimer ??= this.#lookForRoom();
  }

  #lookForRoom(): Timer {
    return this.#parts.clock.setTimer(CLOGGED_MILLISECONDS, () => {
      for (const entry of this.#clogged) {
        if (entry.feed.options.subscriber.isClogged) continue;
        this.#clogged.delete(entry);
        this.#makeDue(entry);
      }
      this.#cloggedTimer = this.#clogged.size === 0 ? undefined : this.#lookForRoom();
    });
  }

  #count(entry: Entry): void {
    const pending = entry.feed instanceof PrefixFeed ? entry.feed.held : 0;
    this.#pending += pending - entry.pending;
    entry.pending = pending;
  }

  /** Ends a feed whose reader wants no more of it. */
  #conclude(entry: Entry): void {
    const { subscriber, requestId } = entry.feed.options;
    this.#forget(entry);
    this.#answerNothing(subscriber, entry.number, requestId);
  }

  #answerNothing(to: Subscriber, partition: number, requestId: number): void {
    const position = this.#sources.get(partition)?.published ?? 0;
    const writer = new ByteWriter(16);
    encodeTailAnswer(writer, { begins: false, whole: false, position, told: [] });
    to.answer(Opcode.TAIL, 0, partition, requestId, writer.view());
  }

  /** Ends a feed from this side. */
  #end(entry: Entry, code: ErrorCode): void {
    const { subscriber, requestId } = entry.feed.options;
    this.#forget(entry);
    subscriber.refuse(requestId, entry.number, code);
  }

  #forget(entry: Entry): void {
    const { feed, source } = entry;
    if (!this.#entries.delete(feed)) return;
    const { subscriber, requestId, interval } = feed.options;
    source.remove(feed, this.#parts.clock.monotonicMilliseconds());
    this.#due.delete(entry);
    this.#dueLater.delete(entry);
    this.#clogged.delete(entry);
    this.#stalled.delete(entry);
    this.#pulsesOf(feed).leave(interval, entry);
    this.#names -= entry.names;
    this.#pending -= entry.pending;
    const ofClient = this.#clients.get(subscriber.identity);
    ofClient?.delete(requestId);
    if (ofClient?.size === 0) this.#clients.delete(subscriber.identity);
  }

  /** Lets what is watched publish; what is given out with that goes on in turns. */
  #eachWatched(act: (source: PartitionFeeds) => void): void {
    for (const source of this.#watched) {
      act(source);
      if (source.isGiving) this.#much.schedule();
    }
  }

  #tellPosition(source: PartitionFeeds, entries: readonly Entry[]): void {
    for (const entry of entries) {
      const { feed } = entry;
      if (entry.isParked || !feed.isUpToDate || feed.position >= source.positionOf(feed)) continue;
      feed.owes = true;
      this.#open([entry]);
    }
  }

  /** Tells readers of quiet names how far their partition has come, and forgets what nobody came back for. */
  #scheduleBeat(): Timer {
    const { clock } = this.#parts;
    return clock.setTimer(BEAT_MILLISECONDS, () => {
      for (const [source, entries] of bySource(this.#entries.values())) {
        source.wave(this, () => this.#tellPosition(source, entries));
      }
      const before = clock.monotonicMilliseconds() - LINGER_MILLISECONDS;
      for (const source of this.#watched) {
        source.forget(before);
        if (!source.isWatched) this.#watched.delete(source);
      }
      this.#beat = this.#watched.size === 0 ? undefined : this.#scheduleBeat();
    });
  }
}
