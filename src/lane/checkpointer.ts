import type { Clock, Timer } from '../clock.js';
import { TallystickError } from '../errors.js';
import {
  type CheckpointManifest,
  type CheckpointPage,
  type CheckpointStore,
  type NewPage,
  PAGES_PER_WRITE,
} from '../log/checkpoint.js';
import type { AppendOutcome, LogReader } from '../log/log.js';
import { LOG_BEGIN } from '../log/replay.js';
import { KERNEL_VERSION, PAGE_BYTES, Partition } from '../partition/partition.js';
import type {
  CheckpointOrder,
  FromCheckpointer,
  MadeCheckpoint,
  Probe,
  ToCheckpointer,
} from './checkpoint-messages.js';
import { replayEntry, restoreCheckpoint } from './recovery.js';

/** A transaction that the storage has not answered after this long will not be answered; as in group-commit.ts. */
const UNANSWERED_MILLISECONDS = 10_000;

export interface CheckpointerParts {
  readonly log: LogReader;
  readonly checkpoints: CheckpointStore;
  /** The compiled kernel. */
  readonly kernel: WebAssembly.Module;
  readonly clock: Clock;
  /** Frees what is reached no more; memory of WebAssembly waits for that. */
  readonly collect: () => void;
  readonly report: (message: FromCheckpointer) => void;
}

/** Without an order for so long the second kernel goes: a new one and its collection take some 10 ms. */
const IDLE_MILLISECONDS = 500;

/** The checkpoint in the making, and the pages of the one before. */
interface NewCheckpoint {
  readonly partition: number;
  readonly generation: number;
  readonly known: readonly CheckpointPage[];
}

/** Why work ended that was to be stopped. */
class Stopped extends Error {}

/**
 * Makes checkpoints, one at a time, by a second kernel: it loads the partition's checkpoint, replays the partition's entries
 * up to the place of the order, and stores the pages that have changed. The owner of the partition does no more for it than
 * hash some pages now and then: at each such sequence the second kernel hashes the same pages, so a checkpoint is a proof that the
 * log gives what the server has in memory.
 *
 * ```
 *  order -> remove orphans -> load -> replay, compare -> write changed pages … -> publish -> made
 * ```
 *
 * Each transaction waits for a `go`, by which the lane sets the pace. If the process dies between any two of them, the
 * checkpoint before is there, whole.
 */
export class Checkpointer {
  readonly #parts: CheckpointerParts;
  /** One instance for checkpoints that follow each other: its memory is that of the largest partition, and never twice that. */
  #kernel: Partition | undefined;
  #idle: Timer | undefined;
  /** Of the pages that are being written, for all transactions: what lies outside of the heap is collected late. They go with the kernel. */
  #copies: readonly Uint8Array<ArrayBuffer>[] = [];
  #working = false;
  #stopping = false;
  #gate: { open: () => void; stop: (reason: Stopped) => void } | undefined;

  constructor(parts: CheckpointerParts) {
    this.#parts = parts;
  }

  hear(message: ToCheckpointer): void {
    if (message.kind === 'checkpoint') void this.#work(message.order);
    else if (message.kind === 'go') this.#gate?.open();
    else this.#stop();
  }

  #stop(): void {
    this.#stopping = true;
    this.#idle?.cancel();
    this.#gate?.stop(new Stopped());
    if (!this.#working) this.#parts.report({ kind: 'stopped' });
  }

