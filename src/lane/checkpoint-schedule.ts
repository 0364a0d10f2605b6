import type { Clock, Timer } from '../clock.js';
import { asTallystickError, TallystickError } from '../errors.js';
import type { CheckpointManifest } from '../log/checkpoint.js';
import type { GroupCommit } from '../log/group-commit.js';
import { microseconds, percentiles, recordMilliseconds } from '../log/histogram.js';
import type { Log, PartitionPlace } from '../log/log.js';
import { LOG_BEGIN, placeOfPartition } from '../log/replay.js';
import { PAGE_BYTES, type Partition } from '../partition/partition.js';
import type { StatsMap } from '../protocol/control.js';
import type { FromCheckpointer, MadeCheckpoint, ToCheckpointer } from './checkpoint-messages.js';
import { CheckpointPace } from './checkpoint-pace.js';
import { Probes } from './checkpoint-probes.js';

/** Between two probes, which are as many thirds of a millisecond of the lane's time. */
const PROBE_MILLISECONDS = 4;
/** Without a checkpoint for so long a smaller tail is worth one: a quiet server starts fast again. */
const QUIET_MILLISECONDS = 300_000;
const QUIET_SHARE = 1 / 64;
/** After a checkpoint that found no room. */
const FULL_RETRY_MILLISECONDS = 5_000;
const IDLE_MILLISECONDS = 60_000;

export interface CheckpointScheduleParts {
  readonly partitions: ReadonlyMap<number, Partition>;
  readonly commit: GroupCommit;
  readonly log: Pick<Log, 'release'>;
  /** Whether what a partition emitted up to a sequence is in its history: a recovery from there will not emit it again. */
  readonly isIn: (partition: number, sequence: number) => boolean;
  readonly clock: Clock;
  /** The checkpoints with which recovery began. */
  readonly manifests: ReadonlyMap<number, CheckpointManifest>;
  /** The lane takes no more when its log has so many bytes of records behind the oldest of its checkpoints. */
  readonly tailBytes: number;
  /** Starts the checkpointer: with the first checkpoint, so that a start does not wait for a thread that has nothing to do. */
  readonly connect: (hear: (message: FromCheckpointer) => void) => (message: ToCheckpointer) => void;
  readonly onFailed: (error: TallystickError) => void;
}

/** A partition's checkpoint, as far as the lane must know it. */
interface Known {
  readonly place: PartitionPlace;
  /** When it was made: milliseconds since 1970. */
  readonly milliseconds: number;
  readonly pages: number;
}

/**
 * When a lane's checkpoints are made: of one partition after the other, the oldest first, spread so that a round of all
 * takes half of the tail's bound; at once where the tail has come to half of it.
 *
 * ```
 *  waiting (for `start`) -> idle
 *  idle -> probing -> settling ----------> ordered -> idle
 *          one probe  the last probe is    the checkpointer works; each of its transactions waits for the
 *          every 4 ms not flushed yet, or  pace; `full` -> resting -> idle
 *                     the history not in
 * ```
 *
 * The tail is what recovery would read: record bytes behind the oldest checkpoint. At its bound the lane takes no more
 * until it is shorter, or refuses writes where it can't be for lack of room on the disk.
 */
export class CheckpointSchedule {
  readonly #parts: CheckpointScheduleParts;
  readonly #known = new Map<number, Known>();
  #oldest: Known & { readonly partition: number };
  readonly #pace = new CheckpointPace();
  /** Microseconds of the commits while the checkpointer was at work, and of the others. */
  readonly #beside = microseconds();
  readonly #alone = microseconds();
  #state: 'waiting' | 'idle' | 'probing' | 'settling' | 'ordered' | 'resting' | 'stopped' = 'waiting';
  #probes: Probes | undefined;
  /** Where the checkpoint will be: the first place at which the last probe is flushed. */
  #place: PartitionPlace | undefined;
  /** Tells the checkpointer, from the first checkpoint on. */
  #tell: ((message: ToCheckpointer) => void) | undefined;
  #timer: Timer | undefined;
  /** A transaction of the checkpointer is under way, or waits for its pause to end. */
  #writing = false;
  #pausing: Timer | undefined;
  #bound: 'open' | 'held' | 'refusing' = 'open';
  #startedBytes: number;
  #startedAt: number;
  #released = 0;
  #releasing = false;
  #stopped: (() => void) | undefined;
  #made = 0;
  #pagesWritten = 0;
  #probesCompared = 0;

