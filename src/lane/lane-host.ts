import { getHeapStatistics } from 'node:v8';
import type { Timer, TurnClock } from '../clock.js';
import type { TallystickError } from '../errors.js';
import { History } from '../history/history.js';
import type { Retention, RollUpPlanner } from '../history/roll-up.js';
import type { HistoryTables } from '../history/tables.js';
import { type AppendWatch, GroupCommit } from '../log/group-commit.js';
import { distribution, LATENCY_BOUNDS, SIZE_BOUNDS } from '../log/histogram.js';
import type { LaneStorage } from '../log/lane-storage.js';
import { KERNEL_VERSION, Partition, SLOT_BYTES } from '../partition/partition.js';
import { preHelloFrameBytes, type StatsMap } from '../protocol/control.js';
import { FrameStock } from '../protocol/frame.js';
import { Connection, DEFAULT_CONNECTION_LIMITS, noTraffic } from '../transport/connection.js';
import { Outputs } from '../transport/outputs.js';
import type { Transport } from '../transport/transport.js';
import type { LaneConnection } from './answers.js';
import type { FromCheckpointer, ToCheckpointer } from './checkpoint-messages.js';
import { CheckpointSchedule } from './checkpoint-schedule.js';
import { Days } from './days.js';
import { type ServerMap, Session, type Via } from './greeting.js';
import { HindsightQueue } from './hindsight-queue.js';
import { HistoryFeed } from './history-feed.js';
import type { HotName } from './hot-names.js';
import { Lane } from './lane.js';
import type { Link } from './link.js';
import type { Recovery } from './messages.js';
import { Quiet } from './quiet.js';
import type { Quota } from './quota.js';
import { configure, type LaneConfiguration, replayBehind, restoreCheckpoints } from './recovery.js';
import type { FromReplayer, ReplayOrder } from './replay-messages.js';
import { Retentions } from './retentions.js';
import { RollUps } from './roll-ups.js';

/**
 * A lane put together: storage, partitions, group commit, connections. It knows no thread, no socket and no file, so that a
 * simulation runs the same; lane-thread.ts gives it the real ones.
 *
 *   open (recovers) -> accepts -> serves -> drained
 */

export interface LaneHostParts {
  readonly lane: number;
  readonly partitions: readonly number[];
  readonly configuration: LaneConfiguration;
  readonly storage: LaneStorage;
  readonly history: HistoryTables;
  /** Computes the roll-ups of the history. */
  readonly planner: RollUpPlanner;
  /** Of the history, where a class does not say more. */
  readonly retention: Retention;
  /** The compiled kernel. */
  readonly kernel: WebAssembly.Module;
  readonly clock: TurnClock;
  /** Frees what is reached no more: the engine comes late to what lies outside of its heap. */
  readonly collect: () => void;
  /** Connects the lane with its checkpointer: takes what is called with its messages, and gives what it is told by. */
  readonly connectCheckpointer: (hear: (message: FromCheckpointer) => void) => (message: ToCheckpointer) => void;
  /** Starts a replayer: takes its order and what is called with its messages, the last of which is `ended`, and gives what stops it. */
  readonly startReplayer: (order: ReplayOrder, hear: (message: FromReplayer) => void) => () => void;
  /** Bytes of log records that recovery may have to read; at so many the lane waits for a checkpoint. */
  readonly checkpointTailBytes: number;
  /** Operations a second on one counter that are worth a warning; 0: none are. */
  readonly hotPerSecond: number;
  readonly onHot: (hot: HotName) => void;
  /** What clients may write; undefined where it has no bound. */
  readonly quota: Quota | undefined;
  /** The ways to the other lanes. */
  readonly links: readonly Link[];
  /** Is told of appends within the call; absent where nothing can take long within one. */
  readonly watch?: AppendWatch;
  readonly isPoisoned: () => boolean;
  /** Storage broke: nothing is acknowledged any more, and the process must stop. */
  readonly onFailed: (error: TallystickError) => void;
  /** The most bytes of a group commit; absent for the default. */
  readonly groupBytes?: number;
}

/** What a lane has when it has recovered. */
interface OpenedLane {
  readonly partitions: ReadonlyMap<number, Partition>;
  readonly commit: GroupCommit;
  readonly checkpoints: CheckpointSchedule;
  readonly history: History;
  readonly feed: HistoryFeed;
  readonly recovery: Recovery;
}

