import { TallystickError } from '../errors.js';
import type { HistoryPlace } from '../history/bucket.js';
import { checkHistory } from '../history/check.js';
import { RowCodec } from '../history/row.js';
import { openHistoryReader } from '../history/storage.js';
import { hasEffect, replayEntry, restoreCheckpoint } from '../lane/recovery.js';
import type { CheckpointReader } from '../log/checkpoint.js';
import { checkpointPath, closeLaneStorage, historyPath, openLaneStorage, openLogReader } from '../log/lane-storage.js';
import { LmdbCheckpointReader } from '../log/lmdb-checkpoints.js';
import { LmdbFile } from '../log/lmdb-file.js';
import type { LogPlace, LogShape, Mark, PartitionPlace } from '../log/log.js';
import { corrupt, LOG_BEGIN, Replay } from '../log/replay.js';
import type { SegmentFile } from '../log/segment-files.js';
import { openSegment } from '../log/segment-kinds.js';
import { Partition } from '../partition/partition.js';
import { compileWasm } from '../wasm.js';

/**
 * What is verified in a process of its own: one file, or one partition, at a time, so that its death says where. Everything here is a value that one process can send to another.
 */

export interface SegmentJob {
  readonly file: SegmentFile;
  readonly shape: LogShape;
  readonly mark: Mark;
  /** Where checkpoints stand, by partition; those outside of the segment are not its business. */
  readonly checkpoints: ReadonlyMap<number, PartitionPlace>;
}

export interface SegmentFindings {
  readonly begin: LogPlace;
  readonly end: LogPlace;
  readonly entries: number;
  readonly auditItems: number;
  /** Of the first and the last entry, in milliseconds since 1970; undefined where there is none. */
  readonly times: readonly [first: number, last: number] | undefined;
}

export interface CheckpointsJob {
  /** Of the lane. */
  readonly directory: string;
  readonly shape: LogShape;
}

export interface CheckpointFindings {
  readonly partition: number;
  /** Undefined where none was made. */
  readonly place: PartitionPlace | undefined;
  readonly pages: number;
  /** When it was made, in milliseconds since 1970. */
  readonly milliseconds: number;
  /** Undefined for a sound one. */
  readonly fault: string | undefined;
}

export interface HistoryJob {
  /** Of the lane. */
  readonly directory: string;
  readonly partitions: readonly number[];
}

export interface HistoryFindings {
  readonly rows: number;
  /** Up to where what each partition emitted is in. */
  readonly places: ReadonlyMap<number, HistoryPlace>;
}

export interface ReplayJob {
  /** Of the lane. */
  readonly directory: string;
  readonly shape: LogShape;
  readonly partition: number;
  /** Where the log ends. */
  readonly end: PartitionPlace;
  /** Whether the log reaches back to its first entry. */
  readonly isWhole: boolean;
}

export interface ReplayFindings {
  /** That went through the kernel. */
  readonly entries: number;
  readonly stateHash: bigint;
}

/** By its kind: what a job is told, and what it finds. */
export interface Jobs {
  readonly segment: readonly [SegmentJob, SegmentFindings];
  readonly checkpoints: readonly [CheckpointsJob, readonly CheckpointFindings[]];
  readonly history: readonly [HistoryJob, HistoryFindings];
  readonly replay: readonly [ReplayJob, ReplayFindings];
}

export type JobKind = keyof Jobs;
/** @throws TallystickError LOG_CORRUPT, DATA_DAMAGED, DIRECTORY_INVALID */
type Run<K extends JobKind> = (job: Jobs[K][0]) => Promise<Jobs[K][1]>;

export const RUN: { readonly [K in JobKind]: Run<K> } = {
  segment: verifySegment,
  checkpoints: verifyCheckpoints,
  history: verifyHistory,
  replay: verifyReplay,
};

