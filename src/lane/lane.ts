import type { Clock } from '../clock.js';
import { codeOfStatus, OK, TallystickError } from '../errors.js';
import type { History } from '../history/history.js';
import type { GroupCommit } from '../log/group-commit.js';
import { RECORD_BYTES } from '../log/record.js';
import { Kind, type Partition, REPEATED, UNCHANGED } from '../partition/partition.js';
import type { StatsMap } from '../protocol/control.js';
import type { FrameView } from '../protocol/frame.js';
import { DEFAULT_LIMITS, Flag, Opcode } from '../protocol/opcode.js';
import { Feeds } from '../pubsub/feeds.js';
import type { Hindsight } from '../pubsub/hindsight.js';
import { Acks } from './acks.js';
import { Answers, type LaneConnection, type Requester } from './answers.js';
import { encodeAudit } from './audit.js';
import type { Days } from './days.js';
import type { ServerMap } from './greeting.js';
import type { HistoryFeed } from './history-feed.js';
import { HistoryReads } from './history-reads.js';
import { type HotName, HotNames } from './hot-names.js';
import { LargeValues } from './large-values.js';
import type { Link } from './link.js';
import { Mesh, type MeshHandler, type Source } from './mesh.js';
import type { Quota } from './quota.js';
import { Reads } from './reads.js';
import { EFFECT_BYTES, hasEffect } from './recovery.js';
import { Shares } from './shares.js';
import { Ticks } from './ticks.js';
import { Unflushed } from './unflushed.js';
import { type WaitingLimits, WaitingReads } from './waiting-reads.js';

/**
 * The loop of a lane, and the whole way of a request:
 *
 *   frame -> route -> dedup, apply       -> append to the open group -> flush         -> ack
 *   request           #write: Partition.apply   GroupCommit.append     GroupCommit      Answers
 *                                               HistoryFeed.take                        (history)
 *                                               Feeds.take -------------- copy -------> (followers)
 *
 * Everything is synchronous up to the flush, and only the lane's thread touches its partitions. A request for a partition of
 * another lane goes there by the mesh, and comes out of it as `forwarded`.
 */

export interface LaneParts {
  readonly lane: number;
  readonly partitions: ReadonlyMap<number, Partition>;
  readonly commit: GroupCommit;
  readonly history: History;
  readonly feed: HistoryFeed;
  readonly clock: Clock;
  /** Of the classes in force. */
  readonly days: Days;
  readonly map: ServerMap;
  /** The ways to the other lanes. */
  readonly links: readonly Link[];
  /** Operations a second on one counter that are worth a warning; 0: none are. */
  readonly hotPerSecond: number;
  readonly onHot: (hot: HotName) => void;
  /** What clients may write; undefined where it has no bound. */
  readonly quota: Quota | undefined;
  /** What reads may wait; the default where it is absent. */
  readonly waiting?: WaitingLimits;
  /** Reads the word that any thread sets when storage can no longer be trusted. */
  readonly isPoisoned: () => boolean;
  /** Serves feeds that go on from a position that is long past. */
  readonly hindsight: Hindsight;
  /** What STATS tells besides. */
  readonly describe: () => StatsMap;
  readonly describePartition: (partition: number) => StatsMap;
}

/** Flags that the kernel sees and the log keeps. */
const KERNEL_FLAGS = Flag.ATOMIC | Flag.VALUES | Flag.SEQUENCED;
/** Requests that read, and may wait for a position. */
const WAITING_READS: ReadonlySet<number> = new Set([
  Opcode.GET,
  Opcode.WINDOW,
  Opcode.UNIQUES,
  Opcode.HISTORY,
  Opcode.EXPIRY,
]);
/** Room that the open group must have for whatever request comes next. */
const LARGEST_ENTRY = DEFAULT_LIMITS.frame + EFFECT_BYTES + RECORD_BYTES;

export class Lane implements MeshHandler {
  readonly #parts: LaneParts;
  readonly #answers: Answers;
  readonly #reads: Reads;
  readonly #mesh: Mesh;
  readonly #shares: Shares;
  readonly #hot: HotNames;
  readonly #large: LargeValues;
  readonly #acks: Acks;
  readonly #feeds: Feeds;
  /** Whoever is not read from until the open group has room. */
  readonly #held = new Set<Source>();
  readonly #ticks: Ticks;
  readonly #anyPartition: number;
  #draining = false;
  #repeated = 0;