  constructor(parts: CheckpointScheduleParts) {
    this.#parts = parts;
    for (const partition of parts.partitions.keys()) {
      const manifest = parts.manifests.get(partition);
      const { place = LOG_BEGIN, milliseconds = 0, pages = [] } = manifest ?? {};
      this.#known.set(partition, { place, milliseconds, pages: pages.length });
    }
    this.#oldest = this.#findOldest();
    // As if the last one had begun where the oldest stands: a long tail gets one at once.
    this.#startedBytes = this.#oldest.place.bytes;
    this.#startedAt = parts.clock.monotonicMilliseconds();
  }

  /** Begins. A lane that never comes so far leaves nothing running. */
  start(): void {
    this.#state = 'idle';
    this.#timer = this.#after(0);
  }

  /** Bytes of the records that recovery would read. */
  get tailBytes(): number {
    return this.#parts.commit.flushedPlace.bytes - this.#oldest.place.bytes;
  }

  /** To be called after each group that was flushed. */
  flushed(milliseconds: number): void {
    this.#pace.committed(milliseconds, this.#writing);
    const latency = this.#state === 'ordered' ? this.#beside : this.#alone;
    recordMilliseconds(latency, milliseconds);
    this.#proceed();
    // Where the tail grew meanwhile, the pause may be over.
    if (this.#pausing && this.#pause() === 0) this.#go();
  }

  /** To be called when something came into the history. */
  historyMoved(): void {
    this.#proceed();
  }

  hear(message: FromCheckpointer): void {
    if (message.kind === 'stopped') this.#stopped?.();
    if (this.#state === 'stopped') return;
    if (this.#writing) this.#pace.written();
    this.#writing = false;
    if (message.kind === 'ready') this.#ready();
    else if (message.kind === 'made') this.#take(message.checkpoint);
    else if (message.kind === 'full') this.#rest();
    else if (message.kind === 'failed') this.#fail(new TallystickError(message.code, message.detail));
  }

  /** Orders no more. Resolves when the checkpointer has finished what it was writing. */
  async stop(): Promise<void> {
    this.#state = 'stopped';
    this.#timer?.cancel();
    this.#pausing?.cancel();
    const tell = this.#tell;
    if (!tell) return;
    await new Promise<void>((resolve) => {
      this.#stopped = resolve;
      tell({ kind: 'stop' });
    });
  }

  /** For STATS, of the lane. */
  describe(): StatsMap {
    return {
      tailBytes: this.tailBytes,
      tailLimit: this.#parts.tailBytes,
      state: this.#state,
      bound: this.#bound,
      made: this.#made,
      pagesWritten: this.#pagesWritten,
      probesCompared: this.#probesCompared,
      writesPerSecond: this.#pace.rate,
      commitMicroseconds: { beside: percentiles(this.#beside), alone: percentiles(this.#alone) },
    };
  }

  /** For STATS, of a partition. */
  describePartition(partition: number): StatsMap {
    const { place, milliseconds, pages } = this.#knownOf(partition);
    const age = this.#parts.clock.wallMilliseconds() - milliseconds;
    return {
      checkpointSequence: place.sequence,
      checkpointBytes: pages * PAGE_BYTES,
      checkpointSeconds: pages === 0 ? null : Math.round(age / 1_000),
    };
  }

  /** Does what has become possible. */
  #proceed(): void {
    if (this.#state === 'idle' && this.#isDue()) this.#begin();
    if (this.#state === 'settling' && this.#probes) this.#settle(this.#probes);
    this.#keepBound();
  }

  #isDue(): boolean {
    const { tailBytes, partitions, commit, clock } = this.#parts;
    const tail = this.tailBytes;
    const sinceStart = commit.flushedPlace.bytes - this.#startedBytes;
    if (tail >= tailBytes / 2 || sinceStart >= tailBytes / 2 / partitions.size) return true;
    const isQuiet = clock.monotonicMilliseconds() - this.#startedAt >= QUIET_MILLISECONDS;
    return isQuiet && tail >= tailBytes * QUIET_SHARE;
  }

  #begin(): void {
    const { partitions, commit, clock } = this.#parts;
    const { partition } = this.#oldest;
    this.#state = 'probing';
    this.#tell ??= this.#parts.connect((message) => this.hear(message));
    this.#probes = new Probes(partition, partitions.get(partition) as Partition);
    this.#startedBytes = commit.flushedPlace.bytes;
    this.#startedAt = clock.monotonicMilliseconds();
    this.#timer?.cancel();
    this.#timer = this.#after(0);
  }

  #probe(probes: Probes): void {
    probes.take();
    if (probes.isComplete) this.#state = 'settling';
    else this.#timer = this.#after(PROBE_MILLISECONDS);
    this.#proceed();
  }

  #settle({ partition, sequence, taken: probes }: Probes): void {
    const { commit, isIn } = this.#parts;
    if (commit.flushedSequence(partition) < sequence) return;
    this.#place ??= placeOfPartition(commit.flushedPlace, partition);
    const place = this.#place;
    if (!isIn(partition, place.sequence)) return;
    this.#state = 'ordered';
    this.#probes = undefined;
    this.#place = undefined;
    this.#tell?.({ kind: 'checkpoint', order: { partition, place, probes } });
  }

  #ready(): void {
    const pause = this.#pause();
    if (pause === 0) this.#go();
    else this.#pausing = this.#parts.clock.setTimer(pause, () => this.#go());
  }

  #pause(): number {
    return this.#pace.pause(this.tailBytes / this.#parts.tailBytes);
  }

