import type { Partition } from '../partition/partition.js';
import { Watch } from '../partition/touched.js';
import { DEFAULT_LIMITS } from '../protocol/opcode.js';
import type { Copy, Step } from './copy.js';
import type { Feed } from './feed.js';
import { Gatherings } from './gatherings.js';
import type { Then, Wanted } from './hindsight.js';
import { listBelow, locate } from './lookup.js';
import { NameFeed } from './name-feed.js';
import { ALL_SLOTS, PrefixFeed } from './prefix-feed.js';
import { Prefixes } from './prefixes.js';
import { Recent } from './recent.js';
import type { Change } from './subscriber.js';
import { type CopiedTopics, Topics } from './topics.js';

/** Of so many steps one is of whichever snapshot has waited the longest, where others are begun: the fewer these are, the less is folded for them. */
const STEPS_OF_BEGUN = 16;
/** Counters below prefixes that are touched before they are copied, whoever waits for that. */
const MOST_DIRTY = 16_384;

export interface PartitionFeedsParts {
  readonly partition: Partition;
  /** How far it is flushed. */
  readonly flushed: () => number;
  /** A feed may have something to tell. `now`: however long its interval is. */
  readonly onNews: (feed: Feed, now: boolean) => void;
  /** Looks back further than is known here, as Hindsight does. */
  readonly look: (
    wanted: Omit<Wanted, 'partition'>,
    answer: (then: Then | undefined) => void,
  ) => (() => void) | undefined;
}

/**
 * The feeds of one partition. Their one rule is that nobody is told what is not flushed:
 *
 *   applied ── touched ──► dirty ────── a copy ─────► copies ── flushed ──► topics, past       ◄── feeds of names look here
 *                          slots    (slot, value) as  in order of their     feeds of prefixes, recent
 *                                   of its position   positions             or gathered for all of an interval
 *
 * A copy is made when somebody is to be told: at the end of an interval, or as a group closes where a feed is told of each. A snapshot of a prefix
 * goes through the slots a step at a time, each a copy like any other. Changes of slots that it has not come to are not told, as
 * it will tell their values; what a step told changes from its copy on.
 *
 * A feed that goes on from further back than is known here waits for what its counters were then (`look`). Of names it is then told what is published and is
 * not that; of a prefix its snapshot is held against it.
 */
export class PartitionFeeds {
  readonly #parts: PartitionFeedsParts;
  readonly #prefixes = new Prefixes();
  #topics: Topics;
  readonly #feeds = new Set<Feed>();
  /** Feeds whose snapshots are not at their ends, and of which another step may be made now. */
  readonly #scanning = new Set<PrefixFeed>();
  /** Those that were begun, in their order. */
  readonly #begun = new Set<PrefixFeed>();
  #steps = 0;
  /** Feeds that wait for what was, and what ends the wait. */
  readonly #looking = new Map<Feed, () => void>();
  /** Feeds whose readers take nothing, and the position from which each goes on when they do: as one that comes back there, or in the midst of what it is told. */
  readonly #parked = new Map<PrefixFeed, { readonly position: number; readonly comesBack: boolean }>();
  readonly #gatherings: Gatherings;
  /** Feeds of names that are told of each group, by topic. */
  readonly #eager = new Map<number, Set<NameFeed>>();
  /** How many feeds are told of each group. */
  #eachGroup = 0;
  /** The position of the first body of which not all is copied. */
  #dirtySince: number | undefined;
  #copies: Copy[] = [];
  #recent: Recent | undefined;
  #published = 0;
  /** The position of the body that was taken last. */
  #taken = 0;

