import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { describe } from '../backup/lane-state.js';
import { LaneTarget } from '../backup/lane-target.js';
import type { LanePlace } from '../directory.js';
import { TallystickError } from '../errors.js';
import { replayEntry, restoreCheckpoint } from '../lane/recovery.js';
import type { CheckpointManifest } from '../log/checkpoint.js';
import { ChecksummedBuffer } from '../log/checksum.js';
import { checkpointPath } from '../log/lane-storage.js';
import { LmdbCheckpointReader } from '../log/lmdb-checkpoints.js';
import type { ChainHead, LogShape } from '../log/log.js';
import { PartitionChain } from '../log/partition-chain.js';
import { type LogEntry, RECORD_BYTES, readRecordHeader } from '../log/record.js';
import { corrupt, LOG_BEGIN } from '../log/replay.js';
import { KERNEL_VERSION, Partition } from '../partition/partition.js';
import { compileWasm } from '../wasm.js';
import { type Dropped, DroppedEntries } from './dropped.js';
import { FoundChains, lastOf } from './found-chains.js';
import type { FoundRecord } from './found-records.js';

/**
 * What can be saved of one partition: the longest chain of whole records, from its first one or from its checkpoint on, through a
 * kernel. Runs in a process of its own, whose death over the checkpoint is no end of the repair.
 */

export interface SalvageJob {
  readonly lane: LanePlace;
  readonly partition: number;
  /** All that were found of the partition. */
  readonly records: readonly FoundRecord[];
  /** False where a process died over the checkpoints. */
  readonly useCheckpoint: boolean;
  /** A sequence that is known to have been reached, whatever can be read. */
  readonly known: number;
  /** When, in milliseconds since 1970. */
  readonly milliseconds: number;
  /** The lane to write it to; without it nothing is written. */
  readonly target?: LanePlace;
}

export interface Salvaged {
  readonly partition: number;
  /** The sequence of the checkpoint that it begins with; undefined where the log alone tells all. */
  readonly checkpoint: number | undefined;
  /** Where what is kept ends: sequence 0 is nothing. */
  readonly kept: ChainHead;
  readonly counters: number;
  readonly dropped: Dropped | undefined;
}

interface Start {
  readonly manifest: CheckpointManifest | undefined;
  readonly chain: readonly FoundRecord[];
  /** The last sequence that is whole. */
  readonly reaches: number;
}

export async function salvage(job: SalvageJob): Promise<Salvaged> {
  const { partition: number, milliseconds, target, known } = job;
  const salvager = new Salvager(job);
  const start = await salvager.bestStart();
  const { partition, head } = await salvager.replay(start);
  const { sequence } = head;
  const dropped = new DroppedEntries(partition);
  for (const chain of salvager.chains.others([], sequence)) {
    readEntries(number, chain, (entry) => {
      if (entry.sequence > sequence) dropped.take(entry);
    });
  }
  const last = job.records.reduce((most, record) => Math.max(most, lastOf(record)), known);
  if (target && sequence > 0) {
    const lane = new LaneTarget(target);
    const place = { ...LOG_BEGIN, ...head };
    await lane.take(describe(number, partition, place, milliseconds), (index) => partition.page(index));
    await lane.close();
  }
  return {
    partition: number,
    checkpoint: start.manifest?.place.sequence,
    kept: head,
    counters: partition.statistics.counters,
    dropped: last > sequence ? dropped.summary(sequence + 1, last) : undefined,
  };
}

class Salvager {
  readonly chains: FoundChains;
  readonly #job: SalvageJob;
  readonly #shape: LogShape;
  readonly #kernel = compileWasm('kernel');

  constructor(job: SalvageJob) {
    this.#job = job;
    this.#shape = { partitions: job.lane.partitions, kernelVersion: KERNEL_VERSION };
    this.chains = new FoundChains(job.records);
  }

