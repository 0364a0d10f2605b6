import type { Clock, Timer } from '../clock.js';
import { type ErrorCode, TallystickError } from '../errors.js';
import type { Partition } from '../partition/partition.js';
import { ByteWriter } from '../protocol/bytes.js';
import type { FrameView } from '../protocol/frame.js';
import { Flag, Opcode } from '../protocol/opcode.js';
import { decodeTail, encodeTailAnswer, MOST_CREDIT, type TailRequest } from '../protocol/tail.js';
import { Feed, type Match } from './feed.js';
import { PartitionFeeds } from './partition-feeds.js';
import type { Subscriber } from './subscriber.js';

/** What is sent in one turn: so many frames, of so many bytes. The requests of writers come between. */
const FRAMES_OF_A_TURN = 256;
const BYTES_OF_A_TURN = 131_072;
/** Below so many names that wait, the next step of a snapshot is made. */
const STEP_BELOW = 1_024;
/** After this long it is looked again whether a client has taken what it was sent. */
const CLOGGED_MILLISECONDS = 20;
/** A reader that takes nothing for so long has fewer counters kept for it. */
const PATIENCE_MILLISECONDS = 1_000;
/** A feed is told at least this often how far its partition has come, so that it can be resumed from there. */
const BEAT_MILLISECONDS = 5_000;
/** What nobody follows any more is kept for so long, for who comes back. */
const LINGER_MILLISECONDS = 60_000;

const MOST_FEEDS_OF_A_CLIENT = 1_024;
/** Of all feeds of a lane: names that are followed, and names that wait to be told. */
const MOST_NAMES = 1_048_576;
const MOST_PENDING = 1_048_576;

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
  /** Ends the counters of a partition that are past their time, before a feed begins. Throws why that cannot be. */
  readonly settle: (partition: number) => void;
}

/** A feed, and what it is fed by. */
interface Entry {
  readonly feed: Feed;
  readonly number: number;
  readonly source: PartitionFeeds;
  /** What it has waiting, as it is counted. */
  pending: number;
  /** When it was sent something last, in monotonic milliseconds. */
  sent: number;
}

/** Feeds of one interval that have something to tell when it is over. */
interface Ticking {
  readonly entries: Set<Entry>;
  readonly timer: Timer;
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
  readonly #ticking = new Map<number, Ticking>();
  readonly #clogged = new Set<Entry>();
  readonly #writer = new ByteWriter(32_768);
  #isScheduled = false;
  #cloggedTimer: Timer | undefined;
  #beat: Timer | undefined;
  #names = 0;
  #pending = 0;
  #frames = 0;
  #cutOff = 0;

