import { decodeBegin } from '../../src/log/begin.js';
import type { CheckpointManifest } from '../../src/log/checkpoint.js';
import { readRecordHeader } from '../../src/log/record.js';
import { SimCheckpoints } from '../log/sim-checkpoints.js';
import type { SimSegment } from '../log/sim-log.js';
import type { Fault } from './faults.js';
import type { Random } from './random.js';
import type { LaneDisk } from './sim-disk.js';

/** Damage at rest: what a disk has is not what was written to it. */
export interface Damage {
  readonly fault: Fault;
  readonly what: string;
  /** Puts everything back. */
  readonly mend: () => unknown;
}

/** Damages the disk so that the next start must refuse it; undefined where there is nothing to damage. */
export function anyDamage(random: Random, disk: LaneDisk): Damage | undefined {
  const first = random.below(DAMAGES.length);
  for (let i = 0; i < DAMAGES.length; i++) {
    const damage = DAMAGES[(first + i) % DAMAGES.length]?.(random, disk);
    if (damage) return damage;
  }
  return undefined;
}

const DAMAGES: readonly ((random: Random, disk: LaneDisk) => Damage | undefined)[] = [
  tearRecord,
  flipBit,
  loseRecord,
  loseFlushedTail,
  loseSegment,
  flipBitOfBeginning,
  flipAuditBit,
  damageCheckpoint,
];

function tearRecord(random: Random, disk: LaneDisk): Damage | undefined {
  const found = pick(random, recordsOf(disk));
  if (!found) return undefined;
  const { records, number, bytes } = found;
  const length = random.below(bytes.length);
  const isShort = random.chance(0.5);
  const torn = Uint8Array.from(isShort ? bytes.subarray(0, length) : bytes);
  if (!isShort) torn.fill(0, length);
  // The end may have been zeros.
  if (!isShort && torn[bytes.length - 1] === bytes.at(-1)) torn[bytes.length - 1] = ~(bytes.at(-1) ?? 0) & 0xff;
  records.set(number, torn);
  return replaced(records, number, bytes, 'torn record', `record ${number} at byte ${length}`);
}

function flipBit(random: Random, disk: LaneDisk): Damage | undefined {
  const found = pick(random, recordsOf(disk));
  if (!found) return undefined;
  const { records, number, bytes } = found;
  const { flipped, bit } = withFlippedBit(random, bytes);
  records.set(number, flipped);
  return replaced(records, number, bytes, 'flipped bit', `record ${number}, bit ${bit}`);
}

function loseRecord(random: Random, disk: LaneDisk): Damage | undefined {
  const found = pick(random, recordsOf(disk).filter(isFlushed(disk)));
  if (!found) return undefined;
  const { records, number, bytes } = found;
  records.delete(number);
  return replaced(records, number, bytes, 'lost record', `record ${number}`);
}

function loseFlushedTail(random: Random, disk: LaneDisk): Damage | undefined {
  if (disk.promisedGroup < 1) return undefined;
  const last = random.below(disk.promisedGroup);
  const lost = recordsOf(disk).filter(({ bytes }) => groupOf(bytes) > last);
  // Where the segment that recovery begins in is empty, or has only what the mark does not know, nothing flushed is lost.
  if (!lost.some(isFlushed(disk))) return undefined;
  for (const { records, number } of lost) records.delete(number);
  return {
    fault: 'lost flushed tail',
    what: `ends with group ${last} of ${disk.promisedGroup}`,
    mend: () => {
      for (const { records, number, bytes } of lost) records.set(number, bytes);
    },
  };
}

/** One of several; a lane without any is one whose directory is incomplete, which the log never sees. */
function loseSegment(random: Random, disk: LaneDisk): Damage | undefined {
  if (disk.disk.segments.size === 1) return undefined;
  const flushed = recordsOf(disk).filter(isFlushed(disk));
  const found = pick(random, [...new Set(flushed.map(({ segment }) => segment))]);
  const segment = found && disk.disk.segments.get(found);
  if (!segment) return undefined;
  const { segments } = disk.disk;
  segments.delete(found);
  return { fault: 'lost segment', what: `segment ${found}`, mend: () => segments.set(found, segment) };
}