  #go(): void {
    this.#pausing?.cancel();
    this.#pausing = undefined;
    this.#writing = true;
    this.#tell?.({ kind: 'go' });
  }

  #take({ partition, place, milliseconds, pages, pagesWritten, probes }: MadeCheckpoint): void {
    this.#known.set(partition, { place, milliseconds, pages });
    this.#oldest = this.#findOldest();
    this.#made++;
    this.#pagesWritten += pagesWritten;
    this.#probesCompared += probes;
    this.#state = 'idle';
    this.#timer = this.#after(IDLE_MILLISECONDS);
    this.#release();
    this.#proceed();
  }

  /** There is no room for a checkpoint. */
  #rest(): void {
    this.#state = 'resting';
    this.#timer = this.#after(FULL_RETRY_MILLISECONDS);
    this.#keepBound();
  }

  #after(milliseconds: number): Timer {
    return this.#parts.clock.setTimer(milliseconds, () => this.#wake());
  }

  #wake(): void {
    if (this.#state === 'resting') this.#state = 'idle';
    if (this.#state === 'idle') this.#timer = this.#after(IDLE_MILLISECONDS);
    if (this.#state === 'probing' && this.#probes) this.#probe(this.#probes);
    else this.#proceed();
  }

  /** Holds the lane where its tail is at the bound, and lets it go on where it no longer is. */
  #keepBound(): void {
    const { commit, tailBytes } = this.#parts;
    const isReached = this.tailBytes >= tailBytes;
    const isHopeless = this.#state === 'resting' || this.#bound === 'refusing';
    const bound = !isReached ? 'open' : isHopeless ? 'refusing' : 'held';
    if (bound === this.#bound) return;
    this.#bound = bound;
    if (bound === 'open') commit.unblock();
    else if (bound === 'held') commit.block();
    else commit.block(new TallystickError('STORAGE_FULL', 'There is no room for a checkpoint.'));
  }

  /** Tells the log what recovery needs no longer; one call after the other. */
  #release(): void {
    const { records } = this.#oldest.place;
    if (this.#releasing || records === this.#released) return;
    this.#releasing = true;
    this.#parts.log.release(records).then(
      () => {
        this.#releasing = false;
        this.#released = records;
        this.#release();
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #fail(error: unknown): void {
    this.#state = 'stopped';
    this.#timer?.cancel();
    this.#parts.onFailed(asTallystickError(error));
  }

  #findOldest(): Known & { readonly partition: number } {
    let oldest: (Known & { readonly partition: number }) | undefined;
    for (const [partition, known] of this.#known) {
      if (!oldest || known.place.bytes < oldest.place.bytes) oldest = { partition, ...known };
    }
    if (!oldest) throw new TallystickError('INTERNAL', 'A lane has no partitions.');
    return oldest;
  }

  #knownOf(partition: number): Known {
    return this.#known.get(partition) ?? { place: LOG_BEGIN, milliseconds: 0, pages: 0 };
  }
}