export class LaneHost {
  readonly recovery: Recovery;
  readonly #parts: LaneHostParts;
  /** Of this thread alone. */
  readonly partitions: ReadonlyMap<number, Partition>;
  readonly #commit: GroupCommit;
  readonly #checkpoints: CheckpointSchedule;
  readonly #history: History;
  readonly #feed: HistoryFeed;
  readonly #hindsight: HindsightQueue;
  readonly #traffic = noTraffic();
  readonly #unread = { bytes: 0 };
  readonly #outputs = new Outputs();
  readonly #frames = new FrameStock();
  readonly #connections = new Set<LaneConnection>();
  readonly #quiet: Quiet;
  #releasing: Timer | undefined;
  #lane: Lane | undefined;
  #rollUps: RollUps | undefined;

  private constructor(parts: LaneHostParts, opened: OpenedLane) {
    this.#parts = parts;
    this.partitions = opened.partitions;
    this.#commit = opened.commit;
    this.#checkpoints = opened.checkpoints;
    this.#history = opened.history;
    this.#feed = opened.feed;
    this.recovery = opened.recovery;
    this.#hindsight = new HindsightQueue({ commit: opened.commit, clock: parts.clock, start: parts.startReplayer });
    this.#quiet = new Quiet({
      clock: parts.clock,
      bytes: () => this.#traffic.bytesIn + this.#commit.flushedPlace.bytes,
      release: () => this.#releaseMemory(),
    });
  }

  /** Brings the partitions to where the log ends. @throws TallystickError LOG_CORRUPT, DATA_DAMAGED */
  static async open(parts: LaneHostParts): Promise<LaneHost> {
    const { clock, storage, kernel, isPoisoned, onFailed, configuration, groupBytes, watch } = parts;
    const partitions = new Map(parts.partitions.map((number) => [number, new Partition(kernel)]));
    const history = new History(parts.history);
    const feed = new HistoryFeed({ history, partitions: parts.partitions, clock, onFailed });
    const applied = (number: number) => feed.take(number, partitions.get(number) as Partition);
    const started = clock.monotonicMilliseconds();
    const manifests = await restoreCheckpoints(storage, partitions);
    const restored = clock.monotonicMilliseconds();
    const start = await replayBehind(storage, manifests, partitions, applied);
    const replayed = clock.monotonicMilliseconds();
    const shape = { partitions: parts.partitions, kernelVersion: KERNEL_VERSION };
    const options = { ...(groupBytes !== undefined && { groupBytes }), ...(watch && { watch }) };
    const onFlushed = (took: number) => {
      checkpoints.flushed(took);
      feed.flushed();
      host.#quiet.worked();
    };
    const commit = new GroupCommit({ ...storage, ...options, clock, shape, start, isPoisoned, onFailed, onFlushed });
    const checkpoints: CheckpointSchedule = new CheckpointSchedule({
      ...{ partitions, commit, log: storage.log, clock, manifests, onFailed },
      isIn: (partition, sequence) => feed.isIn(partition, sequence),
      tailBytes: parts.checkpointTailBytes,
      connect: parts.connectCheckpointer,
    });
    feed.start(partitions, { commit, onCommitted: () => checkpoints.historyMoved() });
    configure(partitions, commit, configuration, clock.wallMilliseconds(), applied);
    const recovery = {
      pages: [...manifests.values()].reduce((sum, { pages }) => sum + pages.length, 0),
      checkpointMilliseconds: restored - started,
      entries: start.entries,
      bytes: start.bytes - start.begin.bytes,
      logMilliseconds: replayed - restored,
    };
    const host: LaneHost = new LaneHost(parts, { partitions, commit, checkpoints, history, feed, recovery });
    return host;
  }

  /** Resolves when everything that was appended is flushed. */
  flushed(): Promise<void> {
    return this.#commit.drain();
  }

  /** Takes a client; until the lane serves its requests are refused. */
  accept(transport: Transport, via: Via = 'tcp'): LaneConnection {
    const preHelloFrame = preHelloFrameBytes(this.#parts.configuration.partitions);
    const connection = new Connection<Session>({
      session: new Session(via),
      transport,
      clock: this.#parts.clock,
      traffic: this.#traffic,
      unread: this.#unread,
      outputs: this.#outputs,
      frames: this.#frames,
      limits: { ...DEFAULT_CONNECTION_LIMITS, preHelloFrame },
      handler: {
        request: (from, frame) => {
          if (this.#lane) this.#lane.request(from, frame);
          else from.refuse(frame.requestId, frame.partition, 'OVERLOADED', { detail: 'The server is starting.' });
        },
        isFull: (from) => this.#lane?.holds(from) ?? false,
        closed: (from) => {
          this.#connections.delete(from);
          this.#lane?.closed(from);
        },
      },
    });
    this.#connections.add(connection);
    return connection;
  }

  serve(map: ServerMap): void {
    const { lane, clock, links, hotPerSecond, onHot, quota, isPoisoned } = this.#parts;
    const describe = () => this.describe();
    const describePartition = (partition: number) => this.#checkpoints.describePartition(partition);
    const [partitions, commit, history, feed] = [this.partitions, this.#commit, this.#history, this.#feed];
    this.#lane = new Lane({
      ...{ lane, partitions, commit, history, feed, clock, map, links, hotPerSecond, onHot, quota },
      days: new Days(this.#parts.configuration.classes),
      ...{ isPoisoned, hindsight: this.#hindsight, describe, describePartition },
    });
    this.#checkpoints.start();
    const { planner, retention, configuration, onFailed } = this.#parts;
    const retentions = new Retentions(retention, configuration.classes);
    this.#rollUps = new RollUps({ history, planner, retentions, partitions, clock, onFailed });
  }

  /** Another lane rang: it has sent something, or made room. What came before the lane serves is found when it does. */
  woken(): void {
    this.#lane?.woken();
  }

  /** Refuses what comes, flushes and answers what was applied, closes the connections. The storage stays open. */
  async drain(): Promise<void> {
    this.#quiet.stop();
    this.#releasing?.cancel();
    await this.#lane?.drain();
    await this.#hindsight.stop();
    await this.#checkpoints.stop();
    await this.#rollUps?.stop();
    await this.#feed.stop();
    for (const connection of this.#connections) connection.close();
  }

  /** What only load needs: that of a kernel in each turn, then the rest. Each takes some milliseconds. */
  #releaseMemory(kernels = [...this.partitions.values()]): void {
    const kernel = kernels.pop();
    if (kernel) {
      kernel.renewMemory();
      this.#releasing = this.#parts.clock.setTimer(1, () => this.#releaseMemory(kernels));
      return;
    }
    this.#commit.releaseMemory();
    this.#frames.clear();
    this.#outputs.clear();
    this.#parts.collect();
  }

  /** What STATS tells beside the partitions. */
  describe(): StatsMap {
    const { configuration, storage, clock } = this.#parts;
    const { latency, groupSizes, groups, delayed, within, records, entries, bytes } = this.#commit.stats();
    const { begunMilliseconds, ...log } = storage.log.stats();
    const { refused, ...traffic } = this.#traffic;
    return {
      recovery: { ...this.recovery },
      classes: configuration.classes.map(({ history, ...rule }) => ({
        ...rule,
        ...(history !== undefined && { history: typeof history === 'object' ? { ...history } : history }),
      })),
      connections: this.#connections.size,
      ...traffic,
      refused: [...refused.values()].reduce((sum, count) => sum + count, 0),
      refusals: Object.fromEntries(refused),
      queues: this.#queues(),
      memory: this.#memory(),
      log: {
        ...{ groups, delayed, within, records, entries, bytes, ...log },
        ageSeconds: Math.max(0, Math.round((clock.wallMilliseconds() - begunMilliseconds) / 1_000)),
      },
      checkpoints: { ...this.#checkpoints.describe(), ...storage.checkpoints.stats() },
      history: this.#feed.describe(),
      hindsight: this.#hindsight.describe(),
      commitMicroseconds: { ...distribution(latency, LATENCY_BOUNDS) },
      groupBytes: { ...distribution(groupSizes, SIZE_BOUNDS) },
    };
  }

  /** What waits, and for what. */
  #queues(): StatsMap {
    const { openEntries, openBytes, flightEntries, waiters } = this.#commit.stats();
    const connections = [...this.#connections];
    return {
      requestsInFlight: sumOf(connections, ({ inFlight }) => inFlight),
      held: connections.filter(({ isHeld }) => isHeld).length,
      openEntries,
      openBytes,
      flightEntries,
      waiters,
    };
  }

  /** Bytes of what the lane has in memory, by what they are for. */
  #memory(): StatsMap {
    const { memoryBytes } = this.#commit.stats();
    const connections = [...this.#connections];
    const partitions = [...this.partitions.values()].map(({ statistics }) => statistics);
    const values = SLOT_BYTES * sumOf(partitions, ({ slots }) => slots);
    const windows = sumOf(partitions, ({ windowBytes }) => windowBytes);
    const kernels = sumOf(partitions, ({ memoryBytes: bytes }) => bytes);
    return {
      values,
      windows,
      rest: kernels - values - windows,
      groups: memoryBytes,
      history: this.#feed.pendingBytes,
      requests: sumOf(connections, ({ inFlightBytes }) => inFlightBytes),
      answers: sumOf(connections, ({ unsentBytes }) => unsentBytes),
      heap: getHeapStatistics().used_heap_size, // of the thread, what stands outside of it is told above
    };
  }
}

function sumOf<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((sum, item) => sum + of(item), 0);
}