  constructor(parts: FeedsParts) {
    this.#parts = parts;
    for (const [number, partition] of parts.partitions) {
      const source: PartitionFeeds = new PartitionFeeds({
        partition,
        flushed: () => parts.commit.flushedSequence(number),
        onNews: (feed, now) => this.#news(feed, now),
        onGathered: (interval) => this.#tickingOf(interval),
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
    return { feeds: this.#entries.size, pending: this.#pending, frames: this.#frames, cutOff: this.#cutOff };
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
    else if (entry && request.kind === 'more') this.#grant(entry, request.credit);
    this.#answerNothing(from, frame.partition, frame.requestId);
  }

  /** To be called when a partition has applied a body and its answer was taken. */
  take(number: number): void {
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
    for (const { timer } of this.#ticking.values()) timer.cancel();
    this.#ticking.clear();
    this.#cloggedTimer?.cancel();
    this.#beat?.cancel();
  }

  #begin(from: Subscriber, frame: FrameView, request: Extract<TailRequest, { interval: number }>): void {
    this.#parts.settle(frame.partition);
    const source = this.#sources.get(frame.partition) as PartitionFeeds;
    const ofClient = this.#clients.get(from.identity) ?? new Map<number, Entry>();
    if (ofClient.has(frame.requestId)) throw new TallystickError('BAD_REQUEST', 'The request id is that of a feed.');
    const match = matchOf(request);
    const names = namesOf(match);
    const isFull = ofClient.size >= MOST_FEEDS_OF_A_CLIENT || this.#names + names > MOST_NAMES;
    if (isFull || (match.kind === 'prefix' && source.follows.hasTooMany(match.prefix))) {
      throw new TallystickError('OVERLOADED', 'Too much is followed.');
    }
    const { interval, credit, after } = request;
    const feed = new Feed({ subscriber: from, requestId: frame.requestId, match, interval, credit });
    const sent = this.#parts.clock.monotonicMilliseconds();
    const entry: Entry = { feed, number: frame.partition, source, pending: 0, sent };
    this.#names += names;
    this.#entries.set(feed, entry);
    this.#clients.set(from.identity, ofClient);
    ofClient.set(frame.requestId, entry);
    this.#watched.add(source);
    try {
      source.add(feed, after?.epoch === this.#parts.epoch ? after.sequence : undefined);
    } catch (error) {
      this.#forget(entry);
      throw error;
    }
    this.#beat ??= this.#scheduleBeat();
    this.#schedule();
  }

  #grant(entry: Entry, credit: number): void {
    entry.feed.credit = Math.min(MOST_CREDIT, entry.feed.credit + credit);
    if (entry.feed.options.interval === 0 || !entry.feed.isComplete || !this.#isTicking(entry)) this.#makeDue(entry);
  }

  #isTicking(entry: Entry): boolean {
    return this.#ticking.get(entry.feed.options.interval)?.entries.has(entry) ?? false;
  }

  #news(feed: Feed, now: boolean): void {
    const entry = this.#entries.get(feed);
    if (!entry) return;
    this.#count(entry);
    if (feed.isFull(this.#isStuck(entry)) || this.#pending > MOST_PENDING) {
      this.#cutOff++;
      this.#end(entry, 'TOO_SLOW');
    } else if (now || feed.options.interval === 0 || !feed.isComplete) {
      this.#makeDue(entry);
    } else {
      this.#tick(entry);
    }
  }

  /** Whether it has not taken anything for a while. */
  #isStuck({ feed, sent }: Entry): boolean {
    const cannotTake = feed.credit === 0 || feed.options.subscriber.isClogged;
    return cannotTake && this.#parts.clock.monotonicMilliseconds() - sent >= PATIENCE_MILLISECONDS;
  }

  #makeDue(entry: Entry): void {
    this.#due.add(entry);
    this.#schedule();
  }

  /** Lets a feed wait for the end of its interval, together with the others that have the same one. */
  #tick(entry: Entry): void {
    this.#tickingOf(entry.feed.options.interval).entries.add(entry);
  }

  /** The one timer of an interval, which runs where somebody waits for it. */
  #tickingOf(interval: number): Ticking {
    const running = this.#ticking.get(interval);
    if (running) return running;
    const entries = new Set<Entry>();
    const timer = this.#parts.clock.setTimer(interval, () => {
      this.#ticking.delete(interval);
      this.#eachWatched((source) => source.distribute(interval));
      for (const each of entries) this.#makeDue(each);
    });
    const ticking = { entries, timer };
    this.#ticking.set(interval, ticking);
    return ticking;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#parts.clock.endOfTurn(() => {
      this.#isScheduled = false;
      this.#serve();
    });
  }

  /** Serves some of whoever is due, and makes a step of a snapshot of each partition. */
  #serve(): void {
    let [frames, bytes] = [0, 0];
    for (const entry of this.#due) {
      if (frames++ === FRAMES_OF_A_TURN || bytes >= BYTES_OF_A_TURN) break;
      this.#due.delete(entry);
      bytes += this.#send(entry);
    }
    let isBusy = false;
    for (const source of this.#watched) {
      if (source.hasSteps) source.step();
      source.give();
      isBusy ||= source.hasSteps || source.isGiving;
    }
    if (this.#due.size > 0 || isBusy) this.#schedule();
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
    let bytes = 0;
    if (feed.hasNews && feed.credit > 0 && !source.holds(feed)) {
      if (subscriber.isClogged) {
        this.#waitForRoom(entry);
        return 0;
      }
      const frame = feed.frame(this.#writer, source.positionOf(feed));
      this.#frames++;
      entry.sent = this.#parts.clock.monotonicMilliseconds();
      bytes = frame.length;
      subscriber.answer(Opcode.TAIL, Flag.MORE, number, requestId, frame);
      this.#count(entry);
      if (feed.hasNews) this.#makeDue(entry);
    }
    if (feed.cursor === undefined || feed.pending >= STEP_BELOW) return bytes;
    source.wantsStep(feed);
    this.#schedule();
    return bytes;
  }

  #waitForRoom(entry: Entry): void {
    this.#clogged.add(entry);
    this.#cloggedTimer ??= this.#parts.clock.setTimer(CLOGGED_MILLISECONDS, () => {
      this.#cloggedTimer = undefined;
      for (const each of this.#clogged) this.#makeDue(each);
      this.#clogged.clear();
    });
  }

  #count(entry: Entry): void {
    const { pending } = entry.feed;
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
    const { subscriber, requestId, match, interval } = feed.options;
    source.remove(feed, this.#parts.clock.monotonicMilliseconds());
    this.#due.delete(entry);
    this.#clogged.delete(entry);
    this.#ticking.get(interval)?.entries.delete(entry);
    this.#names -= namesOf(match);
    this.#pending -= entry.pending;
    const ofClient = this.#clients.get(subscriber.identity);
    ofClient?.delete(requestId);
    if (ofClient?.size === 0) this.#clients.delete(subscriber.identity);
  }

  /** Lets what is watched publish; what is given out with that goes on in turns. */
  #eachWatched(act: (source: PartitionFeeds) => void): void {
    for (const source of this.#watched) {
      act(source);
      if (source.isGiving) this.#schedule();
    }
  }

  /** Tells readers of quiet names how far their partition has come, and forgets what nobody came back for. */
  #scheduleBeat(): Timer {
    const { clock } = this.#parts;
    return clock.setTimer(BEAT_MILLISECONDS, () => {
      for (const entry of this.#entries.values()) {
        const { feed, source } = entry;
        if (!feed.isComplete || feed.pending > 0 || feed.position >= source.positionOf(feed)) continue;
        feed.owes = true;
        this.#makeDue(entry);
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

function matchOf(request: Extract<TailRequest, { interval: number }>): Match {
  if (request.kind === 'prefix') return { kind: 'prefix', prefix: request.prefix };
  return { kind: 'names', names: request.keys.flatMap((key) => ('name' in key ? [key.name] : [])) };
}

const namesOf = (match: Match): number => (match.kind === 'names' ? match.names.length : 1);