  /** Never rejects. */
  async #work(order: CheckpointOrder): Promise<void> {
    this.#working = true;
    this.#idle?.cancel();
    const last = await this.#make(order).then(
      (checkpoint): FromCheckpointer => ({ kind: 'made', checkpoint }),
      (error: unknown) => reportOf(error),
    );
    this.#working = false;
    if (!this.#stopping) this.#idle = this.#parts.clock.setTimer(IDLE_MILLISECONDS, () => this.#forget());
    if (last.kind !== 'stopped') this.#parts.report(last);
    if (this.#stopping) this.#parts.report({ kind: 'stopped' });
  }

  #forget(): void {
    this.#kernel = undefined;
    this.#copies = [];
    this.#parts.collect();
  }

  async #make(order: CheckpointOrder): Promise<MadeCheckpoint> {
    const { checkpoints, clock, kernel } = this.#parts;
    const { partition, place, probes } = order;
    await this.#transact(() => checkpoints.removeOrphans(partition));
    this.#kernel ??= new Partition(kernel);
    const before = await this.#replay(this.#kernel, order);
    const generation = (before?.generation ?? 0) + 1;
    const known = before?.pages ?? [];
    const { pages, pagesWritten } = await this.#writeChanged(this.#kernel, { partition, generation, known });
    const milliseconds = clock.wallMilliseconds();
    const manifest = { partition, kernelVersion: KERNEL_VERSION, generation, place, milliseconds, pages };
    await this.#transact(() => checkpoints.publish(manifest));
    return { partition, place, milliseconds, pages: pages.length, pagesWritten, probes: probes.length };
  }

  /** Brings the second kernel to the place of the order, comparing on the way. */
  async #replay(
    kernel: Partition,
    { partition, place, probes }: CheckpointOrder,
  ): Promise<CheckpointManifest | undefined> {
    kernel.reset();
    const before = await restoreCheckpoint(this.#parts.checkpoints, partition, kernel);
    const comparison = new Comparison(partition, kernel, probes);
    const partitions = new Map([[partition, kernel]]);
    comparison.pass();
    await this.#parts.log.readPartition({
      partition,
      after: before?.place ?? LOG_BEGIN,
      to: place,
      visit: (entry) => {
        if (this.#stopping) throw new Stopped();
        replayEntry(partitions, entry);
        comparison.pass();
      },
    });
    comparison.end();
    return before;
  }

  /** Stores the pages that are not as they were; says where all pages are now. */
  async #writeChanged(kernel: Partition, { partition, generation, known }: NewCheckpoint) {
    const pages: CheckpointPage[] = [];
    let batch: NewPage[] = [];
    let pagesWritten = 0;
    const write = async () => {
      const written = batch;
      batch = [];
      await this.#transact(() => this.#parts.checkpoints.write(partition, generation, written));
      pagesWritten += written.length;
    };
    if (this.#copies.length === 0)
      this.#copies = Array.from({ length: PAGES_PER_WRITE }, () => new Uint8Array(PAGE_BYTES));
    for (let index = 0; index < kernel.pages; index++) {
      const hash = kernel.hashPages(index, 1);
      const before = known[index];
      const isUnchanged = before?.hash === hash;
      pages.push(isUnchanged ? before : { generation, hash });
      if (isUnchanged) continue;
      batch.push({ index, bytes: kernel.page(index, this.#copies[batch.length]) });
      if (batch.length === PAGES_PER_WRITE) await write();
    }
    if (batch.length > 0) await write();
    return { pages, pagesWritten };
  }

  /** Waits for the lane's leave and then for the storage. @throws TallystickError STORAGE_FULL, STORAGE_FAILED */
  async #transact(commit: () => Promise<AppendOutcome>): Promise<void> {
    await this.#leave();
    const outcome = await this.#answered(commit());
    if (outcome.kind !== 'flushed') throw outcome.error;
  }

  #leave(): Promise<void> {
    if (this.#stopping) return Promise.reject(new Stopped());
    return new Promise<void>((open, stop) => {
      this.#gate = { open, stop };
      this.#parts.report({ kind: 'ready' });
    }).finally(() => {
      this.#gate = undefined;
    });
  }

  #answered(outcome: Promise<AppendOutcome>): Promise<AppendOutcome> {
    return new Promise<AppendOutcome>((resolve, reject) => {
      const timer = this.#parts.clock.setTimer(UNANSWERED_MILLISECONDS, () => {
        const seconds = UNANSWERED_MILLISECONDS / 1_000;
        reject(new TallystickError('STORAGE_FAILED', `A write to the checkpoint was not answered for ${seconds} s.`));
      });
      outcome.then(resolve, reject).finally(() => timer.cancel());
    });
  }
}

/** Holds the second kernel against what the lane found at the same sequences. */
class Comparison {
  readonly #partition: number;
  readonly #kernel: Partition;
  readonly #probes: readonly Probe[];
  #compared = 0;
  #pagesCovered = 0;
  /** Of the state at the last probe. */
  #pages = 0;

  constructor(partition: number, kernel: Partition, probes: readonly Probe[]) {
    this.#partition = partition;
    this.#kernel = kernel;
    this.#probes = probes;
  }

  /** To be called wherever the kernel stands. @throws TallystickError STATE_DIVERGED */
  pass(): void {
    for (;;) {
      const probe = this.#probes[this.#compared];
      if (!probe || probe.sequence > this.#kernel.sequence) return;
      this.#compare(probe);
      this.#compared++;
    }
  }

  /** @throws TallystickError INTERNAL unless every page was compared that was there at the last probe. */
  end(): void {
    if (this.#compared === this.#probes.length && this.#pages > 0 && this.#pagesCovered >= this.#pages) return;
    throw new TallystickError(
      'INTERNAL',
      `Of ${this.#probes.length} probes of partition ${this.#partition} ${this.#compared} could be compared, ` +
        `${this.#pagesCovered} of ${this.#pages} pages.`,
    );
  }

  #compare({ sequence, first, count, hash }: Probe): void {
    const kernel = this.#kernel;
    const what = `Partition ${this.#partition} at sequence ${sequence}`;
    if (sequence !== kernel.sequence || first !== this.#pagesCovered) {
      throw new TallystickError(
        'INTERNAL',
        `${what}: the replay is at ${kernel.sequence}, page ${this.#pagesCovered}.`,
      );
    }
    if (first + count > kernel.pages || kernel.hashPages(first, count) !== hash) {
      throw new TallystickError('STATE_DIVERGED', `${what}: pages ${first} to ${first + count - 1} differ.`);
    }
    this.#pagesCovered = first + count;
    this.#pages = kernel.pages;
  }
}

/** What becomes of a checkpoint that was not made. */
function reportOf(error: unknown): FromCheckpointer {
  if (error instanceof Stopped) return { kind: 'stopped' };
  if (!(error instanceof TallystickError)) return { kind: 'failed', code: 'INTERNAL', detail: String(error) };
  const { code, detail } = error;
  return code === 'STORAGE_FULL' ? { kind: 'full' } : { kind: 'failed', code, detail };
}