function flipBitOfBeginning(random: Random, disk: LaneDisk): Damage | undefined {
  const found = pick(random, neededSegments(disk));
  if (!found) return undefined;
  const [number, segment] = found;
  const { begin } = segment;
  const { flipped, bit } = withFlippedBit(random, begin);
  segment.begin = flipped;
  const mend = () => {
    segment.begin = begin;
  };
  return { fault: 'damaged segment', what: `the beginning of segment ${number}, bit ${bit}`, mend };
}

function flipAuditBit(random: Random, disk: LaneDisk): Damage | undefined {
  const items = [...disk.disk.segments.values()].flatMap(({ audit }) =>
    [...audit].map(([key, bytes]) => ({ audit, key, bytes })),
  );
  const found = pick(random, items);
  if (!found) return undefined;
  const { audit, key, bytes } = found;
  const { flipped, bit } = withFlippedBit(random, bytes);
  audit.set(key, flipped);
  return replaced(audit, key, bytes, 'damaged audit item', `item ${key}, bit ${bit}`);
}

function damageCheckpoint(random: Random, disk: LaneDisk): Damage | undefined {
  const { pages, manifests } = disk.checkpoints;
  const named = manifestsOf(disk).flatMap(({ partition, pages }) =>
    pages.map(({ generation }, index) => `${partition}.${index}.${generation}`),
  );
  const key = pick(random, named);
  const page = key && pages.get(key);
  if (!page) return undefined;
  if (random.chance(0.3)) {
    pages.delete(key);
    return replaced(pages, key, page, 'damaged checkpoint', `page ${key} is gone`);
  }
  if (random.chance(0.3)) {
    const partition = Number(key.split('.')[0]);
    const manifest = manifests.get(partition) as Uint8Array;
    const { flipped, bit } = withFlippedBit(random, manifest);
    manifests.set(partition, flipped);
    return replaced(manifests, partition, manifest, 'damaged checkpoint', `manifest ${partition}, bit ${bit}`);
  }
  const { flipped, bit } = withFlippedBit(random, page);
  pages.set(key, flipped);
  return replaced(pages, key, page, 'damaged checkpoint', `page ${key}, bit ${bit}`);
}

function manifestsOf({ checkpoints, shape }: LaneDisk): CheckpointManifest[] {
  const store = new SimCheckpoints(checkpoints, shape, () => {});
  return shape.partitions.flatMap((partition) => store.manifest(partition) ?? []);
}

/** From the newest segment on that begins at or before each checkpoint. */
function neededSegments(disk: LaneDisk): [number, SimSegment][] {
  const places = new Map(manifestsOf(disk).map(({ partition, place }) => [partition, place.sequence]));
  const segments = [...disk.disk.segments].sort(([a], [b]) => a - b);
  const first = segments.findLastIndex(([, { begin }]) => {
    const heads = decodeBegin(begin)?.heads ?? new Map();
    return [...heads].every(([partition, { sequence }]) => sequence <= (places.get(partition) ?? 0));
  });
  return segments.slice(Math.max(0, first));
}

function replaced<K>(map: Map<K, Uint8Array>, key: K, bytes: Uint8Array, fault: Fault, what: string): Damage {
  return { fault, what, mend: () => map.set(key, bytes) };
}

interface StoredRecord {
  /** The number of its segment. */
  readonly segment: number;
  readonly records: Map<number, Uint8Array>;
  readonly number: number;
  readonly bytes: Uint8Array;
}

/** Of the segments that recovery reads; damage in older ones is for `verify` to find. */
function recordsOf(disk: LaneDisk): StoredRecord[] {
  return neededSegments(disk).flatMap(([segment, { records }]) =>
    [...records].map(([number, bytes]) => ({ segment, records, number, bytes })),
  );
}

function isFlushed({ promisedGroup }: LaneDisk): (record: StoredRecord) => boolean {
  return ({ bytes }) => groupOf(bytes) <= promisedGroup;
}

function pick<T>(random: Random, items: readonly T[]): T | undefined {
  return items.length > 0 ? random.pick(items) : undefined;
}

function groupOf(record: Uint8Array): number {
  return readRecordHeader(new DataView(record.buffer, record.byteOffset, record.length), 0).group;
}

function withFlippedBit(random: Random, bytes: Uint8Array) {
  const bit = random.below(bytes.length * 8);
  const flipped = Uint8Array.from(bytes);
  flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
  return { flipped, bit };
}
