import { codeOfStatus, OK, TallystickError } from '../errors.js';
import type { Partition } from '../partition/partition.js';
import { ByteReader, ByteWriter, encodeUtf8 } from '../protocol/bytes.js';
import { encodeGet, encodeList } from '../protocol/request.js';
import { ALL_SLOTS, type Feed } from './feed.js';
import { FollowSet } from './follow-set.js';
import { Gathered } from './gathered.js';
import { Recent } from './recent.js';
import { type Change, type Found, wrapped } from './subscriber.js';

/** Different intervals for which changes are gathered. Feeds of others fold them each for itself. */
const MOST_INTERVALS = 64;
/** Changes that are given out in one turn: the requests of writers come between. */
const CHANGES_OF_A_TURN = 1_024;
/** Names that one step of a snapshot tells; how many slots it looks at is the kernel's matter. */
const STEP_NAMES = 1_024;

/** A counter that was touched since the last copy, and its value at that copy: undefined where it did not exist. */
interface Dirty {
  readonly name: string;
  readonly before: bigint | undefined;
}

/** A step of the snapshot of a feed. */
interface Step {
  readonly feed: Feed;
  readonly found: readonly Found[];
  /** Slots below have been looked at. */
  readonly told: number;
}

/** What was copied of the memory of a partition, as of a position; it is published when that is flushed. */
interface Copy {
  readonly position: number;
  readonly changes: readonly Change[];
  readonly step: Step | undefined;
}

export interface PartitionFeedsParts {
  readonly partition: Partition;
  /** How far it is flushed. */
  readonly flushed: () => number;
  /** A feed may have something to tell. `now`: however long its interval is. */
  readonly onNews: (feed: Feed, now: boolean) => void;
  /** Something was gathered for an interval: `distribute` is to be called at its end. */
  readonly onGathered: (interval: number) => void;
}

/**
 * The feeds of one partition. Their one rule is that nobody is told what is not flushed:
 *
 *   applied ── touched ──► dirty ── the group closes ──► copies ── flushed ──► feeds, recent
 *                          slots     (slot, value) as      in order of their     or gathered for all
 *                                    of its end            positions             of an interval
 *
 * A snapshot goes through the slots a step at a time, each a copy like any other. Changes of slots that it has not come to are not told, as
 * it will tell their values; what a step told changes from its copy on.
 */
export class PartitionFeeds {
  readonly #parts: PartitionFeedsParts;
  readonly #follows = new FollowSet();
  readonly #feeds = new Set<Feed>();
  /** Feeds whose snapshots are not at their ends, in the order of their turns. */
  readonly #scanning = new Set<Feed>();
  readonly #gathered = new Map<number, Gathered>();
  /** Feeds that have been given something, and are told of it when they have all of it. */
  readonly #given = new Set<Feed>();
  #dirty = new Map<number, Dirty>();
  #gone: Change[] = [];
  #copies: Copy[] = [];
  #recent: Recent | undefined;
  #published = 0;
  /** The position of the body that was taken last. */
  #taken = 0;

  constructor(parts: PartitionFeedsParts) {
    this.#parts = parts;
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
    const gathered = feed.isGathered ? this.#gathered.get(feed.options.interval) : undefined;
    return gathered && !(gathered.isEmpty && !gathered.isGiving) ? gathered.position : this.#published;
  }

  get follows(): FollowSet {
    return this.#follows;
  }

  /** Whether a snapshot has another step to make. */
  get hasSteps(): boolean {
    return this.#scanning.size > 0;
  }

  /**
   * Begins a feed: with what has changed behind a position where that is known, else with a snapshot.
   *
   * @throws TallystickError WRONG_PARTITION, NAME_INVALID
   */
  add(feed: Feed, from: number | undefined): void {
    const { partition, flushed } = this.#parts;
    if (feed.options.match.kind === 'names') this.#look(feed.options.match.names); // a name that is refused changes nothing
    if (!this.#recent) {
      partition.watch(true);
      this.#taken = partition.sequence;
      this.#recent = new Recent(partition.sequence);
      this.#published = flushed();
    }
    const canResume = from !== undefined && this.#canResume(feed, from);
    this.#follows.add(feed, partition.sequence);
    this.#feeds.add(feed);
    if (canResume) this.#resume(feed, from);
    else this.#begin(feed);
  }

