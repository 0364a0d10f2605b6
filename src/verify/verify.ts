import { existsSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { DataDirectory, LanePlace } from '../directory.js';
import { type ErrorCode, TallystickError } from '../errors.js';
import { isAfter } from '../history/bucket.js';
import { HeadMarkFile } from '../log/head-mark.js';
import { checkpointPath, historyPath, markPath } from '../log/lane-storage.js';
import type { LogPlace, LogShape, Mark, PartitionPlace } from '../log/log.js';
import { checkNeighbours, corrupt } from '../log/replay.js';
import { segmentsIn } from '../log/segment-files.js';
import { KERNEL_VERSION } from '../partition/partition.js';
import { runInChild } from './child.js';
import type { CheckpointFindings, Jobs, SegmentFindings } from './jobs.js';

/** Everything in a data directory that no server has open, without changing it. */

/** Claims nothing: for a log whose own mark is damaged. */
const NO_MARK: Mark = { group: 0, heads: new Map() };

/** What a file is told to be by what reads it. */
const DAMAGE: ReadonlySet<ErrorCode> = new Set(['LOG_CORRUPT', 'DATA_DAMAGED']);

export interface VerifiedSegment {
  readonly file: string;
  readonly bytes: number;
  readonly firstRecord: number;
  /** Undefined where it is damaged. */
  readonly findings: SegmentFindings | undefined;
}

export interface VerifiedCheckpoint extends CheckpointFindings {
  /** What replay came to; undefined where it was not asked for, or not possible. */
  readonly replayed: Jobs['replay'][1] | undefined;
}

export interface VerifiedLane {
  readonly lane: number;
  /** The group that the head mark says was flushed; undefined where the mark is damaged. */
  readonly mark: number | undefined;
  readonly segments: readonly VerifiedSegment[];
  readonly partitions: readonly VerifiedCheckpoint[];
  /** Undefined where it is damaged. */
  readonly history: { readonly bytes: number; readonly rows: number } | undefined;
}

/** What is damaged: where, and what failed. */
export interface Fault {
  readonly lane: number;
  readonly file: string;
  readonly detail: string;
}

export interface Verification {
  readonly epoch: number;
  readonly lanes: readonly VerifiedLane[];
  readonly faults: readonly Fault[];
}

export interface VerifyOptions {
  /** Whether what recovery reads goes through the kernel too. */
  readonly replay: boolean;
  /** Is told how many bytes of how many files are done. */
  readonly onProgress: (bytes: number, files: number) => void;
}

/** @throws TallystickError DIRECTORY_INVALID for data of another version of the server */
export async function verifyDirectory(directory: DataDirectory, options: VerifyOptions): Promise<Verification> {
  const lanes: VerifiedLane[] = [];
  const faults: Fault[] = [];
  const done = { bytes: 0, files: 0 };
  const onFile = (path: string) => {
    done.bytes += sizeOf(path);
    options.onProgress(done.bytes, ++done.files);
  };
  for (const [lane, place] of directory.lanes.entries()) {
    const verifier = new LaneVerifier(lane, place, options.replay, onFile);
    lanes.push(await verifier.run());
    faults.push(...verifier.faults);
  }
  return { epoch: directory.manifest.epoch, lanes, faults };
}

/** Bytes of all files that are verified. */
export function bytesOf(directory: DataDirectory): number {
  return directory.lanes.reduce((sum, { path }) => {
    const paths = [checkpointPath(path), historyPath(path), ...segmentsIn(path).map((file) => file.path)];
    return sum + paths.reduce((bytes, each) => bytes + sizeOf(each), 0);
  }, 0);
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

class LaneVerifier {
  readonly faults: Fault[] = [];
  readonly #lane: number;
  readonly #path: string;
  readonly #shape: LogShape;
  readonly #replay: boolean;
  readonly #onFile: (path: string) => void;

  constructor(lane: number, { path, partitions }: LanePlace, replay: boolean, onFile: (path: string) => void) {
    this.#lane = lane;
    this.#path = path;
    this.#shape = { partitions, kernelVersion: KERNEL_VERSION };
    this.#replay = replay;
    this.#onFile = onFile;
  }

  async run(): Promise<VerifiedLane> {
    const mark = await this.#mark();
    const checkpoints = await this.#checkpoints();
    const segments = await this.#segments(mark, checkpoints);
    const end = this.#end(segments, mark, checkpoints);
    const partitions: VerifiedCheckpoint[] = [];
    for (const checkpoint of checkpoints) {
      const replayed = end && this.#replay ? await this.#replayed(checkpoint.partition, segments, end) : undefined;
      partitions.push({ ...checkpoint, replayed });
    }
    const history = await this.#history(end);
    return { lane: this.#lane, mark: mark?.group, segments, partitions, history };
  }

  #fault(path: string, detail: string): void {
    this.faults.push({ lane: this.#lane, file: join(`lane-${this.#lane}`, basename(path)), detail });
  }

  /** What a job finds; undefined if that is damage. */
  async #attempt<T>(path: string, attempt: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof TallystickError) || !DAMAGE.has(error.code)) throw error;
      this.#fault(path, error.detail);
      return undefined;
    }
  }

  async #mark(): Promise<Mark | undefined> {
    const path = markPath(this.#path);
    return await this.#attempt(path, () => {
      if (!existsSync(path)) throw corrupt('It is missing.');
      const file = HeadMarkFile.open(path, this.#shape.partitions, 'r');
      file.close();
      return file.read();
    });
  }

  async #checkpoints(): Promise<readonly CheckpointFindings[]> {
    const path = checkpointPath(this.#path);
    const findings = await this.#attempt(path, () => {
      if (!existsSync(path)) throw corrupt('It is missing.');
      return runInChild('checkpoints', { directory: this.#path, shape: this.#shape });
    });
    this.#onFile(path);
    for (const { fault } of findings ?? []) if (fault !== undefined) this.#fault(path, fault);
    return findings ?? [];
  }

  async #segments(mark: Mark | undefined, checkpoints: readonly CheckpointFindings[]): Promise<VerifiedSegment[]> {
    const verified: VerifiedSegment[] = [];
    let before: LogPlace | undefined;
    for (const file of segmentsIn(this.#path)) {
      const { path, firstRecord } = file;
      const job = { file, shape: this.#shape, mark: mark ?? NO_MARK, checkpoints: placesOf(checkpoints) };
      const findings = await this.#attempt(path, () => runInChild('segment', job));
      if (findings && before) {
        const end = before;
        await this.#attempt(path, () => checkNeighbours(end, findings.begin));
      }
      before = findings?.end;
      verified.push({ file: basename(path), bytes: sizeOf(path), firstRecord, findings });
      this.#onFile(path);
    }
    if (verified.length === 0) this.#fault(join(this.#path, 'log-*'), 'The log is missing.');
    return verified;
  }

  /** The end of the log, if that is known, against the mark and the checkpoints; and whether the log reaches back to them. */
  #end(
    segments: readonly VerifiedSegment[],
    mark: Mark | undefined,
    checkpoints: readonly CheckpointFindings[],
  ): LogPlace | undefined {
    const begin = segments[0]?.findings?.begin;
    const last = segments.at(-1);
    const end = last?.findings?.end;
    if (last && end && mark && end.group < mark.group) {
      this.#fault(last.file, `The log ends with group ${end.group}, but group ${mark.group} was flushed.`);
    }
    for (const { partition, place, fault } of checkpoints) {
      if (fault !== undefined) continue;
      const what = place
        ? `the checkpoint of partition ${partition}`
        : `partition ${partition}, which has no checkpoint,`;
      const sequence = place?.sequence ?? 0;
      const first = begin?.heads.get(partition)?.sequence ?? 0;
      if (first > sequence) {
        this.#fault(checkpointPath(this.#path), `The log begins after sequence ${first}; ${what} is at ${sequence}.`);
      }
      if (end && place && place.group > end.group) {
        this.#fault(
          checkpointPath(this.#path),
          `The log ends with group ${end.group}; ${what} is of group ${place.group}.`,
        );
      }
    }
    return end;
  }

  /** All rows; and none of what the log does not have. */
  async #history(end: LogPlace | undefined): Promise<VerifiedLane['history']> {
    const path = historyPath(this.#path);
    const { partitions } = this.#shape;
    const findings = await this.#attempt(path, () => {
      if (!existsSync(path)) throw corrupt('It is missing.');
      return runInChild('history', { directory: this.#path, partitions });
    });
    this.#onFile(path);
    for (const [partition, place] of findings?.places ?? []) {
      const sequence = end?.heads.get(partition)?.sequence ?? 0;
      if (!end || !isAfter(place, { watermark: sequence, items: 0 })) continue;
      this.#fault(path, `The log of partition ${partition} ends at ${sequence}, its history is of ${place.watermark}.`);
    }
    return findings && { bytes: sizeOf(path), rows: findings.rows };
  }

  #replayed(partition: number, segments: readonly VerifiedSegment[], { heads, ...end }: LogPlace) {
    const head = heads.get(partition) ?? { sequence: 0, hash: 0n };
    return this.#attempt(join(this.#path, `partition ${partition}`), () =>
      runInChild('replay', {
        directory: this.#path,
        shape: this.#shape,
        partition,
        end: { ...end, ...head },
        isWhole:
          segments.every(({ findings }) => findings) &&
          segments[0]?.findings?.begin.heads.get(partition)?.sequence === 0,
      }),
    );
  }
}

function placesOf(checkpoints: readonly CheckpointFindings[]): ReadonlyMap<number, PartitionPlace> {
  return new Map(checkpoints.flatMap(({ partition, place }) => (place ? [[partition, place]] : [])));
}