/** Every record against its checksum and its chain, the mark, the checkpoints; and that SETs and DELETEs are audited. */
async function verifySegment({ file, shape, mark, checkpoints }: SegmentJob): Promise<SegmentFindings> {
  if (file.kind === 'lmdb') LmdbFile.check(file.path);
  const segment = await openSegment(file, shape, { readOnly: true });
  try {
    const audited = new Set<string>();
    let times: [number, number] | undefined;
    const { begin, lastRecord } = segment;
    const through = [...checkpoints].filter(([, { records }]) => records >= begin.records && records <= lastRecord);
    const replay = new Replay(shape, begin, {
      mark,
      through,
      visit: ({ kind, partition, sequence, milliseconds }) => {
        if (hasEffect(kind)) audited.add(`${partition}.${sequence}`);
        times = [times?.[0] ?? milliseconds, milliseconds];
      },
    });
    await segment.walk((number, record) => replay.record(number, record));
    const end = replay.boundary();
    let auditItems = 0;
    await segment.audit(({ partition, sequence }) => {
      auditItems++;
      if (audited.delete(`${partition}.${sequence}`)) return;
      throw corrupt(`The audit item of sequence ${sequence} of partition ${partition} is of no SET and no DELETE.`);
    });
    for (const place of audited) throw corrupt(`Entry ${place} (partition, sequence) has no audit item.`);
    return { begin, end, entries: replay.entries, auditItems, times };
  } finally {
    await segment.close();
  }
}

/** Every manifest, and every page that one names. */
async function verifyCheckpoints({ directory, shape }: CheckpointsJob): Promise<CheckpointFindings[]> {
  const path = checkpointPath(directory);
  LmdbFile.check(path);
  const checkpoints = new LmdbCheckpointReader(path, shape);
  try {
    const findings: CheckpointFindings[] = [];
    for (const partition of shape.partitions) findings.push(await verifyCheckpoint(checkpoints, partition));
    return findings;
  } finally {
    await checkpoints.close();
  }
}

async function verifyCheckpoint(checkpoints: CheckpointReader, partition: number): Promise<CheckpointFindings> {
  const none = { partition, place: undefined, pages: 0, milliseconds: 0 };
  try {
    const manifest = checkpoints.manifest(partition);
    if (!manifest) return { ...none, fault: undefined };
    await checkpoints.readPages(manifest, () => {});
    const { place, pages, milliseconds } = manifest;
    return { partition, place, pages: pages.length, milliseconds, fault: undefined };
  } catch (error) {
    if (error instanceof TallystickError && error.code === 'LOG_CORRUPT') return { ...none, fault: error.detail };
    throw error;
  }
}

/** Every row against its checksum, and how far it is. */
async function verifyHistory({ directory, partitions }: HistoryJob): Promise<HistoryFindings> {
  LmdbFile.check(historyPath(directory));
  const tables = openHistoryReader(directory);
  try {
    const codec = new RowCodec();
    const places = new Map<number, HistoryPlace>();
    let rows = 0;
    for (const partition of partitions) {
      const checked = await checkHistory(tables, codec, partition);
      rows += checked.rows;
      places.set(partition, checked);
    }
    return { rows, places };
  } finally {
    tables.close();
  }
}

/**
 * The entries behind the checkpoint through a kernel, as a start does it; and where the log is whole, those before it
 * through another one, which must come to the same state.
 */
async function verifyReplay({ directory, shape, partition, end, isWhole }: ReplayJob): Promise<ReplayFindings> {
  const kernel = compileWasm('kernel');
  const storage = await openLaneStorage(directory, shape, { readOnly: true });
  const reader = openLogReader(directory, shape);
  try {
    let entries = 0;
    const replay = async (into: Partition, after: PartitionPlace, to: PartitionPlace): Promise<Partition> => {
      const partitions = new Map([[partition, into]]);
      await reader.readPartition({
        partition,
        after,
        to,
        visit: (entry) => {
          replayEntry(partitions, entry);
          entries++;
        },
      });
      return into;
    };
    const recovered = new Partition(kernel);
    const manifest = await restoreCheckpoint(storage.checkpoints, partition, recovered);
    if (manifest && isWhole) {
      const { stateHash } = await replay(new Partition(kernel), LOG_BEGIN, manifest.place);
      if (stateHash !== recovered.stateHash) {
        throw corrupt(
          `The checkpoint of partition ${partition} is not the state that the log comes to at sequence ${manifest.place.sequence}.`,
        );
      }
    }
    const { stateHash } = await replay(recovered, manifest?.place ?? LOG_BEGIN, end);
    return { entries, stateHash };
  } finally {
    await reader.close();
    await closeLaneStorage(storage);
  }
}
