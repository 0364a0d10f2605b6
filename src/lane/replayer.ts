import { codeOfStatus, OK, TallystickError } from '../errors.js';
import type { CheckpointReader } from '../log/checkpoint.js';
import type { LogReader, PartitionPlace } from '../log/log.js';
import { LOG_BEGIN } from '../log/replay.js';
import { Partition } from '../partition/partition.js';
import { ByteReader, ByteWriter, encodeUtf8 } from '../protocol/bytes.js';
import { encodeGet, encodeList } from '../protocol/request.js';
import type { Then } from '../pubsub/hindsight.js';
import { replayEntry, restoreCheckpoint } from './recovery.js';
import type { FromReplayer, ReplayOrder, ReplayWish } from './replay-messages.js';

/** Below a prefix, of one position: what the reader's lane keeps of it until it has gone through its own. */
const MOST_COUNTERS = 65_536;
const MOST_BYTES = 8 * 1_048_576;
/** How many counters are listed at a time. */
const LISTED = 1_024;

export interface ReplayerParts {
  readonly log: LogReader;
  readonly checkpoints: CheckpointReader;
  /** The compiled kernel. */
  readonly kernel: WebAssembly.Module;
  readonly report: (message: FromReplayer) => void;
}

/** What is looked for, in the order of positions. */
interface Search {
  readonly partition: number;
  readonly to: PartitionPlace;
  readonly wishes: readonly ReplayWish[];
}

/** Why a reading of the log ends before it has come to the end. */
class Enough extends Error {}

/**
 * Finds what counters of a partition were at positions that are past, by a second kernel: it loads the partition's checkpoint, replays its
 * entries, and reads wherever one of the positions is.
 *
 * ```
 *  positions from the checkpoint on:  load ─► replay ─► read ─► replay ─► read … the last one
 *  those before it:          the log's first record ─► replay ─► read …    if it is still kept
 * ```
 *
 * It only reads: files of which others are the writers. What if they drop or replace what it reads? Then its checks fail, and it has not found it.
 */
export class Replayer {
  readonly #parts: ReplayerParts;
  readonly #found = new Set<number>();
  #isStopping = false;

  constructor(parts: ReplayerParts) {
    this.#parts = parts;
  }

  /** Reports what it finds, and why it fails. Never rejects. */
  async work(order: ReplayOrder): Promise<void> {
    try {
      await this.#work(order);
    } catch (error) {
      const known = error instanceof TallystickError ? error : new TallystickError('INTERNAL', String(error));
      this.#parts.report({ kind: 'failed', code: known.code, detail: known.detail });
    }
  }

  /** Nobody waits any more. */
  stop(): void {
    this.#isStopping = true;
  }

  /** A newer checkpoint may take away what is read of the one before: then once more, with that one. */
  async #work({ partition, flushed, wanted }: ReplayOrder): Promise<void> {
    const kernel = new Partition(this.#parts.kernel);
    const generation = () => this.#parts.checkpoints.manifest(partition)?.generation;
    for (let before: number | undefined, isFirst = true; isFirst || generation() !== before; isFirst = false) {
      before = generation();
      const wishes = wanted.filter(({ id }) => !this.#found.has(id)).sort((a, b) => a.position - b.position);
      if (wishes.length === 0) return;
      try {
        await this.#find(kernel, { partition, to: flushed, wishes });
      } catch (error) {
        if (generation() === before) throw error;
      }
    }
  }

  async #find(kernel: Partition, { partition, to, wishes }: Search): Promise<void> {
    const { log, checkpoints } = this.#parts;
    const newest = checkpoints.manifest(partition)?.place.sequence ?? Number.POSITIVE_INFINITY;
    const behind = wishes.filter(({ position }) => position >= newest);
    if (behind.length > 0) {
      kernel.reset();
      const manifest = await restoreCheckpoint(checkpoints, partition, kernel);
      await this.#replay(kernel, manifest?.place ?? LOG_BEGIN, { partition, to, wishes: behind });
    }
    const before = wishes.filter(({ position }) => position < newest);
    if (before.length === 0 || log.firstRecord > 1) return;
    kernel.reset();
    await this.#replay(kernel, LOG_BEGIN, { partition, to, wishes: before });
  }

  /** Replays from where the kernel stands up to the last of the positions. */
  async #replay(kernel: Partition, after: PartitionPlace, { partition, to, wishes }: Search): Promise<void> {
    const partitions = new Map([[partition, kernel]]);
    let passed = 0;
    const pass = () => {
      if (this.#isStopping) throw new Enough();
      const at = kernel.sequence;
      for (let wish = wishes[passed]; wish && wish.position <= at; wish = wishes[++passed]) {
        if (wish.position === at) this.#read(kernel, wish);
      }
      if (passed === wishes.length) throw new Enough();
    };
    try {
      pass();
      const visit = (entry: Parameters<typeof replayEntry>[1]) => {
        replayEntry(partitions, entry);
        pass();
      };
      await this.#parts.log.readPartition({ partition, after, to, visit });
    } catch (error) {
      if (!(error instanceof Enough)) throw error;
    }
  }

  #read(kernel: Partition, { id, followed }: ReplayWish): void {
    const past = followed.kind === 'names' ? valuesOf(kernel, followed.names) : countersBelow(kernel, followed.prefix);
    if (!past) return;
    this.#found.add(id);
    this.#parts.report({ kind: 'found', id, past });
  }
}

function valuesOf(kernel: Partition, names: readonly string[]): Then {
  const writer = new ByteWriter();
  encodeGet(writer, { keys: names.map((name) => ({ name })) });
  check(kernel.read(writer.view()));
  const reader = new ByteReader(kernel.answer);
  const values = Array.from({ length: reader.varint() }, () => (reader.u8() === OK ? reader.zigzagBig() : undefined));
  return { kind: 'names', values };
}

/** Undefined where there are too many. */
function countersBelow(kernel: Partition, prefix: string): Then | undefined {
  const items = new ByteWriter();
  const writer = new ByteWriter();
  let count = 0;
  let cursor = 0;
  do {
    writer.reset();
    encodeList(writer, { prefix: encodeUtf8(prefix), cursor, limit: LISTED });
    check(kernel.list(writer.view()));
    const { answer } = kernel;
    const reader = new ByteReader(answer);
    cursor = reader.varint();
    count += reader.varint();
    items.bytes(answer, reader.offset);
    if (count > MOST_COUNTERS || items.length > MOST_BYTES) return undefined;
  } while (cursor !== 0);
  return { kind: 'prefix', count, items: items.copy() };
}

function check(status: number): void {
  if (status !== OK) throw new TallystickError('INTERNAL', `A partition does not read (${codeOfStatus(status)}).`);
}