  remove(feed: Feed, now: number): void {
    if (!this.#feeds.delete(feed)) return;
    this.#scanning.delete(feed);
    this.#endGathering(feed);
    this.#follows.remove(feed, now);
  }

  /** Forgets what nobody has followed since a time. */
  forget(before: number): void {
    this.#follows.forget(before);
    if (this.#follows.size > 0 || !this.#recent) return;
    this.#parts.partition.watch(false);
    this.#recent = undefined;
    this.#gathered.clear();
    this.#given.clear();
    this.#dirty.clear();
    this.#gone = [];
    this.#copies = [];
  }

  /** To be called when the partition has applied a body; once more does nothing. */
  take(): void {
    const { partition } = this.#parts;
    if (partition.sequence === this.#taken) return;
    this.#taken = partition.sequence;
    const { touched } = partition;
    for (let i = 0; i < touched.count; i++) {
      const slot = touched.slot(i);
      if (slot === undefined) continue;
      const gone = touched.gone(i);
      if (gone !== undefined) this.#takeGone(slot, gone, touched.before(i));
      else if (!this.#dirty.has(slot)) {
        const name = this.#follows.nameOf(slot, !touched.existed(i), partition);
        if (name !== undefined) this.#dirty.set(slot, { name, before: touched.before(i) });
      }
    }
    if (touched.isCutOff) this.#restart();
  }

  /** The group that collects has been closed: what the next one changes must not be seen in its values. */
  sealed(): void {
    this.#copy(undefined);
    this.publish();
  }

  /** Makes one step of one snapshot. */
  step(): void {
    const [feed] = this.#scanning;
    if (!feed) return;
    this.#scanning.delete(feed);
    if (feed.cursor === undefined || feed.options.match.kind !== 'prefix') return;
    const { prefix } = feed.options.match;
    // the dirty are told as of before the step, which shows them as they are now
    this.#copy(undefined);
    const { found, cursor } = this.#list(prefix, feed.cursor);
    feed.cursor = cursor === 0 ? undefined : cursor;
    this.#copy({ feed, found, told: cursor === 0 ? ALL_SLOTS : cursor });
    this.publish();
  }

  /** The next step of a snapshot is wanted, as its reader has taken the last one. */
  wantsStep(feed: Feed): void {
    if (feed.cursor !== undefined && this.#feeds.has(feed)) this.#scanning.add(feed);
  }

  /** The interval is over: gives what was gathered to those who have it, some now and the rest by `give`. */
  distribute(interval: number): void {
    const gathered = this.#gathered.get(interval);
    if (!gathered) return;
    if (gathered.isGiving) this.#giveAll(interval, gathered);
    gathered.beginGiving(this.#published);
    this.#give(interval, gathered, CHANGES_OF_A_TURN);
  }

  /** Goes on with what is being given out, a bounded part of it. */
  give(): void {
    for (const [interval, gathered] of this.#gathered) {
      if (gathered.isGiving) this.#give(interval, gathered, CHANGES_OF_A_TURN);
    }
  }

  /** Whether something is being given out. */
  get isGiving(): boolean {
    for (const gathered of this.#gathered.values()) if (gathered.isGiving) return true;
    return false;
  }

  /** Whether a feed has been given some of what belongs together: there is news for it when it has all. */
  holds(feed: Feed): boolean {
    if (!feed.isGathered || !this.#gathered.get(feed.options.interval)?.isGiving) return false;
    this.#given.add(feed);
    return true;
  }

  /** Publishes what is flushed. */
  publish(): void {
    if (!this.#recent) return;
    const flushed = this.#parts.flushed();
    let published = 0;
    for (const copy of this.#copies) {
      if (copy.position > flushed) break;
      this.#publish(copy);
      published++;
    }
    if (published > 0) this.#copies = this.#copies.slice(published);
    // All that was touched up to there has been copied when its group closed
    this.#published = Math.max(this.#published, flushed);
  }

  #publish({ position, changes, step }: Copy): void {
    this.#published = position;
    if (changes.length > 0) this.#recent?.push({ position, changes });
    const told = new Set<Feed>();
    for (const change of changes) {
      const tell = (feed: Feed) => {
        if (change.slot >= feed.told) return;
        feed.take(change);
        told.add(feed);
      };
      this.#follows.visit(change.name, tell, (interval) => this.#gather(interval, change));
    }
    for (const feed of told) this.#parts.onNews(feed, false);
    for (const [interval, gathered] of this.#gathered) if (gathered.isFull) this.distribute(interval);
    if (!step || !this.#feeds.has(step.feed)) return;
    step.feed.takeFound(step.found, step.told);
    if (step.feed.isComplete) this.#beginGathering(step.feed);
    this.#parts.onNews(step.feed, true);
  }

  #gather(interval: number, change: Change): void {
    const gathered = this.#gathered.get(interval) as Gathered;
    if (gathered.isEmpty) this.#parts.onGathered(interval);
    gathered.add(change);
  }

  #giveAll(interval: number, gathered: Gathered): void {
    this.#give(interval, gathered, Number.POSITIVE_INFINITY);
  }

  #give(interval: number, gathered: Gathered, count: number): void {
    for (const change of gathered.give(count)) {
      this.#follows.visitGathered(change.name, interval, (feed) => {
        feed.take(change);
        this.#given.add(feed);
      });
    }
    if (gathered.isGiving) return;
    for (const feed of this.#given) {
      if (feed.options.interval !== interval) continue;
      this.#given.delete(feed);
      this.#parts.onNews(feed, true);
    }
  }

  /** The feed has been told all there was: what changes from now on may be gathered for it together with others. */
  #beginGathering(feed: Feed): void {
    const { interval } = feed.options;
    if (interval === 0 || (!this.#gathered.has(interval) && this.#gathered.size >= MOST_INTERVALS)) return;
    if (!this.#gathered.has(interval)) this.#gathered.set(interval, new Gathered());
    // what was gathered so far is none of its business
    this.distribute(interval);
    this.#giveAll(interval, this.#gathered.get(interval) as Gathered);
    this.#follows.gather(feed, true);
    feed.isGathered = true;
    (this.#gathered.get(interval) as Gathered).feeds++;
  }

  #endGathering(feed: Feed): void {
    if (!feed.isGathered) return;
    feed.isGathered = false;
    this.#given.delete(feed);
    this.#follows.gather(feed, false);
    const gathered = this.#gathered.get(feed.options.interval) as Gathered;
    if (--gathered.feeds === 0) this.#gathered.delete(feed.options.interval);
  }

  #takeGone(slot: number, name: string, before: bigint | undefined): void {
    const dirty = this.#dirty.get(slot);
    const isFollowed = dirty !== undefined || this.#follows.matches(name);
    const first = dirty ? dirty.before : before;
    this.#dirty.delete(slot);
    this.#follows.gone(slot);
    if (!isFollowed || first === undefined) return;
    this.#gone.push({ slot, name, value: 0n, exists: false, delta: wrapped(-first) });
  }

  /** Copies the values of what is dirty, which so are as of the present position. */
  #copy(step: Step | undefined): void {
    const { partition } = this.#parts;
    const changes = this.#gone;
    this.#gone = [];
    for (const [slot, { name, before }] of this.#dirty) {
      const value = partition.valueOfSlot(slot);
      if (value === undefined || value === before) continue;
      changes.push({ slot, name, value, exists: true, delta: wrapped(value - (before ?? 0n)) });
    }
    this.#dirty.clear();
    if (changes.length > 0 || step) this.#copies.push({ position: partition.sequence, changes, step });
  }

  #canResume(feed: Feed, from: number): boolean {
    const floor = this.#recent?.floor ?? 0;
    if (from > this.#published) return false; // a position that this memory does not know
    // Where nothing was published since, there is nothing to be known
    return from >= floor && (this.#follows.covers(feed.options.match, from) || from === this.#parts.partition.sequence);
  }

  #resume(feed: Feed, from: number): void {
    feed.resume();
    if (feed.options.match.kind === 'names') this.#learn(feed.options.match.names);
    const follows = new FollowSet();
    follows.add(feed, 0);
    for (const { changes } of this.#recent?.since(from) ?? []) {
      for (const change of changes) if (follows.matches(change.name)) feed.take(change);
    }
    this.#beginGathering(feed);
    this.#parts.onNews(feed, true);
  }

  /** Begins the snapshot of a feed: names are looked up at once, a prefix in steps. */
  #begin(feed: Feed): void {
    const { match } = feed.options;
    if (match.kind === 'prefix') {
      this.#scanning.add(feed);
      return;
    }
    this.#copy(undefined);
    const found = this.#learn(match.names);
    feed.cursor = undefined;
    this.#copy({ feed, found, told: ALL_SLOTS });
    this.publish();
  }

  /** More counters went at a time than could be told: whoever follows begins anew. */
  #restart(): void {
    this.#copies = [];
    this.#dirty.clear();
    this.#gone = [];
    this.#follows.unlearn();
    this.#recent = new Recent(this.#parts.partition.sequence);
    for (const feed of this.#feeds) {
      this.#endGathering(feed);
      feed.restart();
      this.#begin(feed);
    }
  }

  #learn(names: readonly string[]): Found[] {
    const found = this.#look(names);
    for (const { name, slot } of found) if (slot !== undefined) this.#follows.learn(name, slot);
    return found;
  }

  #look(names: readonly string[]): (Found & { readonly slot: number | undefined })[] {
    const { partition } = this.#parts;
    const writer = new ByteWriter();
    encodeGet(writer, { keys: names.map((name) => ({ name })) });
    const status = partition.read(writer.view());
    if (status !== OK) throw new TallystickError(codeOfStatus(status));
    return names.map((name, i) => {
      const slot = partition.slotOfKey(i);
      const value = slot === undefined ? undefined : partition.valueOfSlot(slot);
      return { name, slot, value: value ?? 0n, exists: value !== undefined };
    });
  }

  #list(prefix: string, cursor: number): { readonly found: readonly Found[]; readonly cursor: number } {
    const { partition } = this.#parts;
    const writer = new ByteWriter();
    encodeList(writer, { prefix: encodeUtf8(prefix), cursor, limit: STEP_NAMES });
    const status = partition.list(writer.view());
    if (status !== OK) throw new TallystickError('INTERNAL', 'A partition does not list.');
    const reader = new ByteReader(partition.answer);
    const next = reader.varint();
    const found: Found[] = [];
    for (let count = reader.varint(); count > 0; count--) {
      found.push({ name: reader.name(reader.varint()), value: reader.zigzagBig(), exists: true });
    }
    return { found, cursor: next };
  }
}
