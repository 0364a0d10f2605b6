import { codeOfStatus, OK, TallystickError } from '../errors.js';
import type { CheckpointManifest, CheckpointReader } from '../log/checkpoint.js';
import type { GroupCommit } from '../log/group-commit.js';
import type { LaneStorage } from '../log/lane-storage.js';
import type { ReplayEnd } from '../log/log.js';
import type { LogEntry } from '../log/record.js';
import { type CounterClass, encodeClasses, hasClasses } from '../partition/classes.js';
import { Kind, type Partition, type PartitionConfiguration } from '../partition/partition.js';
import { Opcode } from '../protocol/opcode.js';
import { Days } from './days.js';

/** Replay: the log's entries go through the same `apply` as when they were new. */

type Partitions = ReadonlyMap<number, Partition>;
type Manifests = ReadonlyMap<number, CheckpointManifest>;
/** What the partitions have, by number. */
type Places = ReadonlyMap<number, Pick<CheckpointManifest, 'place'>>;

/** Bytes of the delta that stands behind the body of a SET or DELETE in the log. */
export const EFFECT_BYTES = 8;

/** Whether a body is logged with the delta that it caused, and told to the audit log. */
export function hasEffect(kind: number): boolean {
  return kind === Opcode.SET || kind === Opcode.DELETE;
}

/** Brings empty partitions to where the log ends: from their checkpoints on. @throws TallystickError LOG_CORRUPT */
export async function recover(storage: LaneStorage, partitions: Partitions): Promise<ReplayEnd> {
  return replayBehind(storage, await restoreCheckpoints(storage, partitions), partitions);
}

/** The first half: brings empty partitions to their checkpoints, and says which these are. */
export async function restoreCheckpoints({ checkpoints }: LaneStorage, partitions: Partitions): Promise<Manifests> {
  const manifests = new Map<number, CheckpointManifest>();
  for (const [number, partition] of partitions) {
    const manifest = await restoreCheckpoint(checkpoints, number, partition);
    if (manifest) manifests.set(number, manifest);
  }
  return manifests;
}

/** The second half: what the log has behind the checkpoints, or other places that the partitions have come to. @param applied is told of the partition of each entry */
export function replayBehind(
  { log, mark }: LaneStorage,
  places: Places,
  partitions: Partitions,
  applied: (partition: number) => void = () => {},
): Promise<ReplayEnd> {
  const from = new Map([...places].map(([number, { place }]) => [number, place]));
  const visit = (entry: LogEntry) => {
    replayEntry(partitions, entry);
    applied(entry.partition);
  };
  return log.replay({ mark: mark.read(), from, visit });
}

/**
 * Brings an empty partition to its checkpoint, and says which one it is; undefined where none was made.
 *
 * @throws TallystickError LOG_CORRUPT, DIRECTORY_INVALID
 */
export async function restoreCheckpoint(
  checkpoints: CheckpointReader,
  number: number,
  partition: Partition,
): Promise<CheckpointManifest | undefined> {
  const manifest = checkpoints.manifest(number);
  if (!manifest) return undefined;
  const { pages, place } = manifest;
  await checkpoints.readPages(manifest, (index, bytes) => partition.restorePage(index, pages.length, bytes));
  if (partition.sequence !== place.sequence) {
    throw new TallystickError(
      'LOG_CORRUPT',
      `The checkpoint of partition ${number} is of sequence ${place.sequence}, its pages are of ${partition.sequence}.`,
    );
  }
  return manifest;
}

/** Applies one entry, and checks that it does what it did: the same sequence, and the same delta of a SET or DELETE. */
export function replayEntry(partitions: ReadonlyMap<number, Partition>, entry: LogEntry): void {
  const { kind, flags, producer, incarnation, milliseconds, sequence } = entry;
  const partition = partitions.get(entry.partition);
  if (!partition) throw diverged(entry, 'its partition is not one of this lane');
  const tail = hasEffect(kind) ? EFFECT_BYTES : 0;
  const body = entry.body.subarray(0, entry.body.length - tail);
  const status = partition.apply(kind, flags, producer, incarnation, milliseconds, body);
  if (status !== OK) throw diverged(entry, `the kernel refuses it (${codeOfStatus(status)})`);
  if (partition.sequence !== sequence) throw diverged(entry, `the kernel is at sequence ${partition.sequence}`);
  if (tail > 0 && partition.effect !== effectOf(entry.body))
    throw diverged(entry, `it changes the counter by ${partition.effect}`);
}

function effectOf(body: Uint8Array): bigint {
  return new DataView(body.buffer, body.byteOffset + body.length - EFFECT_BYTES, EFFECT_BYTES).getBigInt64(0, true);
}

function diverged({ partition, sequence }: LogEntry, what: string): TallystickError {
  return new TallystickError(
    'LOG_CORRUPT',
    `Replay of sequence ${sequence} of partition ${partition} diverges: ${what}.`,
  );
}

/** What the partitions of a lane are told. */
export interface LaneConfiguration extends Omit<PartitionConfiguration, 'partition'> {
  readonly classes: readonly CounterClass[];
}

/**
 * Gives each partition that has other limits or classes the configured ones, by way of the log.
 *
 * @param applied is told of the partition of each entry
 */
export function configure(
  partitions: Partitions,
  commit: GroupCommit,
  { classes, ...limits }: LaneConfiguration,
  milliseconds: number,
  applied: (partition: number) => void,
): void {
  const table = encodeClasses(classes);
  const days = new Days(classes);
  for (const [number, partition] of partitions) {
    const append = (kind: number, body: Uint8Array) => {
      commit.append(number, { kind, flags: 0, producer: 0, incarnation: 0, milliseconds }, body);
      applied(number);
    };
    const settleWhile = (isNeeded: () => boolean) => {
      while (isNeeded()) {
        const { kind, body } = days.settling(partition, milliseconds);
        partition.apply(kind, 0, 0, 0, milliseconds, body);
        append(kind, body);
      }
    };
    const finishChange = () => settleWhile(() => partition.isClassifying);
    // Nothing else may meet a counter that is past its time.
    const endDue = () => settleWhile(() => partition.hasDue(milliseconds));
    // Of another zone than before, or for the first time.
    const tellDays = () => {
      const body = days.correction(partition, milliseconds);
      if (!body) return;
      partition.apply(Kind.DAYS, 0, 0, 0, milliseconds, body);
      append(Kind.DAYS, body);
    };
    const wanted = { ...limits, partition: number };
    if (partition.sequence === 0 || !partition.hasLimits(wanted)) {
      endDue();
      append(Kind.CONFIGURE, partition.configure(wanted, milliseconds));
    }
    finishChange(); // of an earlier start, which may have been cut short
    if (hasClasses(partition.classes, table)) {
      tellDays();
      continue;
    }
    endDue();
    partition.apply(Kind.CLASSIFY, 0, 0, 0, milliseconds, table);
    append(Kind.CLASSIFY, table);
    tellDays();
    finishChange();
  }
}