  constructor(parts: PartitionFeedsParts) {
    this.#parts = parts;
    this.#topics = new Topics(0);
    this.#gatherings = new Gatherings({
      prefixes: this.#prefixes,
      published: () => this.#published,
      onNews: (feed) => parts.onNews(feed, true),
    });
  }

  /** Whether anything is followed, or was a while ago. */
  get isWatched(): boolean {
    return this.#recent !== undefined;
  }

  /** How far feeds can have been told. */
  get published(): number {
    return this.#published;
  }

  /** Up to where a feed has been given all that it is to tell. */
  positionOf(feed: Feed): number {
    return this.#gatherings.positionOf(feed);
  }

  /** Whether a prefix would be one too many. */
  hasTooMany(prefix: string): boolean {
    return this.#prefixes.hasTooMany(prefix);
  }

  /** Whether a snapshot has another step to make. */
  get hasSteps(): boolean {
    return this.#scanning.size > 0;
  }

  /**
   * Begins a feed of names, each there once: with what has changed behind a position where that is known or can be found, else with a snapshot.
   *
   * @throws TallystickError WRONG_PARTITION, NAME_INVALID
   */
  addNames(feed: NameFeed, names: readonly string[], from: number | undefined): void {
    const { partition } = this.#parts;
    const found = locate(partition, this.#topics.unknown(names)); // a name that is refused changes nothing
    this.#add(feed);
    const isKnown = from !== undefined && from <= this.#published; // else a position that this memory does not know
    const isPast = isKnown && from >= this.#topics.past.floor && names.every((name) => this.#topics.covers(name, from));
    // Where nothing was applied since, there is nothing to be known
    const isPresent = isKnown && from === partition.sequence;
    feed.bind(Int32Array.from(names, (name) => this.#topics.follow(name, partition.sequence)));
    for (const { name, slot } of found) this.#topics.learn(name, slot);
    if (feed.options.interval === 0) {
      for (const topic of feed.own) this.#eager.set(topic, (this.#eager.get(topic) ?? new Set()).add(feed));
    }
    if (isPast) {
      feed.resume(this.#topics, from);
      this.#parts.onNews(feed, true);
      return;
    }
    const begin = (act: () => void) => this.wave(feed, () => this.#beginNames(feed, act));
    const anew = () => begin(() => feed.begin(this.#topics));
    if (isPresent) begin(() => feed.adopt(this.#topics));
    else if (!isKnown) anew();
    else {
      this.#copy(undefined); // changes of its names are known from here on, whoever else comes back while it waits
      this.#look(feed, { position: from, followed: { kind: 'names', names } }, (then) => {
        if (then?.kind === 'names') begin(() => feed.resumeFrom(this.#topics, then.values));
        else anew();
      });
    }
  }

  /** The same of a prefix. */
  addPrefix(feed: PrefixFeed, from: number | undefined): void {
    this.#add(feed);
    // Changes of a prefix that is new here are known from the present on
    this.#prefixes.add(feed, this.#parts.partition.sequence);
    this.#watch();
    if (from !== undefined && from <= this.#published) this.#comeBack(feed, from);
    else {
      this.#prefixes.park(feed, true);
      this.#scanning.add(feed);
    }
  }

  /** Its reader is at a position, and has nothing waiting. */
  #comeBack(feed: PrefixFeed, from: number): void {
    const { prefix } = feed;
    if (this.#knows(prefix, from)) {
      feed.resume(from);
      this.#catchUp(feed, from);
      return;
    }
    this.#look(feed, { position: from, followed: { kind: 'prefix', prefix } }, (then) => {
      if (then?.kind === 'prefix') feed.resumeFrom(from, then);
      this.#scanning.add(feed);
      this.#parts.onNews(feed, true);
    });
  }

  /** Whether all changes below a prefix behind a position are in memory. */
  #knows(prefix: string, position: number): boolean {
    return position >= (this.#recent?.floor ?? 0) && this.#prefixes.covers(prefix, position);
  }

  /** Gives a feed what has been published behind a position, and from now on what is. */
  #catchUp(feed: PrefixFeed, from: number): void {
    for (const { changes } of this.#recent?.since(from) ?? []) {
      for (const change of changes) {
        if (change.slot < feed.told && change.name.startsWith(feed.prefix)) feed.take(change);
      }
    }
    if (feed.isComplete) this.#gatherings.begin(feed);
    this.#parts.onNews(feed, true);
  }

  /** Nothing is given to a feed or kept for it any more, as its reader takes nothing; whether that can be now. */
  park(feed: PrefixFeed): boolean {
    const { wholeAt } = feed;
    const isStepping = this.#copies.some(({ step }) => step?.feed === feed);
    if (this.#looking.has(feed) || isStepping || (wholeAt === undefined && this.holds(feed))) return false;
    const comesBack = wholeAt !== undefined;
    this.#parked.set(feed, { position: wholeAt ?? this.positionOf(feed), comesBack });
    this.#scanning.delete(feed);
    this.#begun.delete(feed);
    this.#gatherings.end(feed);
    this.#prefixes.park(feed, true);
    if (comesBack) feed.restart();
    return true;
  }

  /** Its reader takes again what it is told; whether it goes on, rather than to begin anew. */
  unpark(feed: PrefixFeed): boolean {
    const parked = this.#parked.get(feed);
    if (!parked) return true;
    this.#parked.delete(feed);
    this.#prefixes.park(feed, false);
    const { position, comesBack } = parked;
    const goesOn = comesBack || this.#knows(feed.prefix, position);
    if (comesBack) this.#comeBack(feed, position);
    else if (goesOn) this.#catchUp(feed, position);
    else this.#scanAnew(feed);
    return goesOn;
  }

  /** A parked feed that is to begin anew as memory does not reach so far any more: what waits for it is of no use. */
  dropLost(feed: PrefixFeed): void {
    const parked = this.#parked.get(feed);
    if (parked && !parked.comesBack && !this.#knows(feed.prefix, parked.position)) feed.restart();
  }

  #scanAnew(feed: PrefixFeed): void {
    feed.restart();
    this.#scanning.add(feed);
    this.#parts.onNews(feed, true);
  }

  remove(feed: Feed, now: number): void {
    if (!this.#feeds.delete(feed)) return;
    this.#looking.get(feed)?.();
    this.#looking.delete(feed);
    if (feed.options.interval === 0) this.#eachGroup--;
    if (feed instanceof PrefixFeed) {
      this.#scanning.delete(feed);
      this.#begun.delete(feed);
      this.#parked.delete(feed);
      this.#gatherings.end(feed);
      this.#prefixes.remove(feed, now);
    } else if (feed instanceof NameFeed) {
      for (const topic of feed.own) {
        this.#topics.unfollow(topic, now);
        const eager = this.#eager.get(topic);
        if (eager?.delete(feed) && eager.size === 0) this.#eager.delete(topic);
      }
    }
  }

  /** Forgets what nobody has followed since a time. */
  forget(before: number): void {
    if (this.#copies.length > 0) return;
    this.#topics.forget(before);
    this.#prefixes.forget(before);
    if (this.#topics.size + this.#prefixes.size > 0 || !this.#recent) return;
    this.#parts.partition.watch(Watch.NOT);
    this.#recent = undefined;
    this.#gatherings.clear();
    this.#dirtySince = undefined;
  }

  /** To be called when the partition has applied a body; once more does nothing. */
  take(): void {
    const { partition } = this.#parts;
    if (partition.sequence === this.#taken) return;
    this.#taken = partition.sequence;
    const [{ touched }, topics, prefixes] = [partition, this.#topics, this.#prefixes];
    for (let i = 0; i < touched.count; i++) {
      const slot = touched.slot(i);
      if (slot === undefined) continue;
      const gone = touched.gone(i);
      if (gone !== undefined) {
        topics.gone(slot);
        if (prefixes.size > 0) prefixes.gone(slot, gone, touched.before(i));
        continue;
      }
      // the counters of all names that have one are known
      if (!topics.touch(slot) && !touched.existed(i)) topics.touchNew(slot, partition);
      if (prefixes.size > 0) prefixes.touch(slot, touched, i, partition);
    }
    if (touched.isCutOff) this.#restart();
    if (partition.marks.any || topics.dirty + prefixes.dirty > 0) this.#dirtySince ??= partition.sequence;
    if (prefixes.dirty >= MOST_DIRTY) this.#copy(undefined);
  }

  /** The group that collects has been closed. */
  sealed(): void {
    if (this.#eachGroup > 0) this.#copy(undefined);
    this.publish();
  }

  /** Copies what has changed up to now, and calls back when that is published: once where `waiter` waits for that position already. */
  wave(waiter: unknown, then: () => void): void {
    this.#copy(undefined, [waiter, then]);
    this.publish();
  }

  /** Makes one step of one snapshot, and tells of which. */
  step(): PrefixFeed | undefined {
    const feed = this.#nextToStep();
    if (!feed) return undefined;
    this.#scanning.delete(feed);
    // before its first step no change concerns it, and there may be very many that wait for theirs
    if (!this.#begun.has(feed)) this.#prefixes.park(feed, false);
    this.#begun.add(feed);
    if (feed.cursor === undefined) return feed;
    if (feed.readThen()) {
      this.#scanning.add(feed);
      return feed;
    }
    // the dirty are told as of before the step, which shows them as they are now
    this.#copy(undefined);
    const { pieces, cursor } = listBelow(this.#parts.partition, feed.prefix, feed.cursor, feed.stepNames);
    feed.stepped(pieces);
    feed.cursor = cursor === 0 ? undefined : cursor;
    this.#copy({ feed, pieces, told: cursor === 0 ? ALL_SLOTS : cursor });
    this.publish();
    return feed;
  }

  /**
   * Snapshots are brought to their ends one after the other, since each change of what one has told is to be folded into what waits for it. So that a large one does not
   * keep all others waiting, one step of some is of whichever has waited the longest for its turn.
   */
  #nextToStep(): PrefixFeed | undefined {
    const [next] = this.#scanning;
    if (this.#steps++ % STEPS_OF_BEGUN === 0) return next;
    for (const feed of this.#begun) if (this.#scanning.has(feed)) return feed;
    return next;
  }

  /** The next step of a snapshot is wanted, as its reader has taken the last one. */
  wantsStep(feed: PrefixFeed): void {
    if (feed.cursor === undefined || !this.#feeds.has(feed) || this.#looking.has(feed) || this.#parked.has(feed))
      return;
    this.#scanning.add(feed);
  }

  /** The interval is over: what was gathered is to be given to those who have it, by `give`. */
  distribute(interval: number): void {
    this.#gatherings.distribute(interval);
  }

  /** Goes on with what is being given out, a bounded part of it. */
  give(): void {
    this.#gatherings.give();
  }

  /** Whether something is being given out. */
  get isGiving(): boolean {
    return this.#gatherings.isGiving;
  }

  /** Whether a feed has been given some of what belongs together: there is news for it when it has all. */
  holds(feed: Feed): boolean {
    return this.#gatherings.holds(feed);
  }

  /** Publishes what is flushed. */
  publish(): void {
    if (!this.#recent) return;
    const flushed = this.#parts.flushed();
    while (this.#copies[0] && this.#copies[0].position <= flushed) this.#publish(this.#copies.shift() as Copy);
    if (this.#copies.length > 0) return;
    // Nothing that is followed was touched up to there but what has been published
    const quiet = this.#dirtySince === undefined ? flushed : Math.min(flushed, this.#dirtySince - 1);
    this.#published = Math.max(this.#published, quiet);
  }

  #publish({ position, topics, changes, step, waits }: Copy): void {
    this.#published = position;
    if (topics.length > 0) this.#publishTopics(position, topics);
    if (changes.length > 0) this.#publishChanges(position, changes);
    if (step && this.#feeds.has(step.feed)) {
      step.feed.takeStep(step.pieces, position, step.told);
      if (step.feed.isComplete) {
        this.#begun.delete(step.feed);
        this.#gatherings.begin(step.feed);
      }
      this.#parts.onNews(step.feed, true);
    }
    for (const each of waits.values()) each();
  }

  #publishTopics(position: number, copied: readonly CopiedTopics[]): void {
    const told = new Set<NameFeed>();
    const tell = (topic: number) => {
      for (const feed of this.#eager.get(topic) ?? []) told.add(feed);
    };
    this.#topics.publish(position, copied, this.#eager.size > 0 ? tell : undefined);
    for (const feed of told) {
      feed.open();
      this.#parts.onNews(feed, true);
    }
  }

  #publishChanges(position: number, changes: readonly Change[]): void {
    this.#recent?.push({ position, changes });
    const told = new Set<PrefixFeed>();
    for (const change of changes) {
      const tell = (feed: PrefixFeed) => {
        if (change.slot >= feed.told) return;
        feed.take(change);
        told.add(feed);
      };
      this.#prefixes.visit(change.name, tell, (interval) => this.#gatherings.add(interval, change));
    }
    for (const feed of told) this.#parts.onNews(feed, false);
    this.#gatherings.distributeFull();
  }

  /** Copies the values of what is dirty, which so are as of the present position. */
  #copy(step: Step | undefined, waits?: [unknown, () => void]): void {
    const { partition } = this.#parts;
    const position = partition.sequence;
    this.#dirtySince = undefined;
    const topics = this.#topics.copy(partition);
    const changes = this.#prefixes.copy(partition);
    this.#watch();
    let last = this.#copies.at(-1);
    const hasNothing = topics.length + changes.length === 0 && !step;
    if (hasNothing && !waits) return;
    if (!last || !hasNothing || last.position < position) {
      last = { position, topics, changes, step, waits: new Map() };
      this.#copies.push(last);
    }
    if (waits) last.waits.set(...waits);
  }

  #add(feed: Feed): void {
    const { partition, flushed } = this.#parts;
    if (!this.#recent) {
      this.#taken = partition.sequence;
      this.#recent = new Recent(partition.sequence);
      this.#topics = new Topics(partition.sequence);
      this.#published = flushed();
    }
    this.#copy(undefined); // all that was touched so far is no news to it
    this.publish();
    this.#feeds.add(feed);
    if (feed.options.interval === 0) this.#eachGroup++;
  }

  /** All that was touched so far is copied. */
  #watch(): void {
    this.#parts.partition.watch(this.#prefixes.size > 0 ? Watch.ENTRIES : Watch.MARKS);
  }

  /** Waits for what was at a position, as far as anybody knows. */
  #look(feed: Feed, wanted: Omit<Wanted, 'partition'>, then: (then: Then | undefined) => void): void {
    const cancel = this.#parts.look(wanted, (found) => {
      this.#looking.delete(feed);
      then(found);
    });
    if (cancel) this.#looking.set(feed, cancel);
    else then(undefined);
  }

  /** All that a feed of names needs to begin is published. */
  #beginNames(feed: NameFeed, begin: () => void): void {
    if (!this.#feeds.has(feed) || feed.isComplete) return;
    begin();
    this.#parts.onNews(feed, true);
  }

  /** More counters went at a time than could be told: whoever follows begins anew. */
  #restart(): void {
    const { partition } = this.#parts;
    const { sequence } = partition;
    const then = new Map(this.#copies.flatMap((copy) => [...copy.waits]));
    this.#copies = [];
    this.#prefixes.restart();
    this.#topics.restart(sequence);
    this.#watch();
    this.#recent = new Recent(sequence);
    const { names } = this.#topics;
    for (let from = 0; from < names.length; from += DEFAULT_LIMITS.batch) {
      const some = locate(partition, names.slice(from, from + DEFAULT_LIMITS.batch));
      for (const { name, slot } of some) this.#topics.learn(name, slot);
    }
    for (const cancel of this.#looking.values()) cancel();
    this.#looking.clear();
    for (const waits of then) this.#copy(undefined, waits);
    for (const feed of this.#feeds) {
      if (feed instanceof PrefixFeed) {
        this.#gatherings.end(feed);
        if (!this.#parked.has(feed)) this.#scanning.add(feed);
      }
      feed.restart();
      if (feed instanceof NameFeed)
        this.#copy(undefined, [feed, () => this.#beginNames(feed, () => feed.begin(this.#topics))]);
    }
    this.publish();
  }
}
