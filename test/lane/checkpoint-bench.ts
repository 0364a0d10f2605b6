import { TallystickError } from '../../src/errors.js';
import type { CheckpointOrder, FromCheckpointer, MadeCheckpoint } from '../../src/lane/checkpoint-messages.js';
import { Probes } from '../../src/lane/checkpoint-probes.js';
import { Checkpointer } from '../../src/lane/checkpointer.js';
import { EFFECT_BYTES, hasEffect, recover } from '../../src/lane/recovery.js';
import type { FromReplayer, ReplayWish } from '../../src/lane/replay-messages.js';
import { Replayer } from '../../src/lane/replayer.js';
import { Chain, Group } from '../../src/log/group.js';
import type { LogPlace } from '../../src/log/log.js';
import { firstPlace } from '../../src/log/replay.js';
import { KERNEL_VERSION, Partition } from '../../src/partition/partition.js';
import { type Call, Kernel, module } from '../kernel/fixture.js';
import { MemoryMark } from '../log/lane-bench.js';
import { SimCheckpointDisk, SimCheckpoints } from '../log/sim-checkpoints.js';
import { SimDisk, SimLog, type SimSegment } from '../log/sim-log.js';
import { partitionPlace } from '../log/writer.js';
import type { Session } from '../model/counter-model.js';
import { ManualClock } from '../support/manual-clock.js';

export const PARTITIONS = [0, 1] as const;
const SHAPE = { partitions: PARTITIONS, kernelVersion: KERNEL_VERSION };

/** The process dies in a transaction of a checkpoint, counted from 0, which is on the disk or not. */
export interface CrashPoint {
  readonly transaction: number;
  readonly stored: boolean;
}

/** A kernel that remembers the delta of each call in its log too. */
class LoggedKernel extends Kernel {
  readonly effects = [0n];

  override call(kind: number, flags: number, session: Session, milliseconds: number, body: Uint8Array): number {
    const status = super.call(kind, flags, session, milliseconds, body);
    if (this.log.length > this.effects.length) this.effects.push(this.partition.effect);
    return status;
  }
}

/** Partitions that live, their log and their checkpoints, without a lane: calls, groups and checkpoints come as a test says. */
export class CheckpointBench {
  /** Each takes any name, as if it were the only one. */
  readonly kernels = PARTITIONS.map(() => new LoggedKernel());
  readonly clock = new ManualClock();
  readonly logDisk = new SimDisk();
  readonly disk = new SimCheckpointDisk();
  readonly mark = new MemoryMark();
  /** How often a checkpointer has given memory back. */
  collections = 0;
  /** All that were made, as a thread has its own for good. */
  readonly checkpointers: Checkpointer[] = [];
  readonly #log = new SimLog(this.logDisk, SHAPE, setImmediate);
  readonly #group = new Group(new Chain(SHAPE, firstPlace(SHAPE)), 64 * 1_048_576);
  readonly #probes = new Map<number, Probes>();
  /** Calls of each kernel that are in the log. */
  readonly #logged = PARTITIONS.map(() => 0);
  #flushed: LogPlace = firstPlace(SHAPE);

  constructor() {
    this.mark.mark = firstPlace(SHAPE);
    for (const kernel of this.kernels) kernel.watched = false;
  }

  get flushed(): LogPlace {
    return this.#flushed;
  }

  /** Logs what was applied, as one group. */
  async flush(): Promise<void> {
    for (const [partition, { log, effects }] of this.kernels.entries()) {
      for (let at = this.#logged[partition] ?? 0; at < log.length; at++) {
        this.#append(partition, at + 1, log[at] as Call, effects[at] ?? 0n);
      }
      this.#logged[partition] = log.length;
    }
    if (this.#group.entries === 0) return;
    const sealed = this.#group.seal();
    await this.#log.append(sealed);
    this.#group.reset();
    this.mark.write(sealed);
    this.#flushed = sealed.end;
  }

  #append(
    partition: number,
    sequence: number,
    { kind, flags, session, milliseconds, body }: Call,
    effect: bigint,
  ): void {
    const tail = new Uint8Array(hasEffect(kind) ? EFFECT_BYTES : 0);
    if (hasEffect(kind)) new DataView(tail.buffer).setBigInt64(0, effect, true);
    this.#group.append(partition, sequence, { kind, flags, ...session, milliseconds }, body, tail);
  }

  /** Takes a probe of the partition's next checkpoint. */
  probe(partition: number): Probes {
    const known = this.#probes.get(partition);
    const probes = known ?? new Probes(partition, this.live(partition));
    this.#probes.set(partition, probes);
    if (!probes.isComplete) probes.take();
    return probes;
  }

