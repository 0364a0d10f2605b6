import { UNITS } from '../../src/history/bucket.js';
import { DEFAULT_RETENTION } from '../../src/history/roll-up.js';
import type { CounterClass } from '../../src/partition/classes.js';
import { KERNEL_VERSION } from '../../src/partition/partition.js';
import { encodeUtf8 } from '../../src/protocol/bytes.js';
import { partitionOf } from '../../src/protocol/partition-hash.js';

/** The server that is simulated: two lanes of two partitions. */
export const LANES = [0, 1] as const;
export const PARTITIONS = [0, 1, 2, 3] as const;
/** The lane of each partition. */
export const LANE_OF: readonly number[] = [0, 0, 1, 1];
export const EPOCH = 7;

export const partitionsOf = (lane: number): number[] => PARTITIONS.filter((partition) => LANE_OF[partition] === lane);

export const shapeOf = (lane: number) => ({ partitions: partitionsOf(lane), kernelVersion: KERNEL_VERSION });

/** When late increments may have been: on this day, which lies in a block of 64 days of a history, or so many days later. */
export const LONG_AGO = 1_600_000_000_000;
/** Where a lane drops days, it has dropped the first of these blocks, and keeps from this day on, wherever its clock is set to. */
export const DROPPING = { ...DEFAULT_RETENTION, dayDays: 1_085 };
export const KEPT_FROM_DAY = 290 * UNITS.day;

/** Days for which unique items are kept by day. */
export const UNIQUE_DAYS = 3;

export const CONFIGURATION = {
  partitions: PARTITIONS.length,
  secret: new Uint8Array(16).fill(9),
  maximumPages: 1000,
  maximumProducers: 100,
  maximumOperationIds: 40,
  producerIdleMilliseconds: 86_400_000 * 30,
  operationIdMilliseconds: 600_000,
  windowBytes: 16_000_000,
  classes: [
    { pattern: '*1*', windows: '1d', seconds: true, gross: true, history: true, lateness: 'any' },
    { pattern: '*2*', windows: '1h' },
    { pattern: 'mixed3*', ttl: 700, uniques: 256, uniquesWindows: UNIQUE_DAYS },
    { pattern: 'mixed5*', rollover: 'daily', once: 100, onceItems: 3 },
    { pattern: 'mixed6*', rollover: 'daily', zone: 'Asia/Tokyo' },
    { pattern: 'mixed*', once: 100, onceItems: 3, uniques: 256, uniquesWindows: UNIQUE_DAYS },
  ] satisfies CounterClass[],
};

export const MODEL_OPTIONS = {
  ...CONFIGURATION,
  lifeOf: (name: string) => (/^mixed3/.test(name) && !/[12]/.test(name) ? 700 : 0),
  dayClassOf: (name: string) => (/[12]/.test(name) ? 0 : /^mixed5/.test(name) ? 4 : /^mixed6/.test(name) ? 5 : 0),
  /** Of the classes with days: hours that they are ahead of UTC. */
  hoursAhead: new Map([
    [4, 0],
    [5, 9],
  ]),
  onceOf: (name: string) => (/^mixed[^36]/.test(name) && !/[12]/.test(name) ? { within: 100, items: 3 } : undefined),
  keepsUniques: (name: string) => /^mixed[^56]/.test(name) && !/[12]/.test(name),
};

/** So many names of a partition with a prefix. */
function namesOf(partition: number, prefix: string, count: number): string[] {
  const names: string[] = [];
  for (let i = 0; names.length < count; i++) {
    const bytes = encodeUtf8(`${prefix}${i}`);
    if (partitionOf(bytes, 0, bytes.length, PARTITIONS.length) === partition) names.push(`${prefix}${i}`);
  }
  return names;
}

/** Counters that only sequenced batches of sessions that nobody races change: their sums are known without the server's help. */
export const LEDGER_NAMES = PARTITIONS.map((partition) => namesOf(partition, 'ledger', 4));
/** Counters that anybody changes. */
export const MIXED_NAMES = PARTITIONS.map((partition) => namesOf(partition, 'mixed', 6));