  constructor(parts: LaneParts) {
    this.#parts = parts;
    this.#answers = new Answers(parts.commit, parts.isPoisoned);
    const waiting = new WaitingReads(parts.waiting);
    const unflushed = new Unflushed();
    parts.commit.observe(unflushed);
    this.#reads = new Reads({
      answers: this.#answers,
      clock: parts.clock,
      epoch: parts.map.epoch,
      history: new HistoryReads(parts),
      unflushed,
      waiting,
    });
    this.#mesh = new Mesh(parts.links, parts.clock, this);
    const { partitions, clock, hotPerSecond, onHot } = parts;
    this.#anyPartition = [...partitions.keys()][0] as number;
    const hot = new HotNames({ partitions, clock, threshold: hotPerSecond, warn: onHot });
    this.#hot = hot;
    this.#large = new LargeValues(partitions, clock);
    this.#acks = new Acks(clock);
    const settle = (number: number) => this.#ticks.settle(number, parts.partitions.get(number) as Partition);
    this.#feeds = new Feeds({ ...parts, epoch: parts.map.epoch, settle });
    this.#ticks = new Ticks(
      parts,
      () => this.#obstacle,
      (number) => this.#feeds.take(number),
    );
    const [answers, mesh, feeds, ticks, acks, large] = [
      this.#answers,
      this.#mesh,
      this.#feeds,
      this.#ticks,
      this.#acks,
      this.#large,
    ];
    this.#shares = new Shares({
      parts,
      answers,
      mesh,
      hot,
      feeds,
      ticks,
      acks,
      large,
      waiting,
      repeated: () => this.#repeated,
    });
  }

  /** Handles one request of a client; its body is valid during the call only. */
  request(connection: LaneConnection, frame: FrameView): void {
    try {
      if (this.#draining) throw new TallystickError('SHUTTING_DOWN');
      if (frame.opcode === Opcode.PING) this.#answers.send(connection, frame, 0, frame.body);
      else if (isOfLanes(frame)) this.#shares.request(connection, frame);
      else if (this.#isElsewhere(connection, frame)) this.#forward(connection, frame);
      else this.#apply(connection, frame);
    } catch (error) {
      this.#refuse(connection, frame, error);
    }
  }

  /** Handles one request of a client of another lane; its body is valid during the call only. */
  forwarded(from: Requester, frame: FrameView): void {
    try {
      if (this.#draining) throw new TallystickError('SHUTTING_DOWN');
      if (isOfLanes(frame)) this.#shares.share(from, frame);
      else this.#apply(from, frame);
    } catch (error) {
      this.#refuse(from, frame, error);
    }
  }

  /** Answers a client with what another lane answered. */
  relay(to: Requester, answer: FrameView): void {
    this.#answers.relay(to, answer);
  }

  /** Whether no more requests are taken from there until the group that collects has room again. */
  isFull(source: Source): boolean {
    const { commit, feed } = this.#parts;
    if (this.#draining || this.#obstacle) return false;
    const hasRoom = commit.canAppend(this.#anyPartition, LARGEST_ENTRY);
    if (hasRoom && !feed.isFull) return false;
    if (this.#held.size === 0) (hasRoom ? feed : commit).whenRoom(() => this.#release());
    this.#held.add(source);
    return true;
  }

  /** The same for a client, whose requests may also wait for another lane. */
  holds(connection: LaneConnection): boolean {
    return this.isFull(connection) || (!connection.session.isDirect && this.#mesh.isFull(connection));
  }

  closed(connection: LaneConnection): void {
    this.#mesh.forget(connection);
    this.#feeds.closed(connection);
  }

  gone(identity: unknown): void {
    this.#feeds.closed(identity);
  }

  /** Another lane has sent something, or made room. */
  woken(): void {
    this.#mesh.woken();
  }

  /**
   * Refuses all requests from now on and resolves when everything that was applied is flushed and answered, also what was
   * forwarded to other lanes, which drain too.
   */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#ticks.cancel();
    this.#hot.close();
    this.#large.close();
    this.#release();
    await this.#mesh.endRequests();
    await this.#parts.commit.drain();
    this.#feeds.close();
    await this.#mesh.endAnswers();
    this.#mesh.close();
  }

  /** What cannot be decoded or is refused before it is applied. Anything else is a defect, and ends the lane. */
  #refuse(from: Requester, frame: FrameView, error: unknown): void {
    if (!(error instanceof TallystickError)) throw error;
    this.#answers.refuse(from, frame, error);
  }

  #apply(from: Requester, frame: FrameView): void {
    const partition = this.#parts.partitions.get(frame.partition);
    if (!partition) throw new TallystickError('WRONG_PARTITION');
    if (frame.opcode === Opcode.TAIL) {
      this.#feeds.request(from, frame);
      return;
    }
    const isRead = WAITING_READS.has(frame.opcode) || frame.opcode === Opcode.LIST;
    const maySettle = isRead || !this.#obstacle;
    const now = maySettle ? this.#ticks.settle(frame.partition, partition) : this.#parts.clock.wallMilliseconds();
    if (!isRead) this.#write(from, frame, partition, now);
    else if (frame.opcode === Opcode.LIST) this.#reads.list(from, frame, partition);
    else this.#reads.get(from, frame, partition);
  }

  /** Whether it concerns a partition that the client reaches by another lane. */
  #isElsewhere({ session }: LaneConnection, { partition }: FrameView): boolean {
    return !session.isDirect && !this.#parts.partitions.has(partition) && partition < this.#parts.map.partitions.length;
  }

  #forward(connection: LaneConnection, frame: FrameView): void {
    const owner = this.#parts.map.partitions[frame.partition] as number;
    if (this.#parts.isPoisoned()) throw new TallystickError('STORAGE_FAILED', undefined, { outcome: 'refused' });
    this.#mesh.forward(owner, connection, frame);
  }

  /** Why nothing can be written for a while, or never again. */
  get #obstacle(): TallystickError | undefined {
    return this.#parts.commit.obstacle ?? this.#parts.feed.obstacle;
  }

  #write(from: Requester, frame: FrameView, partition: Partition, milliseconds: number): void {
    const { commit, quota, feed } = this.#parts;
    const began = this.#acks.begin();
    const { opcode: kind, partition: number, body } = frame;
    const flags = frame.flags & KERNEL_FLAGS;
    const { producer, incarnation } = from.session.handle(number);
    const isSpent = quota?.isSpent ?? false;
    const mayApply = !this.#obstacle && commit.canAppend(number, body.length + EFFECT_BYTES) && !isSpent;
    const status = mayApply
      ? partition.apply(kind, flags, producer, incarnation, milliseconds, body)
      : partition.judge(kind, flags, producer, incarnation, body);
    // A repeat is answered even now; what is new is refused before it is applied.
    if (!mayApply && status === OK) throw refusal(this.#obstacle, isSpent);
    if (status === OK) {
      const tail = hasEffect(kind) ? effectOf(partition) : undefined;
      const steps = partition.steps;
      const logged = steps ? Kind.STEPS : kind;
      commit.append(number, { kind: logged, flags, producer, incarnation, milliseconds }, steps ?? body, tail);
      feed.take(number, partition);
      if (tail) this.#audit(from, frame, partition, milliseconds);
      this.#hot.take(number, partition);
      quota?.take(Math.max(1, partition.operations)); // a SET or DELETE counts as one
    }
    this.#acknowledge(from, frame, partition, status, began);
    if (status !== OK) return;
    this.#feeds.take(number);
    this.#reads.moved(number, partition);
  }

  /** Answers what the kernel made of a write, when the acknowledgement that was asked for may be given. */
  #acknowledge(
    from: Requester,
    frame: FrameView,
    partition: Partition,
    status: number,
    began: number | undefined,
  ): void {
    const isRepeat = status === REPEATED || codeOfStatus(status) === 'ALREADY_APPLIED';
    if (isRepeat) this.#repeated++;
    const position = isRepeat ? partition.repeatedPosition : partition.sequence;
    if (status !== OK && status !== UNCHANGED && status !== REPEATED) {
      if (codeOfStatus(status) === 'SEQUENCE_CONFLICT') {
        // What has the sequence may be lost with a crash until all of this is flushed.
        this.#answers.refuse(from, frame, 'SEQUENCE_CONFLICT', { position: partition.sequence });
        return;
      }
      if (!isRepeat) throw new TallystickError(codeOfStatus(status));
      // Where its position is forgotten, the present one is past it.
      this.#answers.alreadyApplied(from, frame, position, position || partition.sequence);
      return;
    }
    const result = { position, answer: partition.answer, flags: isRepeat ? Flag.REPEATED : 0 };
    if (!isRepeat) this.#acks.take(frame.opcode, result.answer);
    const ended = isRepeat ? undefined : this.#acks.whenDurable(began);
    // What was applied before may have been strict: its group is flushed by now, or soon
    const isApplied = (frame.flags & Flag.APPLIED) !== 0 && !isRepeat && !partition.isStrict;
    if (isApplied) {
      this.#answers.now(from, frame, result);
      this.#acks.applied(began);
    } else this.#answers.whenFlushed(from, frame, result, 'unknown', ended);
  }

  #audit(
    { session, remote }: Requester,
    { opcode, body, flags, partition: number }: FrameView,
    partition: Partition,
    at: number,
  ): void {
    const value = encodeAudit({
      opcode,
      body,
      flags,
      answer: partition.answer,
      milliseconds: at,
      client: session.client,
      remote,
    });
    this.#parts.commit.addAudit({ partition: number, sequence: partition.sequence, value });
  }

  #release(): void {
    const held = [...this.#held];
    this.#held.clear();
    for (const source of held) source.readOn();
  }
}

/** HELLO, SYNC and STATS; what else there is addresses a partition. */
function isOfLanes({ opcode }: FrameView): boolean {
  return opcode === Opcode.HELLO || opcode === Opcode.SYNC || opcode === Opcode.STATS;
}

/** Why nothing can be applied now. */
function refusal(obstacle: TallystickError | undefined, isSpent: boolean): TallystickError {
  const code = obstacle?.code ?? (isSpent ? 'QUOTA_EXCEEDED' : 'OVERLOADED');
  return new TallystickError(code, undefined, { outcome: 'refused' });
}

/** SET and DELETE log the delta that they caused behind their bodies. */
function effectOf(partition: Partition): Uint8Array {
  const bytes = new Uint8Array(EFFECT_BYTES);
  new DataView(bytes.buffer).setBigInt64(0, partition.effect, true);
  return bytes;
}