  /** The order for a checkpoint at the end of the log, with what is missing of its probes. */
  async order(partition: number): Promise<CheckpointOrder> {
    while (!this.probe(partition).isComplete);
    const { taken } = this.probe(partition);
    this.#probes.delete(partition);
    await this.flush();
    return { partition, place: partitionPlace(this.#flushed, partition), probes: taken };
  }

  live(partition: number): Partition {
    return (this.kernels[partition] as Kernel).partition;
  }

  openCheckpoints(commitLater: (commit: () => void) => void = setImmediate): SimCheckpoints {
    return new SimCheckpoints(this.disk, SHAPE, commitLater);
  }

  /** Carries an order out. */
  make(order: CheckpointOrder, checkpoints = this.openCheckpoints()): Promise<FromCheckpointer> {
    return new Promise((resolve) => {
      const checkpointer = new Checkpointer({
        ...{ log: this.#log, checkpoints, kernel: module, clock: this.clock },
        collect: () => {
          this.collections++;
        },
        report: (message) => {
          if (message.kind === 'ready') checkpointer.hear({ kind: 'go' });
          else resolve(message);
        },
      });
      this.checkpointers.push(checkpointer);
      checkpointer.hear({ kind: 'checkpoint', order });
    });
  }

  /** Carries an order out until the process dies in one of its transactions; false if it has not so many. */
  crash(order: CheckpointOrder, { transaction, stored }: CrashPoint): Promise<boolean> {
    return new Promise((resolve) => {
      let begun = 0;
      const checkpoints = this.openCheckpoints((commit) => {
        if (begun++ !== transaction) {
          setImmediate(commit);
          return;
        }
        checkpoints.crash(stored);
        resolve(true);
      });
      void this.make(order, checkpoints).then(() => resolve(false));
    });
  }

  /** Begins an order, stops the checkpointer after so many transactions, and says what it told. */
  stopAfter(order: CheckpointOrder, transactions: number): Promise<string[]> {
    const told: string[] = [];
    return new Promise((resolve) => {
      const checkpointer = new Checkpointer({
        ...{
          log: this.#log,
          checkpoints: this.openCheckpoints(),
          kernel: module,
          clock: this.clock,
          collect: () => {},
        },
        report: ({ kind }) => {
          told.push(kind);
          if (kind === 'ready') checkpointer.hear({ kind: 'go' });
          if (told.length === transactions) setImmediate(() => checkpointer.hear({ kind: 'stop' }));
          if (kind === 'stopped') resolve(told);
        },
      });
      checkpointer.hear({ kind: 'checkpoint', order });
    });
  }

  /** Lets time pass, and what follows from it happen. */
  async passTime(milliseconds: number): Promise<void> {
    for (let passed = 0; passed < milliseconds; passed += 1_000) {
      for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
      this.clock.advance(1_000);
    }
  }

  async checkpoint(partition: number): Promise<MadeCheckpoint> {
    const message = await this.make(await this.order(partition));
    if (message.kind === 'made') return message.checkpoint;
    throw message.kind === 'failed' ? new TallystickError(message.code, message.detail) : new Error(message.kind);
  }

  /** What a replayer reports of a partition. */
  async lookBack(
    partition: number,
    wanted: readonly ReplayWish[],
    checkpoints = this.openCheckpoints(),
  ): Promise<FromReplayer[]> {
    const heard: FromReplayer[] = [];
    const report = (message: FromReplayer) => heard.push(message);
    const replayer = new Replayer({ log: this.#log, checkpoints, kernel: module, report });
    await replayer.work({ partition, flushed: partitionPlace(this.#flushed, partition), wanted });
    return heard;
  }

  /** The log is kept no more up to that record. */
  drop(records: number): void {
    const [first, segment] = [...this.logDisk.segments][0] as [number, SimSegment];
    this.logDisk.segments.delete(first);
    this.logDisk.segments.set(records + 1, segment);
    for (const number of segment.records.keys()) if (number <= records) segment.records.delete(number);
  }

  /** What a new process makes of the disks. */
  async recover(): Promise<{ partitions: ReadonlyMap<number, Partition>; entries: number }> {
    const partitions = new Map(PARTITIONS.map((number) => [number, new Partition(module)]));
    const storage = { log: this.#log, mark: this.mark, checkpoints: this.openCheckpoints() };
    const { entries } = await recover(storage, partitions);
    return { partitions, entries };
  }
}