  /** The log alone where it reaches as far as with the checkpoint: it is what was acknowledged. */
  async bestStart(): Promise<Start> {
    const fromLog = this.#startAt(undefined);
    const manifest = await this.#withCheckpoint(new Partition(this.#kernel));
    if (!manifest) return fromLog;
    const fromCheckpoint = this.#startAt(manifest);
    return fromLog.reaches >= fromCheckpoint.reaches ? fromLog : fromCheckpoint;
  }

  /** Brings a kernel as far as the log goes and does what it did. */
  async replay(start: Start): Promise<{ readonly partition: Partition; readonly head: ChainHead }> {
    const { sequence = 0, hash = 0n } = start.manifest?.place ?? {};
    let last = start.reaches;
    for (;;) {
      const partition = new Partition(this.#kernel);
      if (start.manifest) await this.#withCheckpoint(partition);
      const refused = this.#apply(partition, start, last);
      if (refused === undefined) {
        const taken = start.chain.filter(({ firstSequence }) => firstSequence <= last).at(-1);
        return {
          partition,
          head: last > sequence && taken ? { sequence: last, hash: taken.hash } : { sequence, hash },
        };
      }
      // It may have changed something before it was found to be another: again, up to the one before.
      last = refused - 1;
    }
  }

  #startAt(manifest: CheckpointManifest | undefined): Start {
    const chain = this.chains.follow(manifest?.place ?? LOG_BEGIN);
    const last = chain.at(-1);
    const reaches = last ? lastOf(last) - (last.isContinued ? 1 : 0) : (manifest?.place.sequence ?? 0);
    return { manifest, chain, reaches };
  }

  /** @returns the sequence of the entry that does not do what it did, if there is one */
  #apply(partition: Partition, { chain, manifest }: Start, last: number): number | undefined {
    const { partition: number } = this.#job;
    const partitions = new Map([[number, partition]]);
    let refused: number | undefined;
    readEntries(
      number,
      chain,
      (entry) => {
        if (refused !== undefined || entry.sequence > last) return;
        try {
          replayEntry(partitions, entry);
        } catch (error) {
          if (!(error instanceof TallystickError) || error.code !== 'LOG_CORRUPT') throw error;
          refused = entry.sequence;
        }
      },
      manifest?.place,
    );
    return refused;
  }

  /** Puts the checkpoint into an empty partition; undefined where there is none that is whole. */
  async #withCheckpoint(partition: Partition): Promise<CheckpointManifest | undefined> {
    const path = checkpointPath(this.#job.lane.path);
    if (!this.#job.useCheckpoint || !existsSync(path)) return undefined;
    let checkpoints: LmdbCheckpointReader | undefined;
    try {
      checkpoints = new LmdbCheckpointReader(path, this.#shape);
      return await restoreCheckpoint(checkpoints, this.#job.partition, partition);
    } catch {
      return undefined; // damaged, in the words of whichever layer noticed: verify has said so
    } finally {
      await checkpoints?.close();
    }
  }
}

/** The entries of a chain, as far as they are whole. Its first record may begin within one that is not. */
function readEntries(
  partition: number,
  chain: readonly FoundRecord[],
  visit: (entry: LogEntry) => void,
  after?: ChainHead,
): void {
  const whole = after ? chain : chain.slice(chain.findIndex(({ continues }) => !continues));
  const first = whole[0];
  if (!first || first.continues) return;
  const head = after ?? { sequence: first.firstSequence - 1, hash: first.previousHash };
  const reader = new PartitionChain(partition, head, visit);
  const buffer = new ChecksummedBuffer(RECORD_BYTES);
  const files = new Map<string, number>();
  try {
    for (const { path, offset, length } of whole) {
      const file = files.get(path) ?? openSync(path, 'r');
      files.set(path, file);
      readSync(file, buffer.bytes, 0, length, offset);
      reader.record(buffer, readRecordHeader(buffer.view, 0), corrupt);
    }
  } finally {
    for (const file of files.values()) closeSync(file);
  }
}
