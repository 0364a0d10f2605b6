import { existsSync } from 'node:fs';
import { LaneTarget } from '../backup/lane-target.js';
import { runJob } from '../child-job.js';
import { DataDirectory, type LanePlace } from '../directory.js';
import { TallystickError } from '../errors.js';
import { HeadMarkFile } from '../log/head-mark.js';
import { markPath } from '../log/lane-storage.js';
import { segmentsIn } from '../log/segment-files.js';
import { KERNEL_VERSION } from '../partition/partition.js';
import { type FoundRecord, findRecords } from './found-records.js';
import type { Salvaged, SalvageJob } from './salvage.js';

/** What can be saved of a damaged directory, and a sound directory of it. The damaged one is only read. */

/** Is told how many bytes of files were searched, and how many files and partitions are done. */
export type RepairProgress = (bytes: number, parts: number) => void;

export interface SalvagedLane {
  readonly lane: number;
  readonly partitions: readonly Salvaged[];
}

/** What would be kept and dropped. @param milliseconds now, since 1970 */
export function inspect(
  directory: DataDirectory,
  milliseconds: number,
  onProgress: RepairProgress,
): Promise<SalvagedLane[]> {
  return salvageAll(directory, milliseconds, onProgress, undefined);
}

/**
 * Makes a directory of what `inspect` finds, under a new epoch: what was acknowledged in the old one may be gone, so its positions
 * and ids must mean nothing. If the process dies on the way, what is there is no directory that a server takes.
 *
 * @returns the epoch
 * @throws TallystickError CONFIG_INVALID where `into` is there, STORAGE_FULL, STORAGE_FAILED
 */
export async function repairInto(
  directory: DataDirectory,
  into: string,
  milliseconds: number,
  onProgress: RepairProgress,
): Promise<number> {
  const { lanes, secret } = directory;
  const partitions = lanes.flatMap((lane) => lane.partitions).length;
  const made = DataDirectory.createForRestore(into, { lanes: lanes.length, partitions }, secret);
  try {
    const targets = made.lanes.map((place) => new LaneTarget(place));
    for (const { partitions: salvaged } of await salvageAll(directory, milliseconds, onProgress, made.lanes)) {
      for (const { partition, kept } of salvaged) {
        targets.find(({ place }) => place.partitions.includes(partition))?.heads.set(partition, kept);
      }
    }
    for (const target of targets) await target.begin();
    made.markReady();
    return made.manifest.epoch;
  } finally {
    made.close();
  }
}

async function salvageAll(
  directory: DataDirectory,
  milliseconds: number,
  onProgress: RepairProgress,
  targets: readonly LanePlace[] | undefined,
): Promise<SalvagedLane[]> {
  const salvaged: SalvagedLane[] = [];
  const done = { bytes: 0, parts: 0 };
  for (const [lane, place] of directory.lanes.entries()) {
    const records = recordsOf(place, (bytes) => {
      done.bytes += bytes;
      onProgress(done.bytes, ++done.parts);
    });
    const known = flushedOf(place);
    const partitions: Salvaged[] = [];
    for (const partition of place.partitions) {
      const target = targets?.find((each) => each.partitions.includes(partition));
      const found = [...(records.get(partition)?.values() ?? [])];
      partitions.push(
        await salvageInChild({
          lane: place,
          partition,
          records: found,
          known: known.get(partition) ?? 0,
          milliseconds,
          useCheckpoint: true,
          ...(target && { target }),
        }),
      );
      onProgress(done.bytes, ++done.parts);
    }
    salvaged.push({ lane, partitions });
  }
  return salvaged;
}

/** Without the checkpoint where a process died over it. */
async function salvageInChild(job: SalvageJob): Promise<Salvaged> {
  const run = (each: SalvageJob) => runJob<SalvageJob, Salvaged>('repair/salvage-main.js', each);
  try {
    return await run(job);
  } catch (error) {
    if (!(error instanceof TallystickError) || error.code !== 'LOG_CORRUPT') throw error;
    return await run({ ...job, useCheckpoint: false });
  }
}

/** By partition, and by hash, since LMDB may hold copies. */
function recordsOf(
  { path, partitions }: LanePlace,
  onFile: (bytes: number) => void,
): ReadonlyMap<number, ReadonlyMap<bigint, FoundRecord>> {
  const found = new Map(partitions.map((partition) => [partition, new Map<bigint, FoundRecord>()]));
  for (const file of segmentsIn(path)) {
    const bytes = findRecords(file.path, KERNEL_VERSION, (partition, record) => {
      found.get(partition)?.set(record.hash, record);
    });
    onFile(bytes);
  }
  return found;
}

/** The sequences that the head mark says were flushed; none where it is damaged. */
function flushedOf({ path, partitions }: LanePlace): ReadonlyMap<number, number> {
  if (!existsSync(markPath(path))) return new Map();
  try {
    const file = HeadMarkFile.open(markPath(path), partitions, 'r');
    file.close();
    return new Map([...file.read().heads].map(([partition, { sequence }]) => [partition, sequence]));
  } catch (error) {
    if (error instanceof TallystickError && error.code === 'LOG_CORRUPT') return new Map();
    throw error;
  }
}
